"""The comparison of modes: lengths from files, the table, the recommendation, shared GPUs, and the command."""

import importlib
import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from abs_theory import order_stats, steady_state
from abs_theory.bounds import Constants, expected
from abs_theory.choose import Target
from abs_theory.delays import Deterministic, Empirical, Exponential, LogNormal, Slowest, Uniform
from abs_theory.monte_carlo import Rules, played, update_law
from abs_theory.rollouts import (
    Objective,
    Setup,
    Tolerance,
    admission,
    batches,
    best_settings,
    compare,
    modes,
    over_sampling,
    read_lengths,
    slowest_of_prompt,
    synchronous,
)
from abs_theory.rollouts.command import readable
from abs_theory.rollouts.page import page
from abs_theory.workers import as_workers
from simulations import protocols
from simulations.experiment import simulate
from simulations.problems import TimingOnly

LAW = LogNormal(median=math.exp(-0.5), sigma=1.0)
TOKENS = [100.0, 200.0, 400.0, 800.0]


# ---------------------------------------------------------------------- lengths
@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "header", "plain"])
def test_lengths_are_read_from_any_kind_of_file(tmp_path, kind):
    table, path = pd.DataFrame({"tokens": TOKENS}), tmp_path / f"log.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    elif kind == "header":
        path.write_text("answer_length\n100\n200\n400\n800\n")
    else:
        table.to_csv(path, index=False, header=kind != "plain")
    assert read_lengths(str(path)).law == Empirical(TOKENS, np.ones(4))


def test_weights_seconds_and_groups_of_a_log(tmp_path):
    table = pd.DataFrame({"tokens": TOKENS, "weight": [1, 1, 1, 5], "group": ["a", "a", "b", "b"], "seconds": 2.0})
    table.to_csv(tmp_path / "log.csv", index=False)
    lengths = read_lengths(str(tmp_path / "log.csv"), group=2)
    assert lengths.law.mean == pytest.approx((100 + 200 + 400 + 5 * 800) / 8)
    assert lengths.seconds_per_token == pytest.approx(16 / 4700)
    assert lengths.task(2) == Empirical([200.0, 800.0], [1.0, 1.0])  # the recorded groups themselves


@pytest.mark.parametrize(
    "names, columns",
    [
        (("response_length", "prompt_id", "latency_ms"), None),
        (("completion_tokens", "Question", "generation time [ms]"), None),
        (("n_out", "pid", "took_ms"), {"tokens": "n_out", "group": "pid", "seconds": "took_ms"}),
    ],
)
def test_columns_are_known_by_the_names_of_usual_logs(tmp_path, names, columns):
    table = pd.DataFrame(dict(zip(names, [TOKENS, ["a", "a", "b", "b"], [2000.0] * 4], strict=True)))
    table["prompt_tokens"] = 7
    table.to_csv(tmp_path / "log.csv", index=False)
    lengths = read_lengths(str(tmp_path / "log.csv"), group=2, columns=columns)
    assert lengths.law == Empirical(TOKENS, np.ones(4))
    assert lengths.seconds_per_token == pytest.approx(8 / 1500)
    assert lengths.task(2) == Empirical([200.0, 800.0], [1.0, 1.0])
    assert names[0] in lengths.words


@pytest.mark.parametrize(
    "text, columns, message",
    [
        ("output_tokens,length\n1,2\n", {}, "say which one, --columns tokens=length or --columns tokens=output_tokens"),
        ("tokens,who\n1,2\n", {"prompt": "who"}, "no column has the role 'prompt'; roles: tokens, probability"),
        ("tokens,who\n1,2\n", {"group": "whom"}, "has no column 'whom'; did you mean 'who'?"),
        ("tokens,prompt\n1,a\n2,b\n", {}, "each answer has one of its own"),
    ],
)
def test_columns_that_are_not_clear_are_asked_for(tmp_path, text, columns, message):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_lengths(str(tmp_path / "log.csv"), 2, columns)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n1,2\n", "must have a column tokens, it has a, b"),
        ("tokens\n1\n-2\n", "must have finite numbers > 0 only, line 3 has -2: correct or leave out such rows"),
        ("1\n2\nmany\n-3\n", r"line 3 has 'many' \(there are 2 such cells\)"),
        ("tokens,weight\n1,0\n", "the column weight"),
        ("dataset,tokens\nx,1\ny,2\n", "has 2 datasets"),
        ("tokens,seconds\n1,nan\n", "the column seconds of log.csv .* line 2 has an empty cell"),
        ("id,tokens\n0,10\n\n \n1,abc\n2,5\n", "line 5 has 'abc'"),  # as an editor counts
        ("10\n\n20\nabc\n5\n", "line 4 has 'abc'"),
    ],
)
def test_bad_lengths_are_refused(tmp_path, text, message):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_lengths(str(tmp_path / "log.csv"))


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"tokens": 5}\n{"tokens" 6}\n{"tokens": 7}\n', "log.jsonl: line 2 is cut short or not JSON"),
        ('{"tokens": 5}\n{"tokens": -1}\n', "record 2 has -1"),
        ("5\n6\n", "JSON must be records, in a list or one in each line"),
    ],
)
def test_bad_json_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "log.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_lengths(str(tmp_path / "log.jsonl"))


