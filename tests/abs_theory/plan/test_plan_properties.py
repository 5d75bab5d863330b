"""What must not change a plan: the order of rows, columns and workers, names, units, separators, encodings, extras."""

import math

import numpy as np
import pytest
import synthetic_traces

from abs_theory import traces
from abs_theory.plan import plan

SLOW, ROUNDS, N = 3, 36, 5


def measured(seed=0, lost=0.0, slowest=False, digits=3):
    """Long rows of a fleet with a slow worker; of a share of the calls, any or the slowest, the time is empty."""
    rng = np.random.default_rng(seed)
    seconds = np.exp(0.25 * rng.standard_normal((ROUNDS, N)))
    seconds[:, SLOW] *= 1.7
    seconds = seconds.round(digits)
    frame = synthetic_traces.frame(seconds)
    frame["worker"] = frame["worker"].map("gpu-{}".format)
    gone = seconds >= np.quantile(seconds, 1 - lost) if slowest else rng.random(seconds.shape) < lost
    gone[[0, -1]] = False  # an empty cell at the start or end of a column says that the worker joins later, or leaves
    return frame.assign(seconds=frame["seconds"].mask(gone.ravel() & (lost > 0)))


def table(frame):
    """The same with a column for each worker."""
    return frame.pivot(index="round", columns="worker", values="seconds")


def assert_same(answer, expected, names=None):
    """Equal decisions and workers, numbers to nine digits; ``names`` maps the workers of ``expected`` to new ones."""
    names = names or {}
    mine, other = (a.to_dict() for a in (answer, expected))
    for words in ("source", "input", "workers", "diagnosis"):
        del mine[words], other[words]
    for slow in other["slow_workers"]:
        slow["worker"] = names.get(slow["worker"], slow["worker"])
    for case in other["without_slow_workers"]:
        case["workers"] = tuple(names.get(worker, worker) for worker in case["workers"])
    for values in (mine, other):
        values["group_of_worker"] = None if values["group_of_worker"] is None else sorted(values["group_of_worker"])
    _assert_close(mine, other, "plan")


def _assert_close(mine, other, where):
    if isinstance(mine, dict):
        assert mine.keys() == other.keys(), where
        for name in mine:
            _assert_close(mine[name], other[name], f"{where}.{name}")
    elif isinstance(mine, list | tuple):
        assert len(mine) == len(other), where
        for i, pair in enumerate(zip(mine, other, strict=True)):
            _assert_close(*pair, f"{where}[{i}]")
    elif isinstance(mine, float) and isinstance(other, float):
        assert mine == pytest.approx(other, rel=1e-6, abs=1e-9, nan_ok=True), where
    elif where.split(".")[-1].split("[")[0] not in ("law", "delay"):  # texts of numbers
        assert mine == other, where


def shuffled(frame, rng):
    """Rows and columns in another order."""
    return frame.sample(frac=1, random_state=1)[rng.permutation(frame.columns)]


def with_counter(frame, rng):
    clock = 1.7e9 + frame["round"] * 2.5 + np.arange(len(frame)) * 1e-3
    return frame.assign(global_step=range(len(frame)), wall_time=clock).to_csv(index=False)


def wide_with_statistics(frame, rng):
    wide = table(frame)
    return wide.assign(mean=wide.mean(axis=1), max=wide.max(axis=1)).to_csv()


FILES = {
    "rows and columns shuffled": lambda f, rng: shuffled(f, rng).to_csv(index=False),
    "milliseconds": lambda f, rng: f.assign(seconds=f["seconds"] * 1000, unit="ms").to_csv(index=False),
    "semicolons and decimal commas": lambda f, rng: f.to_csv(index=False, sep=";", decimal=","),
    "tabs": lambda f, rng: f.to_csv(index=False, sep="\t", lineterminator="\r\n"),
    "a counter and a clock": with_counter,
    "an index": lambda f, rng: f.to_csv(),
    "wide": lambda f, rng: table(f).to_csv(),
    "wide, columns shuffled": lambda f, rng: table(f)[rng.permutation(table(f).columns)].to_csv(),
    "wide, with mean and max": wide_with_statistics,
    "wide, with a counter": lambda f, rng: table(f).assign(global_step=lambda t: 100 * np.arange(len(t))).to_csv(),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
FAST = ("rows and columns shuffled", "wide, with mean and max")


def check_files(kinds, folder, seed, lost, slowest):
    rng = np.random.default_rng(seed)
    frame = measured(seed, lost, slowest)
    expected = plan(traces.from_frame(frame, warmup=0))
    for number, kind in enumerate(kinds):
        path, encoding = folder / "trace.csv", ENCODINGS[(number + seed) % len(ENCODINGS)]
        path.write_bytes(FILES[kind](frame, rng).encode(encoding))
        try:
            assert_same(plan(traces.read(path, warmup=0)), expected)
        except (AssertionError, ValueError) as problem:
            problem.add_note(f"{kind}, {encoding}, seed {seed}, lost {lost}")
            raise


def test_order_separators_and_extra_columns_do_not_change_the_plan(tmp_path):
    check_files(FAST, tmp_path, 0, 0.05, False)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(3))
