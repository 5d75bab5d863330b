"""From a trace to a decision: what is chosen, what is said, and what is written."""

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic_traces
from cases import first_fast
from in_process import ended

from abs_theory import __main__ as command
from abs_theory import order_stats, traces
from abs_theory.bounds import Constants
from abs_theory.delays import LogNormal
from abs_theory.plan import decide, plan, sentences, write
from abs_theory.plan.effects import effects
from abs_theory.plan.evidence import gather
from abs_theory.plan.fleet_model import resized
from abs_theory.plan.replayed import TraceReplay
from benchmarks import traces as benchmark

CONSTANTS = Constants(L=1.0, sigma2=1.0, gap=1.0)
EXAMPLE = Path(__file__).parents[3] / "examples" / "trace.csv"


def trace_of(regime, seed=0, **options):
    frame = synthetic_traces.REGIMES[regime](np.random.default_rng(seed), **options)
    return traces.from_frame(frame, warmup=0)


def replay_of(x):
    return TraceReplay(np.asarray(x, dtype=float), np.zeros(len(x), dtype=np.int64), np.random.default_rng(0), copies=4)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_a_replay_of_rounds_that_start_together_is_the_trace(k):
    x = np.random.default_rng(0).lognormal(size=(40, 5))
    played = replay_of(x).play(k, 0)
    assert played.round_time == pytest.approx(np.sort(x, axis=1)[:, k - 1].mean(), rel=1e-12)
    assert played.mean_staleness == 0


def test_a_replay_by_hand():
    """Workers of 1 s and 2.5 s, k = 1: 1.4 deliveries a second, or only the first's if the second always restarts."""
    replay = replay_of(np.tile([1.0, 2.5], (50, 1)))
    assert replay.play(1, None).round_time == pytest.approx(1 / 1.4, rel=0.01)
    assert replay.play(1, None).mean_staleness == pytest.approx(1, rel=0.02)  # (n - k) / k
    assert replay.play(1, 1).round_time == pytest.approx(1)
    assert replay.play(1, 1).restarts == pytest.approx(0.5, abs=0.01)  # every second round
    assert replay.play(1, 1).participation[1] == 0


@pytest.fixture(scope="module")
def slow_worker():
    return plan(trace_of("unequal workers"))


def test_one_slow_worker_is_not_waited_for(slow_worker):
    assert slow_worker.k == 7
    assert slow_worker.k_alike == (7, 7)
    # 8 gradients in 2 s against 7 in E[X_(7)] of the others
    ratio = (order_stats.mean(LogNormal(1.0, 0.02), 7, 7) / 7) / (2.0 / 8)
    assert slow_worker.savings.low <= ratio <= slow_worker.savings.high
    assert slow_worker.savings.ratio == pytest.approx(ratio, rel=0.02)


def test_a_worker_that_never_delivers_is_named():
    found = plan(trace_of("unequal workers", num=30, slowest=50.0))
    assert found.k == 7
    assert "worker 7 would hardly ever deliver" in str(found) or found.max_staleness > 0


def test_workers_are_named_by_their_names_with_how_much_slower_they_are(tmp_path):
    frame = synthetic_traces.unequal_workers(np.random.default_rng(8), num=40, n=4, slowest=20.0)
    names = {0: "gpu-a", 1: "gpu-b", 2: "gpu-d", 3: "gpu-c"}
    found = plan(traces.from_frame(frame.assign(worker=frame["worker"].map(names)), warmup=0))
    assert [slow["worker"] for slow in found.slow_workers] == ["gpu-c"]
    assert found.slow_workers[0]["factor"] == pytest.approx(20, rel=0.02)
    sentence = (
        "Slow workers: gpu-c takes 20 times as long as the median worker and is the last in 100 % of the complete"
    )
    assert sentence in str(found)
    assert "worker 3" not in str(found)
    page, data = write(found, tmp_path)
    assert sentence in page.read_text()
    assert json.loads(data.read_text())["slow_workers"] == found.slow_workers
    assert plan(trace_of("almost iid", num=20)).slow_workers == []


def test_nothing_is_gained_by_fewer_when_whole_rounds_are_slow():
    found = plan(trace_of("common slowdowns", own=0.001))
    assert found.k == found.n
    assert found.max_staleness == 0
    assert "waiting for fewer brings no statistically significant gain" in str(found)