def test_a_last_line_of_csv_that_is_cut_short_is_left_out(tmp_path):
    (tmp_path / "log.csv").write_text("id,tokens\n0,5\n1,7\n2")
    lengths = read_lengths(str(tmp_path / "log.csv"))
    assert lengths.law.mean == 6
    assert lengths.words == "2 lengths of log.csv (the last line is cut short: left out)"


def test_a_last_line_of_json_that_is_cut_short_is_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"tokens": 5}\n{"tokens": 7}\n{"tok')
    lengths = read_lengths(str(tmp_path / "log.jsonl"))
    assert lengths.law.mean == 6
    assert lengths.words == "2 lengths of log.jsonl (the last line is cut short: left out)"


def test_many_lengths_are_gathered_with_mean_and_tail(tmp_path):
    lengths = LAW.sample(np.random.default_rng(0), 30_000)
    pd.DataFrame({"tokens": lengths}).to_csv(tmp_path / "log.csv", index=False)
    law = read_lengths(str(tmp_path / "log.csv")).law
    assert isinstance(law, Empirical)
    assert law.times.size <= 2000
    assert law.mean == pytest.approx(lengths.mean(), rel=1e-9)
    assert float(law.isf(0.001)) == pytest.approx(np.quantile(lengths, 0.999), rel=0.05)


def test_answers_to_one_prompt_that_are_equal_make_no_group_longer():
    law = slowest_of_prompt(np.array([1.0, 1.0, 5.0, 5.0]), np.array([0, 0, 1, 1]), count=2)
    assert law.mean == pytest.approx(3.0)


def log(path, **columns):
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("by_count", [False, True])
def test_groups_are_the_mean_over_all_subsets_of_the_recorded_answers(tmp_path, by_count):
    """Of five answers to a prompt three are taken, each once; some lengths are equal."""
    answers = {"a": [5.0, 5.0, 2.0, 9.0, 7.0], "b": [1.0, 4.0, 4.0]}
    table = pd.DataFrame(
        [(name, tokens) for name, all_ in answers.items() for tokens in all_], columns=["group", "tokens"]
    )
    if by_count:
        table = table.value_counts().reset_index(name="count")
    path = log(tmp_path / "log.csv", **table)
    law = read_lengths(path, 3).task(3)
    longest = {name: [max(trio) for trio in itertools.combinations(all_, 3)] for name, all_ in answers.items()}
    for at in (1.0, 4.0, 5.0, 7.0, 9.0):
        expected = np.mean([np.mean(np.array(values) <= at) for values in longest.values()])
        assert float(law.cdf(at)) == pytest.approx(expected, abs=1e-12)


def test_prompts_with_too_few_answers(tmp_path):
    columns = {"tokens": [1.0, 2.0, 3.0, 8.0, 9.0], "group": ["a", "a", "a", "b", "b"]}
    lengths = read_lengths(log(tmp_path / "log.csv", **columns), 3)
    assert lengths.task(3).mean == 3.0
    assert lengths.notes[0] == "1 prompt of 2 with fewer than 3 answers left out of the groups."
    with pytest.raises(ValueError, match="it has at most 3: take --group 3 or fewer"):
        read_lengths(str(tmp_path / "log.csv"), 4)


def test_what_is_assumed_about_groups_is_said(tmp_path):
    prompts = log(tmp_path / "prompts.csv", tokens=TOKENS, prompt_id=["a", "a", "b", "b"])
    assert "has 2 answers for a prompt. If your trainer takes groups, give" in read_lengths(prompts).notes[0]
    (note,) = read_lengths(prompts, 2).notes
    assert note.startswith("In modes that lose groups, tokens/s takes the answers of a group as independent")
    for text in (log(tmp_path / "plain.csv", tokens=TOKENS), "exponential:mean=9"):
        assert "the answers of a group are taken as independent" in read_lengths(text, 2).notes[0]
        assert not read_lengths(text).notes
    (tmp_path / "gaps.csv").write_text("tokens,prompt\n1,a\n2,a\n3,\n4,\n")
    with pytest.raises(ValueError, match="must name the prompt of each answer, it has 2 empty cells"):
        read_lengths(str(tmp_path / "gaps.csv"), 2)


def test_probabilities_must_sum_to_1(tmp_path):
    half = log(tmp_path / "log.csv", tokens=TOKENS, probability=[0.5, 0.3, 0.15, 0.1])
    with pytest.raises(ValueError, match=r"must sum to 1, it sums to 1\.05: correct it, or call it weight"):
        read_lengths(half)
    assert read_lengths(log(tmp_path / "ok.csv", tokens=TOKENS, probability=[0.5, 0.3, 0.15, 0.049])).law.mean > 0


@pytest.mark.parametrize("growth", [0.0, 0.4])
def test_lengths_that_grow_from_step_to_step_are_said(tmp_path, growth):
    """Answers to a prompt resemble each other, so prompts are counted, not answers."""
    rng, step = np.random.default_rng(1), np.repeat(np.arange(20), 40)
    prompt = np.arange(800) // 4
    tokens = np.exp(rng.normal(size=200)[prompt] * 0.5 + 0.2 * rng.normal(size=800)) * (1 + growth * step / 10) * 500
    for columns in ({"group": prompt}, {}):
        notes = read_lengths(log(tmp_path / "log.csv", tokens=tokens, step=step, **columns), 4 if columns else 1).notes
        assert any("Answers become longer" in note for note in notes) == (growth > 0)


@pytest.mark.parametrize(
    "name", ["log.jsonl.gz", "log.csv.gz", "semicolons.csv", "utf16.csv", "lists.jsonl", "one.json"]
)
def test_logs_are_read_as_traces_are(tmp_path, name):
    path, table = tmp_path / name, pd.DataFrame({"prompt_id": ["a", "a", "b", "b"], "response_lengths": TOKENS})
    if name == "log.jsonl.gz":
        table.to_json(path, orient="records", lines=True)
    elif name == "lists.jsonl":
        table.groupby("prompt_id").agg(list).to_json(path, orient="records", lines=True)
    elif name == "one.json":
        path.write_text('{"tokens": 100}')
        assert read_lengths(str(path)).law.mean == 100
        return
    else:
        separator, encoding = (";" if "semi" in name else ","), ("utf-16" if "utf" in name else None)
        table.to_csv(path, index=False, sep=separator, encoding=encoding)
    lengths = read_lengths(str(path), 2)
    assert lengths.law == Empirical(TOKENS, np.ones(4))
    assert lengths.task(2) == Empirical([200.0, 800.0], [1.0, 1.0])


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_few_bad_lines_of_a_long_log_are_left_out_and_counted(tmp_path, kind):
    path = tmp_path / f"log.{kind}"
    lines = ['{"id": 1, "tokens": 5}' if kind == "jsonl" else "1,5"] * 400
    lines[7], lines[300] = ("Traceback", '{"id": 3, "tok') if kind == "jsonl" else ("1,5,6,7", "3")
    path.write_text("\n".join(["id,tokens"] * (kind == "csv") + lines) + "\n")
    lengths = read_lengths(str(path))
    assert lengths.law.mean == 5
    assert lengths.words.startswith("398 lengths of log.")
    assert lengths.words.count("left out") == (1 if kind == "jsonl" else 2)
    path.write_text("\n".join(["id,tokens"] * (kind == "csv") + lines[:100]) + "\n")
    assert read_lengths(str(path)).law.mean == 5
    path.write_text("\n".join(["id,tokens"] * (kind == "csv") + lines[:20]) + "\n")
    with pytest.raises(ValueError, match=r"line [89] "):
        read_lengths(str(path))


@pytest.mark.parametrize("text", ["", "  "])
def test_no_file_is_no_folder(text):
    with pytest.raises(ValueError, match="no file is named"):
        read_lengths(text)


# ---------------------------------------------------------------------- modes
def test_what_is_between_is_simulated():
    setup = Setup(LAW, 32, 80)
    assert admission(setup, 2.0).solve(LAW, 0.1).method == "monte-carlo"
    assert str(admission(setup, 1.0).solve(LAW, 0.1).method) == "mean-field"
    assert admission(setup, 1.0).solve(LAW, 0.1).mean_staleness == 1


STEADY = {  # tokens, seconds of an update in tokens: a run of equal lengths is played by hand
    "constant": (Deterministic(500.0), 150.0),
    "narrow": (Uniform(500.0, 600.0), 150.0),
    "quick trainer": (Deterministic(500.0), 0.0),
    "slow trainer": (Uniform(1.0, 2.0), 500.0),
    "as long as a task": (Deterministic(1.0), 1.0),
}


@pytest.mark.parametrize("case", STEADY)
def test_lengths_that_are_nearly_equal(case):
    """Rounds repeat: no formula with one round time holds, so these are simulated, from slots that begin together."""
    law, seconds = STEADY[case]
    found = compare(Setup(law, 16, 64, seconds), ahead=(0.5, 1, 3), thresholds=(1, 4)).table.set_index("mode")
    longest, load = float(law.isf(0.0)), seconds / law.mean
    assert found["seconds_per_update"]["synchronous"] == pytest.approx(seconds + longest, rel=0.02)
    for eta in (1, 3):  # at best all slots are busy, or the trainer is
        seconds_per_update = found["seconds_per_update"][f"ahead {eta}"]
        assert seconds_per_update >= max(seconds, (law.mean + seconds) / (eta + 1)) * (1 - 1e-9)
        assert seconds_per_update <= max(seconds, (longest + seconds) / (eta + 1)) * 1.001
        assert found["staleness_mean"][f"ahead {eta}"] == pytest.approx(eta)
    if case == "constant":
        assert found["seconds_per_update"]["abort 1"] == pytest.approx(400.0, rel=1e-3)
        assert found["seconds_per_update"]["drop 1"] == pytest.approx(500.0, rel=1e-3)
        assert found["lost_share"]["abort 1"] == pytest.approx(0.75, rel=1e-3)
        assert found["staleness_mean"]["abort 4"] == pytest.approx(3.2, rel=1e-3)
    assert load < 1 or found["seconds_per_update"]["abort 4"] == pytest.approx(seconds)


@pytest.mark.parametrize("kind", ["constant", "narrow", "slow trainer", "as long as a task"])
@pytest.mark.parametrize("theta", [1, 2])
def test_steady_tasks_against_the_simulator(kind, theta):
    law, seconds = STEADY[kind]
    if kind == "slow trainer":
        seconds = 0.7  # with fewer tasks to play
    for in_flight in (True, False):
        state = steady_state.abs_batch(law, 8, 32, theta, seconds, in_flight)
        run = simulate(
            protocols.abs_batch(8, theta, in_flight=in_flight), TimingOnly(), law, 32, step_size=1.0, num_updates=400,
            seed=1, update_seconds=seconds,
        )  # fmt: skip
        settled = run[run["update"] > 160]
        seconds_per_update = (settled["time"].iloc[-1] - settled["time"].iloc[0]) / (len(settled) - 1)
        assert state.round_time == pytest.approx(seconds_per_update, rel=0.015)
        assert state.mean_staleness == pytest.approx(settled["mean_staleness"].mean(), abs=0.03)


def test_a_comparison_calls_nothing_exact_that_is_not():
    """Two memoryless slots: the other one delivers before, or within the same update, with probabilities of 1/2."""
    rows = compare(Setup(Exponential(1000.0), 1, 2), in_order=False, thresholds=(1,)).table.set_index("mode")
    assert rows["seconds_per_update"]["abort 1"] == pytest.approx(500.0)
    assert rows["staleness_mean"]["abort 1"] == pytest.approx(1 / 3, abs=0.015)
    assert rows["lost_share"]["abort 1"] == pytest.approx(1 / 4, abs=0.01)
    assert rows["staleness_p99"]["ahead 1"] == 6  # P(more than s updates) = 2^-(s + 1)
    assert rows["method"][["synchronous", "ahead 1", "abort 1"]].tolist() == ["exact", "monte-carlo", "monte-carlo"]
    alone = compare(Setup(Exponential(1000.0), 1, 1), in_order=False, thresholds=(1,)).table.set_index("mode")
    assert (alone["lost_share"]["abort 1"], alone["staleness_p99"]["abort 1"]) == (0, 0)


def test_running_ahead_is_fair_and_a_threshold_is_not():
    setup = Setup(LAW, 16, 64)
    assert admission(setup, 1.0).solve(LAW, 0.0).long_share(LAW, 0.1) == 1
    for mode in (batches(setup, 2), batches(setup, 2, in_flight=False), over_sampling(setup)):
        assert mode.solve(LAW, 0.0).long_share(LAW, 0.1) < 0.01


def with_limit(limit):
    """400 answers, none longer than the limit, as in a log of a run with a limit of tokens."""
    lengths = LogNormal(median=1.0, sigma=1.0).ppf((np.arange(400) + 0.5) / 400)
    return Empirical(np.minimum(lengths, limit), np.ones(400))


@pytest.mark.parametrize(
    "group, limit, ahead",
    [
        (1, 8.0, (2,)),  # 2 % of the answers are at the limit
        (4, 12.0, (2,)),  # 3 % of the groups
        *(pytest.param(group, limit, (), marks=pytest.mark.slow) for group in (1, 4) for limit in (3.0, 12.0)),
    ],
)
def test_modes_that_lose_nothing_are_fair_to_lengths_at_a_token_limit(group, limit, ahead):
    answer = with_limit(limit)
    task = answer if group == 1 else Slowest(answer, group)
    found = compare(Setup(task, 8, 24, trainer_seconds=0.2), group=group, answer=answer, ahead=ahead, thresholds=(1,))
    fair = found.table[found.table["mode"].str.contains("synchronous|tail|ahead")]
    assert fair["longest_10"].tolist() == fair["longest_1"].tolist() == [1.0] * len(fair)
    tokens = fair["tokens_per_second"] / fair["rollouts_per_second"]
    np.testing.assert_allclose(tokens, answer.mean, rtol=1e-12)


@pytest.mark.parametrize(
    "group, mode, rules, seconds, error",
    [
        (1, over_sampling, Rules(30, 32, 0), 0.1, 0.02),
        pytest.param(2, over_sampling, Rules(30, 32, 0), 0.1, 0.02, marks=pytest.mark.slow),
        (1, batches, Rules(16, max_staleness=8), 0.1, 0.06),
        pytest.param(2, batches, Rules(16, max_staleness=6), 0.3, 0.06, marks=pytest.mark.slow),
    ],
)
def test_the_share_of_lengths_at_a_token_limit_is_that_of_a_simulation(group, mode, rules, seconds, error):
    task, n = Slowest(with_limit(3.0), group), 32 if mode is over_sampling else 64  # 14 and 25 % are at the limit
    setup, settings = Setup(task, rules.k, n), (rules.max_staleness,) if mode is batches else ()
    theory = mode(setup, *settings).solve(task, seconds)
    simulated = played(as_workers(task, n), rules, update_law(seconds), np.random.default_rng(2), 40, 32)
    assert 0.2 < simulated.long_share(task, 0.1) < 0.9
    for longest in (0.01, 0.1, 0.5):
        assert theory.long_share(task, longest) == pytest.approx(simulated.long_share(task, longest), abs=error)


def test_tokens_of_independent_groups_with_a_token_limit():
    """Of groups whose longest answer is at the limit, others may be there too."""
    answer = Empirical([1.0, 2.0, 10.0])
    setup = Setup(Slowest(answer, 2), 1, 2)
    rows = compare(setup, group=2, answer=answer, in_order=False, ahead=(1,)).table.set_index("mode")
    pairs = np.random.default_rng(0).choice([1.0, 2.0, 10.0], (100_000, 2, 2))
    first = pairs[np.arange(len(pairs)), pairs.max(axis=2).argmin(axis=1)]
    tokens = rows["tokens_per_second"] / rows["rollouts_per_second"]
    assert tokens["over-sampling"] == pytest.approx(first.mean(), rel=0.01)


def test_over_sampling_waits_for_the_first_of_all_and_trains_on_nothing_stale():
    state = over_sampling(Setup(LAW, 16, 64)).solve(LAW, 0.0)
    assert state.round_time == pytest.approx(order_stats.mean(LAW, 16, 64), rel=1e-7)
    assert (state.mean_staleness, state.restarts) == (0, 48)


def test_over_sampling_loses_the_late_ones_of_lengths_that_are_common():
    law = Empirical([1.0, 2.0, 4.0])
    state = over_sampling(Setup(law, 8, 32)).solve(law, 0.1)
    assert (state.restarts, state.lost_share) == (24, pytest.approx(0.75))
    assert float(state.participation.sum()) == pytest.approx(8)


def test_slots_that_share_gpus_are_a_fixed_point():
    setup = Setup(LAW, 8, 32, trainer_seconds=0.1, seconds_per_token=0.5, slowdown=0.1, gpus=4)
    for mode in (synchronous(setup), batches(setup, 4), admission(setup, 1.0)):
        state, speed = mode.state(setup, LAW)
        assert speed == pytest.approx(0.5 + 0.1 * mode.slots * (1 - state.idle_fraction) / 4, rel=1e-3)
    busy = batches(setup, 4).state(setup, LAW)[1]
    assert busy == pytest.approx(0.5 + 0.1 * 32 / 4)  # no slot waits


def test_tokens_of_groups():
    """If none is lost, trained groups of independent answers have answers of the mean length."""
    comparison = compare(Setup(Slowest(LAW, 4), 8, 16), group=4, answer=LAW, in_order=False)
    rows = comparison.table.set_index("mode")
    per_rollout = rows["tokens_per_second"] / rows["rollouts_per_second"]
    assert per_rollout["ahead 1"] == pytest.approx(LAW.mean, rel=0.02)
    assert per_rollout["abort 1"] < 0.7 * LAW.mean


# ---------------------------------------------------------------------- which to use
@pytest.mark.parametrize(
    "what, most, fair",
    [
        ("p99", 8, 0.9),
        pytest.param("mean", 2, 0.9, marks=pytest.mark.slow),
        pytest.param("max", 2, 0.9, marks=pytest.mark.slow),
        pytest.param("max", 4, 0.0, marks=pytest.mark.slow),
    ],
)
def test_the_recommended_mode_is_the_fastest_within_the_tolerance(what, most, fair):
    found = compare(Setup(LAW, 8, 32), Tolerance(what, most, fair))
    rows = found.table.set_index("mode")
    column = {"p99": "staleness_p99", "mean": "staleness_mean", "max": "staleness_largest"}[what]
    good = rows[(rows[column] <= most) & (rows["longest_10"] >= fair)]
    speed, error = good["rollouts_per_second"], good["error"]
    first = speed.idxmax()
    assert speed[found.recommended] >= speed[first] * (1 - error[first] - error[found.recommended] - 1e-3)
    assert found.recommended in found.why


@pytest.mark.parametrize(
    "setup, tolerance, recommended",
    [
        (Setup(Exponential(1.0), 1, 1), Tolerance(), "synchronous"),  # abort and drop do the same there
        (Setup(Deterministic(1.0), 4, 16, 1.0), Tolerance(), "ahead 1"),  # from here on the trainer is the limit
        (Setup(LAW, 4, 16, 20.0), Tolerance("p99", 8, 0.0), "ahead 1"),
        (Setup(Deterministic(1.0), 4, 8, 0.1), Tolerance("max", 2), "in order, ahead 1"),  # no window can be typed
    ],
)
def test_modes_that_are_equally_fast_are_told_apart_by_what_they_cost(setup, tolerance, recommended):
    found = compare(setup, tolerance, ahead=(1, 2) if setup.slots > 8 else (1,) * (setup.slots > 1), thresholds=(8,))
    assert found.recommended == recommended


def test_modes_that_cannot_be_typed_name_a_system_and_the_best_that_can():
    setup = Setup(LAW, 8, 16)
    found = compare(setup, Tolerance("max", 0), in_order=False, ahead=(1,), thresholds=(1,))
    assert found.recommended == "tail batching"
    assert found.what_to_type.startswith(
        "No setting of a trainer is known for the mode tail batching. RollPacker (arXiv 2509.21009) has it. The best "
        "mode that can be typed is synchronous, "
    )
    assert found.what_to_type.endswith(" times as fast: AReaL max_head_offpolicyness=0.")
    assert "Forge" in admission(setup, 1, window=8).system


def test_numbers_that_are_typed_count_prompts_or_completions():
    setup = Setup(Slowest(LAW, 4), 8, 32, group=4)
    assert "max_inflight_tasks=128" in batches(setup, 3, in_flight=False).settings[0]
    found = compare(replace(setup, group=1), Tolerance("p99", 8), 4, LAW, in_order=False, ahead=(1,), thresholds=(4,))
    assert found.recommended == "ahead 1"
    assert "max_concurrent_rollouts=16" in found.what_to_type
    assert found.what_to_type.endswith("Here max_concurrent_rollouts counts prompts.")
    assert "groups of 4; batch 8, 32 slots" in found.conditions("a law")
    assert "batch and slots count prompts" in found.conditions("a law")


def test_one_is_singular():
    found = compare(Setup(Exponential(1.0), 1, 1, slowdown=0.1, gpus=1), in_order=False, thresholds=(1,))
    assert "batch 1, 1 slot, trainer" in found.conditions("a law")
    assert found.conditions("a law").endswith(", 1 GPU")
    assert "with 1 slot and batches of 1 rollout." in found.why


@pytest.mark.parametrize("text", ["p99", "p200:3", "mean:-1", "often:2", "p99:many"])
def test_a_tolerance_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="toler"):
        Tolerance.of(text)