def test_no_form_of_the_file_changes_the_plan(seed, lost, tmp_path):
    check_files(FILES, tmp_path, seed, lost, slowest=seed == 1)


def check_names(seed, lost):
    frame = measured(seed, lost, digits=12)  # equal times would be told apart by the order of the workers
    old = [f"gpu-{i}" for i in range(N)]
    new = dict(zip(old, [f"node-{i}" for i in np.random.default_rng(seed).permutation(N)], strict=True))
    renamed = frame.assign(worker=frame["worker"].map(new))
    assert_same(plan(traces.from_frame(renamed, warmup=0)), plan(traces.from_frame(frame, warmup=0)), new)


def test_the_names_of_the_workers_do_not_change_the_plan():
    check_names(1, 0.15)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_no_renaming_changes_the_plan(seed):
    check_names(seed, 0.15 * (seed % 2))


def refuted(answer):
    """What the times at which calls were given up, and the arrivals seen, contradict."""
    curve = answer.curve
    n, k = answer.n, answer.k
    mean, least = curve["mean"].to_numpy(), curve["at_least"].to_numpy()
    found = []
    known = np.isfinite(mean)
    if (np.diff(mean[known]) < -1e-12 * mean[known][1:]).any():
        found.append("the curve falls")
    if (mean[known] < least[known] * (1 - 1e-9)).any():
        found.append("a mean is below what the times given up prove")
    proven = np.arange(1, n + 1) / mean
    proven[curve["reason"].str.contains("lost")] = -math.inf
    if answer.identified and k / least[k - 1] < 0.95 * np.nanmax(proven):
        found.append(f"k = {k} has fewer gradients per second than another k surely has")
    if answer.savings is not None and answer.savings.ratio > mean[k - 1] / k / (least[n - 1] / n) * (1 + 1e-9):
        found.append("the saving is less than is proven")
    if answer.savings is not None and not math.isnan(answer.savings.low):
        found += [f"an interval though k = {j} lost calls" for j in (k, n) if "lost" in curve["reason"][j]]
    return found


FORMS = ("failed", "cancelled", "empty", "missing rows", "failed early")


def lossy(form, share, seed):
    """Calls given up at a deadline that ``share`` of them misses, or (early) failing at random."""
    rng = np.random.default_rng(seed)
    stalled = rng.random((60, 6)) < 0.08
    seconds = np.where(stalled, 8.0, 0.9) * np.exp(0.3 * rng.standard_normal((60, 6)))
    frame = synthetic_traces.frame(seconds)
    if form == "failed early":
        gone = rng.random(seconds.shape) < share
        given_up = np.where(gone, seconds * rng.random(seconds.shape), seconds)
        return frame.assign(seconds=given_up.ravel(), status=np.where(gone.ravel(), "failed", "ok"))
    deadline = np.quantile(seconds, 1 - share)
    gone = (seconds > deadline).ravel()
    if form == "missing rows":
        return frame[~gone]
    if form == "empty":
        return frame.assign(seconds=frame["seconds"].mask(gone))
    return frame.assign(seconds=np.minimum(frame["seconds"], deadline), status=np.where(gone, form, "ok"))


@pytest.mark.parametrize(("form", "share"), [("failed", 0.1), ("missing rows", 0.03)])
def test_nothing_is_claimed_that_lost_calls_refute(form, share):
    assert not refuted(plan(traces.from_frame(lossy(form, share, 0), warmup=0)))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.01, 0.03, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_ever_claimed_that_lost_calls_refute(form, share):
    for seed in range(3):
        assert not refuted(plan(traces.from_frame(lossy(form, share, seed), warmup=0))), seed


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_losing_calls_never_makes_waiting_for_all_look_better_than_the_full_data_do(form):
    """The rate of waiting for everybody, from traces that lost calls, is at most the upper end of the full trace."""
    for seed, share in enumerate((0.01, 0.03, 0.1, 0.2)):
        full = plan(traces.from_frame(lossy(form, 0.0, seed), warmup=0)).curve.iloc[-1]
        last = plan(traces.from_frame(lossy(form, share, seed), warmup=0)).curve.iloc[-1]
        assert last["reason"] != "" or last["mean"] >= full["mean"] - 2 * full["stderr"]