def test_stalls_are_not_waited_for():
    found = plan(trace_of("clustered stalls", num=150))
    assert found.k < found.n
    assert found.savings.ratio < 0.8
    assert found.model.fits[0][0].name.startswith("mixture")


@pytest.mark.parametrize(
    ("regime", "options"), [("almost iid", {}), ("common slowdowns", {}), ("clustered stalls", {"stay": 0.02})]
)
def test_predicted_and_replayed_round_times_agree(regime, options):
    """By the model and by the trace itself; the model is fitted to the same rounds, and its stalls have no memory."""
    found = plan(trace_of(regime, num=150, **options))
    assert found.predicted == pytest.approx(found.replayed, rel=0.05)
    words = str(found)
    assert "replayed from the trace" in words
    assert "predicted by the model" in words


def test_beyond_the_largest_k_waited_for_nothing_is_claimed():
    found = plan(trace_of("almost iid", num=40).waiting_for(4))
    assert (found.k, found.identified, found.max_staleness) == (4, False, None)
    assert found.full_wait_every >= 2
    words = str(found)
    assert "Not identified by this trace: whether a k above 4" in words
    assert f"every {found.full_wait_every} rounds" in words
    assert found.curve.loc[5:, ["mean", "low", "high", "model"]].isna().all(axis=None)
    assert (found.curve.loc[5:, "reason"] == "no round saw so many arrivals").all()
    assert found.savings is None


@pytest.mark.slow
def test_full_waits_once_in_a_while_identify_every_k():
    """Every fifth round waits for everybody, the others for 4: the means are those of the rounds that waited."""
    whole = trace_of("almost iid", num=200)
    frame = whole.waiting_for(4).attempts.copy()
    full = (frame["round"] % 5 == 0).to_numpy()
    frame.loc[full, ["seconds", "observed"]] = whole.attempts.loc[full, ["seconds", "observed"]]
    frame["status"] = np.where(frame["observed"], "ok", "cancelled")
    found = plan(traces.from_frame(frame.drop(columns=["observed", "window", "k_waited"]), warmup=0))
    truth = order_stats.means(LogNormal(1.0, 0.1), 8)
    assert found.identified
    assert found.curve["rounds"].tolist() == [200] * 4 + [40] * 4
    assert np.allclose(found.curve["mean"], truth, rtol=0.025)


@pytest.mark.slow
def test_a_censored_trace_that_settles_it_says_so():
    """Workers 0..3 take 1 s, the others are not seen within 9 s: no k beyond 4 can give more per second."""
    rng = np.random.default_rng(1)
    x = np.exp(0.02 * rng.standard_normal((40, 5)))
    x[:, 4] = 9.0
    frame = synthetic_traces.frame(x).assign(k_waited=4)
    frame["status"] = np.where(frame["worker"] == 4, "cancelled", "ok")
    found = plan(traces.from_frame(frame, warmup=0))
    assert found.k == 4
    assert found.curve.loc[5, "at_least"] == pytest.approx(9.0)
    assert found.identified, "the fifth came after 9 s at least: 5 / 9 gradients per second at most"


def test_lost_attempts_of_long_rounds_are_not_left_out_in_silence():
    """Calls that time out after 1.3 s: the mean of the last arrival over the other rounds is too small."""
    x = synthetic_traces.almost_iid(np.random.default_rng(2), num=100, sigma=0.2)["seconds"].to_numpy().reshape(100, 8)
    frame = synthetic_traces.frame(np.minimum(x, 1.3))
    frame["status"] = np.where(x.ravel() > 1.3, "failed", "ok")
    found = plan(traces.from_frame(frame, warmup=0))
    assert "lost a call: at least" in found.curve.loc[8, "reason"]
    assert math.isnan(found.curve.loc[8, "low"])


def test_time_to_a_target_asks_for_fewer_the_less_noise():
    trace = trace_of("clustered stalls", num=40)
    quiet = plan(trace, constants=Constants(L=1.0, sigma2=1e-6, gap=1.0), target=0.01)
    noisy = plan(trace, constants=Constants(L=1.0, sigma2=100.0, gap=1.0), target=0.01)
    assert "seconds to a mean squared gradient norm" in quiet.objective
    for found in (quiet, noisy):
        assert found.savings.ratio < 1
        assert "Time to the target" in str(found)
        assert "more gradients per second" not in str(found)
        tried = found.setting.tried
        assert (tried["objective"] >= tried["objective"].min()).all()
        assert found.setting.tried["log_ratio"].min() == 0
    assert quiet.setting.played.mean_staleness <= noisy.setting.played.mean_staleness