def test_more_slots_on_the_same_gpus_need_not_pay():
    setup = Setup(LAW, 8, 16, seconds_per_token=0.1, slowdown=1.0, gpus=4)
    found = best_settings(setup, slots=[8, 16, 32], tolerance=Tolerance("mean", 1.0))
    assert len(found.table) == 3
    assert found.seconds_per_rollout == pytest.approx(1 / found.table["rollouts_per_second"].max())
    with pytest.raises(ValueError, match="slots must have at least one number"):
        best_settings(setup, slots=[])


def test_the_time_to_a_target_counts_the_updates_that_staleness_costs():
    """The noise of a small batch needs more updates, whose staleness a long step would feel."""
    objective = Objective(Constants(L=1.0, sigma2=5.0, gap=10.0), Target(0.3))
    found = compare(Setup(LAW, 8, 32), Tolerance("max", 8, 0.0), in_order=False, objective=objective)
    rows = found.table.set_index("mode")
    assert found.recommended == rows["seconds_to_target"][rows["staleness_largest"] <= 8].idxmin()
    for mode in ("synchronous", "ahead 1", "abort 2"):
        terms = expected.tradeoff(objective.constants, 8, rows["staleness_mean"][mode])
        updates = float(terms.updates_to(0.3, terms.best_step_to(0.3)))
        assert rows["updates_to_target"][mode] == pytest.approx(updates)
        assert rows["seconds_to_target"][mode] == pytest.approx(updates * rows["seconds_per_update"][mode])
    assert rows["updates_to_target"]["synchronous"] < rows["updates_to_target"]["ahead 3"]
    assert f"{rows['seconds_to_target'][found.recommended]:.3g} s" in found.why
    with pytest.raises(ValueError, match='must have the objective "time"'):
        Objective(objective.constants, Target(0.3, objective="communication"))


def test_an_easy_target_asks_for_smaller_batches_than_speed_does():
    """With little noise an update counts, not how many rollouts it takes."""
    setup, sizes = Setup(LAW, 2, 16), {"slots": [16], "batch": [2, 8], "tolerance": Tolerance("max", 4, 0.0)}
    quiet = Objective(Constants(L=1.0, sigma2=0.1, gap=1.0), Target(0.3))
    fastest, soonest = best_settings(setup, **sizes), best_settings(setup, **sizes, objective=quiet)
    assert fastest.seconds_to_target is None
    assert soonest.seconds_to_target == soonest.table["seconds_to_target"].min()
    assert (fastest.setup.batch, soonest.setup.batch) == (8, 2)
    assert soonest.settings


@pytest.mark.parametrize(
    "mode, typed",
    [
        (admission(Setup(LAW, 8, 32), 2.0), "AReaL max_head_offpolicyness=2 max_concurrent_rollouts=24"),
        (admission(Setup(LAW, 8, 32), 0.5), "verl staleness_threshold=0.5 partial_rollout=True"),
        (batches(Setup(LAW, 8, 32), 3), "prime-rl max_off_policy_steps=2"),
        (batches(Setup(LAW, 8, 32), 3, in_flight=False), "TRL max_staleness=3 max_inflight_tasks=32"),
        (over_sampling(Setup(LAW, 8, 32)), "slime --rollout-batch-size 8 --over-sampling-batch-size 32"),
    ],
)
def test_what_to_type_in_a_trainer(mode, typed):
    assert mode.settings[0] == typed