@pytest.mark.parametrize("longest", [1e10, 1e12, 1e15])
def test_one_delay_of_ages_leaves_a_plan_for_the_target(longest):
    seconds = np.random.default_rng(0).lognormal(size=(80, 7))
    seconds[40, 3] = longest
    found = plan(synthetic_traces.frame(seconds), constants=Constants(L=1.0, sigma2=1.0, gap=1.0), target=0.05)
    assert found.k < found.n
    assert found.savings.ratio < 0.01
    assert "1 delay far off the worker's median" in str(found)


def test_other_numbers_of_workers_by_resampling():
    truth = {n: order_stats.means(LogNormal(1.0, 0.1), n) for n in (4, 12)}
    for n, means in truth.items():
        found = plan(trace_of("almost iid", num=100), n)
        assert len(found.curve) == n
        assert np.allclose(found.curve["mean"], means, rtol=0.02)
        assert "were resampled" in str(found)


@pytest.mark.parametrize("n", first_fast([12, 3, 4], 1))
def test_for_another_n_the_choice_and_the_replay_are_of_the_same_fleets(n):
    """Without staleness a replayed round lasts as long as the k-th arrival, here of the resampled workers."""
    for regime in ("clustered stalls", "unequal workers"):
        found = plan(trace_of(regime, num=80), n)
        assert found.setting is not None
        fresh = found.setting.tried.set_index("max_staleness").loc[0.0, "round_time"]
        assert fresh == pytest.approx(found.curve.loc[found.k, "mean"], rel=1e-12)


def test_more_workers_keep_the_common_factor():
    rng = np.random.default_rng(3)
    common = np.exp(0.5 * rng.standard_normal((50, 1)))
    x = common * np.exp(0.01 * rng.standard_normal((50, 4)))
    copies = resized(x, effects(x), 10, rng)
    assert copies.shape[1:] == (50, 10)
    assert np.abs(np.log(copies / common)).max() < 0.1


def test_the_json_holds_no_nan_and_the_page_stands_alone(slow_worker, tmp_path):
    page, data = write(slow_worker, tmp_path)
    read = json.loads(data.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (read["k"], read["n"]) == (slow_worker.k, 8)
    assert read["savings"]["low"] < read["savings"]["ratio"] < read["savings"]["high"]
    assert [row["k"] for row in read["curve"]] == list(range(1, 9))
    text = page.read_text()
    assert text.count("<svg") == 6
    references = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')>\s]+)""", text)
    assert all(each.startswith("#") or each.startswith("data:") for each in references)
    assert "Wait for k = 7 of n = 8 workers" in text
    assert "<script" not in text


def test_text_from_the_trace_cannot_become_markup(tmp_path):
    frame = synthetic_traces.almost_iid(np.random.default_rng(4), num=12, n=2)
    frame["worker"] = frame["worker"].map({0: "<b>a", 1: "b"})
    page, _ = write(plan(traces.from_frame(frame, warmup=0)), tmp_path)
    assert "<b>" not in page.read_text()


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (1, 8), (3, 2), (11, 1)])
def test_small_traces_have_a_plan_without_claims(shape):
    x = 1 + 0.1 * np.random.default_rng(5).random(shape)
    found = plan(traces.from_frame(synthetic_traces.frame(x), warmup=0))
    assert 1 <= found.k <= shape[1]
    if shape == (3, 2):
        assert found.k_alike is None
        assert "not identified: too few rounds" in str(found)
    if shape[0] < 10:
        assert found.curve["low"].isna().all()
        assert found.curve["reason"].str.contains("needed").all()


def test_equal_delays_wait_for_all():
    found = plan(traces.from_frame(synthetic_traces.frame(np.full((20, 4), 2.0)), warmup=0))
    assert (found.k, found.max_staleness) == (4, 0)
    assert found.curve.loc[4, ["low", "mean", "high"]].tolist() == [2.0, 2.0, 2.0]


def test_a_k_async_trace_is_planned_from_its_attempts():
    found = plan(traces.from_frame(synthetic_traces.k_async(np.random.default_rng(6), num_updates=300), warmup=0))
    assert np.allclose(found.curve["mean"], order_stats.means(LogNormal(1.0, 0.5), 8), rtol=0.12)
    assert "add up: the mean of K-async is" in found.staleness
    assert "lined up" in str(found)