def test_every_mode_has_a_name_of_its_own():
    names = [mode.name for mode in modes(Setup(Exponential(1.0), 4, 24))]
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------------- the command
def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["abs_theory", "rollouts", *arguments])
    with pytest.raises(SystemExit) as end:
        importlib.import_module("abs_theory.__main__").run()
    return end.value.code


def test_the_command_prints_and_writes(tmp_path, monkeypatch, capsys):
    files = {name: tmp_path / f"modes.{kind}" for name, kind in (("csv", "csv"), ("json", "json"), ("page", "html"))}
    options = ["--lengths", "exponential:mean=500", "--batch", "4", "--slots", "8", "--trainer-seconds", "2"]
    assert not run(monkeypatch, *options, *(text for name, path in files.items() for text in (f"--{name}", str(path))))
    printed = " ".join(capsys.readouterr().out.split())
    table, content = pd.read_csv(files["csv"]), json.loads(files["json"].read_text())
    assert content["recommended"] in table["mode"].tolist()
    assert len(content["modes"]) == len(table)
    chosen = table[table["recommended"]].squeeze()
    assert f"Recommended: {content['recommended']}, with {chosen['slots']} slots and batches of 4 rollouts. " in printed
    assert chosen["mode"] == content["recommended"]
    assert "; ".join(content["what_to_type"]) == chosen["what_to_type"]
    assert chosen["what_to_type"] in printed
    assert content["setup"]["lengths"] == "exponential:mean=500"
    assert (content["setup"]["group"], content["modes"][3]["staleness_largest"]) == (1, None)
    assert "NaN" not in files["json"].read_text()
    assert "<svg" in files["page"].read_text()
    assert chosen["what_to_type"] in files["page"].read_text()