def test_the_most_gradients_per_second_are_not_chosen_and_the_first_lines_say_why():
    """One gradient at a time, at k = 1, none waits for another; by the trace alone nobody knows what they are worth."""
    found = plan(trace_of("clustered stalls", num=150))
    top, mine = found.ceiling, found.setting
    rates = [each.k / each.played.round_time for each in (top, mine)]
    assert rates[0] > 1.1 * rates[1]
    first = str(found).split("\n\n", maxsplit=1)[0]
    assert f"k = {top.k} with max_staleness = " in first
    assert (
        f"{100 * (rates[0] / rates[1] - 1):.0f} % more gradients per second ({rates[0]:.4g} instead of {rates[1]:.4g})"
        in first
    )
    stale = top.played.mean_staleness, mine.played.mean_staleness
    assert f"{stale[0]:.3g} updates old on average instead of {stale[1]:.3g}. Timing data alone" in first
    assert str(found).count("updates old on average instead of") == 1


def test_one_update_is_not_updates(slow_worker):
    for bound, said in ((1.0, "more than 1 update late."), (2.0, "more than 2 updates late.")):
        assert said in "\n".join(sentences(replace(slow_worker, max_staleness=bound)))


def test_why_there_is_no_interval_is_said_once():
    found = plan(trace_of("almost iid", num=5, n=3))
    said = str(found)
    assert f"No interval for k = 1, 2, 3: {found.curve.loc[1, 'reason']}." in said
    assert said.count(found.curve.loc[1, "reason"]) == 2  # there, and with the round time of the choice


def test_stalls_that_persist_are_beyond_the_model():
    found = plan(trace_of("clustered stalls", num=150))
    assert found.diagnosis.persistence > 2
    assert "Stalls persist" in str(found)


@pytest.mark.slow
def test_choices_from_measured_traces_lose_little():
    """At most 5 % against the best in hindsight, or not identified; needs the folder of traces."""
    if (folder := benchmark.folder_of_traces(None)) is None:
        pytest.skip("ABS_TRACES names no folder of traces")
    result = benchmark.compare(folder)
    mine = result[result["rule"] == "plan"]
    assert (mine["lost"].isna() | (mine["lost"] <= 0.05)).all()
    assert mine.loc[mine["from"] != "half censored", "lost"].notna().all()


def test_the_benchmark_scores_on_the_rounds_that_were_not_shown(tmp_path):
    """One slow worker in 8: the plan finds k = 7, and waiting for all loses what it should."""
    frame = synthetic_traces.unequal_workers(np.random.default_rng(7), num=40, n=4)
    trace = traces.from_frame(frame, warmup=0)
    shown, judged = benchmark.halves(trace)
    assert set(shown["odd rounds"].complete.index) == set(range(1, 40, 2))
    assert np.array_equal(judged, trace.complete.to_numpy()[::2])
    best = np.sort(judged, axis=1).mean(axis=0)
    assert benchmark.lost_k(3, judged) == 0
    assert benchmark.lost_k(4, judged) == pytest.approx((3 / best[2]) / (4 / best[3]) - 1)
    ks = {rule: benchmark.rival_k(rule, shown["odd rounds"]) for rule in benchmark.RIVALS}
    assert (ks["always all"], ks["plain arg max"], ks["exponential"]) == (4, 3, 1)


# ---------------------------------------------------------------- the command


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    def call(*arguments):
        return ended(monkeypatch, capsys, command.run, "abs_theory", "plan", *arguments, "--out", tmp_path / "out")

    call.folder = tmp_path / "out"
    return call