def test_the_command_finds_the_mode_that_reaches_a_target_soonest(tmp_path, monkeypatch, capsys):
    pd.DataFrame({"n_out": TOKENS}).assign(other=1).to_csv(tmp_path / "log.csv", index=False)
    options = ["--lengths", str(tmp_path / "log.csv"), "--columns", "tokens=n_out", "--batch", "2", "--slots", "4"]
    target = ["--L", "1", "--sigma2", "5", "--gap", "10", "--target", ".3"]
    assert not run(monkeypatch, *options, *target)
    assert "s to target" in (printed := capsys.readouterr().out)
    assert "reaches the target" in " ".join(printed.split())
    assert run(monkeypatch, *options, *target[:2]) == 2
    assert (
        "to minimise the time to a target, give --L, --sigma2, --gap and --target: --sigma2 is missing"
        in capsys.readouterr().err
    )


def test_files_page_and_terminal_say_what_is_unknown(tmp_path):
    found = compare(Setup(Exponential(1.0), 2, 4, slowdown=0.1, gpus=2), thresholds=(1,), in_order=False)
    table = found.table.assign(slots_busy=math.nan, staleness_mean=math.nan)
    unknown = replace(found, table=table)
    assert {row["slots_busy"] for row in json.loads(unknown.to_json())["modes"]} == {None}
    assert readable(unknown).splitlines()[1].split()[5] == "-"
    assert "<td>-</td>" in page(unknown, "a law")
    assert "0.1 s more for each further task on the same GPU, 2 GPUs" in page(unknown, "a law")