def test_the_command_says_what_the_library_says(run, tmp_path, slow_worker):
    path = tmp_path / "trace.csv"
    synthetic_traces.unequal_workers(np.random.default_rng(0)).to_csv(path, index=False, float_format="%.17g")
    status, out, err = run(path, "--warmup", 0)
    assert (status, err) == (0, "")
    said = str(slow_worker).split()
    assert out.split()[: len(said)] == said
    assert (tmp_path / "out" / "plan.html").exists()
    assert out.splitlines()[-1] == str(tmp_path / "out" / "plan.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--L", "1"], "to minimise the time to a target, give --L, --sigma2, --gap and --target: --sigma2 is missing"),
        (["--L", "1", "--sigma2", "1", "--gap", "1", "--target", "-1"], "target must be a finite number > 0"),
        (["--L", "1", "--sigma2", "1", "--gap", "0", "--target", "1"], "gap"),
        (["-n", "0"], "-n must be greater than or equal to 1, got 0"),
        (["--warmup", "some"], "warmup must be a whole number"),
        (["--unit", "fortnights"], "fortnights"),
        (["--dataset", "other"], "other"),
    ],
)
def test_bad_input_is_one_line_and_status_2(run, tmp_path, arguments, message):
    path = tmp_path / "trace.csv"
    synthetic_traces.almost_iid(np.random.default_rng(0), num=12, n=2).to_csv(path, index=False)
    status, out, err = run(path, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        ([], [], ""),
        ([(0, 0, 1.0)], [], "at least 2 delivered attempts"),
        ([(t, w, 1.0) for t in range(3) for w in range(2) if (t, w) != (1, 1)], ["-n", "2"], None),
        ([(t, 0, 1.0) for t in range(3)] + [(5, 1, 1.0)], ["-n", "4"], "two rounds in which all delivered"),
        (
            [(t, w, 1.0 + t + w) for t in range(3) for w in range(2)],
            ["--L", "1", "--sigma2", "1", "--gap", "1", "--target", "1"],
            "rounds in which everybody delivered",
        ),
    ],
)
def test_traces_too_small_for_what_is_asked(run, tmp_path, rows, arguments, message):
    path = tmp_path / "trace.csv"
    pd.DataFrame(rows, columns=["round", "worker", "seconds"]).to_csv(path, index=False)
    status, _, err = run(path, *arguments, "--warmup", 0)
    if message is None:
        assert (status, err) == (0, "")
    else:
        assert status == 2
        assert message in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("out", ["trace.csv", "trace.csv/plan"])
def test_where_no_folder_can_be_is_said_before_anything_is_computed(tmp_path, monkeypatch, capsys, out):
    path = tmp_path / "trace.csv"
    path.write_text("not even read")
    monkeypatch.setattr(sys, "argv", ["abs_theory", "plan", str(path), "--out", str(tmp_path / out)])
    with pytest.raises(SystemExit) as end:
        command.run()
    assert end.value.code == 2
    assert tuple(capsys.readouterr()) == ("", f"abs_theory: --out must be a folder, {path} is a file\n")


@pytest.mark.parametrize(("columns", "widest"), [("60", 60), pytest.param("400", 100, marks=pytest.mark.slow)])
def test_lines_fit_the_terminal(run, tmp_path, monkeypatch, columns, widest):
    monkeypatch.setenv("COLUMNS", columns)
    path = tmp_path / "trace.csv"
    synthetic_traces.clustered_stalls(np.random.default_rng(0), num=40).to_csv(path, index=False)
    status, out, _ = run(path)
    *lines, page, data = out.splitlines()
    assert status == 0
    assert page.endswith("plan.html")
    assert data.endswith("plan.json")
    assert widest - 12 < max(map(len, lines)) <= widest


def test_a_file_that_is_not_there(run, tmp_path):
    status, out, err = run(tmp_path / "none.csv")
    assert (status, out) == (2, "")
    assert err.startswith(f"abs_theory: TRACE must be a file or a folder, there is no {tmp_path / 'none.csv'}; its col")
    assert err.count("\n") == 1


def test_the_columns_of_a_trace_are_in_the_help(run):
    out = " ".join(run("--help")[1].split())
    assert "Needed columns: round, worker, seconds (or start and end)" in out
    for name in ("status", "unit", "k_waited", "version_read", "version_applied", "compute_s", "comm_s", "dataset"):
        assert name in out
        assert name in traces.__doc__


def test_the_example_trace_is_drawn_and_tells_how_many_to_wait_for(run):
    rng = np.random.default_rng(0)
    drawn = synthetic_traces.clustered_stalls(rng, num=500, share=0.08, stay=0.3, stall=5.0, sigma=0.25)
    given = pd.read_csv(EXAMPLE)
    assert np.allclose(given, drawn, rtol=0, atol=0.0006)  # written with three decimals
    assert EXAMPLE.stat().st_size < 60_000
    status, out, err = run(EXAMPLE)
    assert (status, err) == (0, "")
    assert "Wait for k = 6 of n = 8 workers, max_staleness = 0." in out
    data = json.loads((run.folder / "plan.json").read_text())
    assert data["identified"]
    assert data["k_alike"] == [6, 6]
    assert 0.4 < data["savings"]["low"] < data["savings"]["high"] < 0.6


def test_what_may_change_the_whole_answer_stands_beside_the_decision():
    seconds = np.random.default_rng(3).uniform(0.5, 1.5, (30, 4))
    frame = synthetic_traces.frame(seconds)
    other = plan(traces.from_frame(frame.assign(seconds=np.where(frame["worker"] == 3, 1e3, 1) * frame["seconds"])))
    assert str(other).splitlines()[1].startswith("Doubt: worker 3 takes ")
    assert "another unit?" in str(other).splitlines()[1]
    silent = frame.assign(seconds=frame["seconds"].where((frame["worker"] != 2) | (frame["round"] < 10)))
    stopped = plan(traces.from_frame(silent))
    told = "worker 2 has delivered nothing after round 9, in 20 of its 30 rounds"
    assert str(stopped).splitlines()[1] == f"Doubt: {told}."
    assert stopped.to_dict()["doubts"] == [told]
    assert plan(traces.from_frame(frame)).doubts == ()


def test_rounds_with_few_arrivals_do_not_count_as_those_with_all_in_silence():
    """Slow rounds that wait for 3 workers and fast ones for 8: E[T_(4)] is a mean over the fast ones alone."""
    seconds = np.random.default_rng(3).uniform(1.0, 1.5, (40, 8))
    seconds[:30] *= 4
    frame = synthetic_traces.frame(seconds)
    given_up = (frame["round"] < 30) & (frame["worker"] >= 3)
    cut = frame.assign(status=np.where(given_up, "cancelled", "ok"))
    cut.loc[given_up, "seconds"] = frame[~given_up].groupby("round")["seconds"].max()[cut["round"][given_up]].to_numpy()
    answer = plan(traces.from_frame(cut, warmup=0))
    assert answer.k > 3
    seldom, falls = answer.doubts
    assert seldom == f"only 10 of 40 rounds saw {answer.k} arrivals"
    before, after = answer.curve["mean"][3], answer.curve["mean"][4]
    assert falls.startswith(
        f"E[T_(k)] falls from {before:.4g} s at k = 3 to {after:.4g} s at k = 4, because it is the mean of"
    )
    assert falls.endswith("of 40 rounds there and of 10 here, which differ")
    assert f"Doubt: {falls}." in str(answer)
    assert plan(traces.from_frame(frame, warmup=0)).doubts == ()


def test_a_last_round_that_is_cut_short_is_left_out():
    seconds = np.random.default_rng(3).uniform(0.5, 1.5, (30, 4))
    frame = synthetic_traces.frame(seconds)
    whole, cut = (plan(traces.from_frame(rows)) for rows in (frame[:-4], frame[:-1]))
    assert cut.rounds == whole.rounds == 29
    assert cut.curve.equals(whole.curve)
    assert "the unfinished last round is left out" in str(cut)
    assert "leaving before" not in str(cut)


def test_a_last_round_that_is_cut_short_is_left_out_after_restarts_too():
    """Each round ends with the second delivery, when the other two tasks are restarted."""
    seconds = np.sort(np.random.default_rng(3).exponential(1.0, (200, 4)))
    seconds[:, 2:] = seconds[:, 1:2]
    rows = pd.DataFrame({"round": np.repeat(np.arange(200), 4), "worker": np.tile(np.arange(4), 200), "k_waited": 2})
    rows = rows.assign(seconds=seconds.ravel(), status=np.tile(["ok", "ok", "cancelled", "cancelled"], 200))
    rows = rows.assign(version_read=rows["round"], version_applied=rows["round"] + (rows["status"] == "cancelled"))
    whole, cut = (plan(traces.from_frame(frame)) for frame in (rows[:-4], rows[:-1]))
    assert cut.rounds == whole.rounds == 199
    assert cut.curve.equals(whole.curve)
    assert "the unfinished last round is left out" in str(cut)