def test_names_of_modes_are_told_apart():
    """Some contain commas."""
    found = compare(Setup(LAW, 4, 12), Tolerance("max", 0), in_order=False, ahead=(1,), thresholds=(1,))
    assert "Faster, but too stale: ahead 1; abort 1; drop 1." in found.why


def test_a_mistake_is_one_line(monkeypatch, capsys):
    assert run(monkeypatch, "--lengths", "exponential:mean=500", "--batch", "9", "--slots", "10", "--gpus", "-1") == 2
    assert capsys.readouterr().err == "abs_theory: --gpus must be a finite number > 0, got --gpus=-1.0\n"


def test_fewer_slots_than_a_batch():
    """Tasks of a batch start one after another, as slots are free."""
    k, n, seconds = 12, 5, 0.3
    found = compare(Setup(LAW, k, n, seconds), in_order=False, thresholds=(1,)).table.set_index("mode")
    assert set(found["slots"]) == {n}
    assert not {"over-sampling", "tail batching"} & set(found.index)
    draws, ends = np.random.default_rng(0).lognormal(-0.5, 1.0, (20_000, k)), np.zeros((20_000, n))
    for task in draws.T:
        first = ends.argmin(axis=1)
        ends[np.arange(len(ends)), first] += task
    assert found["seconds_per_update"]["synchronous"] == pytest.approx(seconds + ends.max(axis=1).mean(), rel=0.02)
    assert found["staleness_largest"]["synchronous"] == found["staleness_p99"]["synchronous"] == 0
    assert found["seconds_per_update"]["ahead 2"] == pytest.approx(k * LAW.mean / n, rel=0.02)  # no slot waits
    for mode, rule in (("ahead 0.5", protocols.admission(k, 0.5)), ("abort 1", protocols.abs_batch(k, 1))):
        simulated = simulate(
            rule, TimingOnly(), LAW, n, step_size=1.0, num_updates=400, seed=1, replicates=16, update_seconds=seconds
        )
        late = simulated[simulated["update"] > 80]
        rounds = late.groupby("replicate")["time"].agg(np.ptp) / 319
        assert found["seconds_per_update"][mode] == pytest.approx(rounds.mean(), rel=0.03)  # 2.5 standard errors
        assert found["staleness_mean"][mode] == pytest.approx(late["mean_staleness"].mean(), abs=0.02)