def test_rounds_that_nobody_waited_out_give_a_time_to_a_target():
    """Without staleness it depends on the arrivals that were seen, so it is that of the whole trace."""
    whole = trace_of("almost iid", num=100, n=8)
    cut = whole.waiting_for(4)
    target = {"constants": CONSTANTS, "target": 0.05}
    of_all, answer = plan(whole, **target), plan(cut, **target)
    assert answer.max_staleness == 0
    assert answer.k <= 4
    row = of_all.setting.row(answer.k, 0.0)
    assert answer.seconds_to_target == pytest.approx(row["objective"], rel=1e-12)
    assert set(answer.setting.tried["max_staleness"]) == {0}
    assert answer.setting.tried["k"].max() <= 4
    assert not answer.identified
    # what was left out may be better, by no more than is said
    assert of_all.seconds_to_target >= (1 - answer.setting.could_gain) * answer.seconds_to_target
    assert (
        f"With these constants it reaches the target in about {answer.seconds_to_target:.4g} s, after " in answer.text
    )
    assert "whether a k above 4, the most arrivals seen in a round, would reach the target sooner." in answer.text
    assert json.loads(json.dumps(answer.to_dict()))["seconds_to_target"] == answer.seconds_to_target


def test_a_target_without_constants_is_named():
    with pytest.raises(ValueError, match=r"give both constants .* and target, got only target; without"):
        plan(trace_of("almost iid"), target=0.1)
    with pytest.raises(ValueError, match=r"give both constants .* and target, got only constants; without"):
        plan(trace_of("almost iid"), constants=CONSTANTS)


def sixteen(seed=0, num=200):
    """Rare stalls of 16 workers, of whom it is best to wait for 13."""
    rng = np.random.default_rng(seed)
    x = rng.lognormal(0.0, 0.3, (num, 16))
    return x + (rng.random(x.shape) < 0.02) * rng.exponential(10.0, x.shape)


def test_attempts_that_only_the_log_lacks_are_told_beside_the_decision_with_the_k_they_would_give():
    x = sixteen()
    rate = np.arange(1, 17) / np.sort(x, axis=1).mean(axis=0)
    keep = np.random.default_rng(1).random(x.size) >= 0.15
    found = plan(traces.from_frame(synthetic_traces.frame(x)[keep], warmup=0))
    (doubt,) = found.doubts
    told = re.fullmatch(
        r"(\d+) of 3200 attempts have no time and count as stragglers; if only the log lacks them, the choice is "
        r"k = (\d+)",
        doubt,
    )
    assert int(told[1]) == np.count_nonzero(~keep)
    assert rate[int(told[2]) - 1] >= 0.98 * rate.max(), "of the whole trace, by brute force"
    assert rate[found.k - 1] < 0.95 * rate.max(), "late attempts ask for fewer workers"
    assert str(found).splitlines()[1].startswith(f"Doubt: {told[1]} of 3200 attempts have no time")


def test_few_attempts_without_a_time_are_no_doubt_and_many_are_even_if_k_is_the_same():
    x = sixteen()
    keep = np.random.default_rng(1).random(x.size) >= 0.01
    assert plan(traces.from_frame(synthetic_traces.frame(x)[keep], warmup=0)).doubts == ()
    x = np.random.default_rng(0).exponential(size=(60, 3))  # one gradient is best, late or not
    keep = np.random.default_rng(1).random(x.size) >= 0.2
    found = plan(traces.from_frame(synthetic_traces.frame(x)[keep], warmup=0))
    assert found.k == 1
    assert [doubt.split("; ")[1] for doubt in found.doubts] == ["if only the log lacks them, the choice is the same k"]


def test_without_lost_attempts_nothing_would_be_otherwise():
    rng = np.random.default_rng(0)
    evidence = gather(traces.from_frame(synthetic_traces.frame(sixteen(num=20)), warmup=0), None, rng)
    assert decide.if_not_late(evidence, 5, rng) == 5


def test_rounded_times_that_tie_at_the_chosen_k_are_a_doubt():
    rng = np.random.default_rng(0)
    seconds = rng.exponential(1.0, (200, 5)) + 0.5
    rows = [(t, w, value) for t, row in enumerate(seconds) for w, value in enumerate(row)]
    trace = pd.DataFrame(rows, columns=["round", "worker", "seconds"])
    assert not [doubt for doubt in plan(traces.from_frame(trace)).doubts if "same recorded time" in doubt]
    rounded = plan(traces.from_frame(trace.assign(seconds=trace["seconds"].round(0).clip(lower=1))))
    (doubt,) = [doubt for doubt in rounded.doubts if "same recorded time" in doubt]
    assert f"at k = {rounded.k} the next arrival has the same recorded time in " in doubt
