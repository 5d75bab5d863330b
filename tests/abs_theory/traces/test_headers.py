"""Tables as people export them: which column is the round, which are workers, which are neither."""

import io

import numpy as np
import pandas as pd
import pytest
import synthetic_traces as synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from abs_theory.traces import from_frame, read

SECONDS = synthetic.almost_iid(np.random.default_rng(5), num=30, n=4, sigma=0.5)["seconds"].to_numpy().reshape(30, 4)
LONG = synthetic.frame(SECONDS)


def wide(**extra):
    table = pd.DataFrame(SECONDS, columns=["a", "b", "c", "d"])
    for name, values in extra.items():
        table[name] = values
    return table


def read_text(text, tmp_path, name="trace.csv", **options):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read(path, **options)


def read_table(table, tmp_path, **options):
    return read_text(table.to_csv(index=False), tmp_path, **options)


def same(trace, seconds=SECONDS):
    assert trace.complete.to_numpy() == pytest.approx(seconds)


# --- tables with a column per worker --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["iter", "epoch", "global_step", "Step", "batch", "trial", "t", "#", "Schritt", "Runde", "trainer/global_step"],
)
def test_a_counter_is_the_round(name, tmp_path):
    trace = read_table(wide(**{name: np.arange(5, 35)})[[name, "a", "b", "c", "d"]], tmp_path)
    same(trace)
    assert trace.complete.index[0] == 5


@pytest.mark.parametrize(
    "name", ["time", "Wall time", "timestamp", "Zeit", "_timestamp", "_runtime", "train/loss", "lr"]
)
def test_clocks_and_metrics_are_no_workers(name, tmp_path):
    trace = read_table(wide(**{name: 1.7e9 + np.cumsum(SECONDS.max(axis=1)), "Step": np.arange(30)}), tmp_path)
    same(trace)
    assert f"columns that are no workers left out: {name}" in trace.report


SUMMARIES = {"max": np.max, "Mean": np.mean, "sum": np.sum, "total": np.sum, "min": np.min, "Median": np.median}


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_summary_is_no_worker_by_its_name_and_by_its_content(name, tmp_path):
    values = SUMMARIES[name](SECONDS, axis=1)
    same(read_table(wide(**{name: values}), tmp_path))
    trace = read_table(wide(nobody=values.round(4)), tmp_path)
    same(trace)
    assert "columns that are no workers left out: nobody" in trace.report


def test_a_worker_with_the_name_of_a_summary_is_a_question(tmp_path):
    table = wide(max=SECONDS[::-1, 0])
    with pytest.raises(ValueError, match="max has the name of a summary but is not the max of the other columns"):
        read_table(table, tmp_path)
    assert read_table(table, tmp_path, columns={"worker": ["a", "b", "c", "d", "max"]}).n == 5
    same(read_table(table, tmp_path, ignore=["max"]))


def test_a_column_that_rises_in_every_row_is_a_question(tmp_path):
    with pytest.raises(ValueError, match="mystery may be a worker that gets slower, or a clock"):
        read_table(wide(mystery=np.cumsum(SECONDS[:, 0])), tmp_path)
    with pytest.raises(ValueError, match="epoch and batch may each be the round"):
        read_table(wide(epoch=np.arange(30) ** 2, batch=np.arange(30)), tmp_path)


def test_the_chart_of_a_tracker_has_a_worker_per_run(tmp_path):
    table = pd.DataFrame({"Step": np.arange(30)})
    for run, own in zip(["job-0", "job-1", "job-2", "job-3"], SECONDS.T, strict=True):
        for ending in ("", "__MIN", "__MAX"):
            table[f"{run} - step_time{ending}"] = own
    trace = read_table(table, tmp_path)
    same(trace)
    assert trace.workers == ("job-0", "job-1", "job-2", "job-3")
    for run in ("job-0", "job-1", "job-2", "job-3"):
        table[f"{run} - data_time"] = 0.1
    with pytest.raises(ValueError, match=r"choose one data set with dataset=\.\.\., there are data_time, step_time"):
        read_table(table, tmp_path)
    same(read_table(table, tmp_path, dataset="step_time"))


def test_the_scalars_of_one_worker(tmp_path):
    table = pd.DataFrame({"Wall time": 1.7e9 + np.arange(30), "Step": np.arange(30), "Value": SECONDS[:, 0]})
    trace = read_table(table, tmp_path)
    assert trace.n == 1
    assert trace.complete[0].to_numpy() == pytest.approx(SECONDS[:, 0])


@pytest.mark.parametrize("unit, factor", [("ms", 1e3), ("us", 1e6)])
def test_a_unit_in_all_names_is_understood(unit, factor, tmp_path):
    table = (factor * wide()).rename(columns=lambda name: f"{name} ({unit})")
    trace = read_table(table, tmp_path)
    same(trace)
    assert trace.workers == ("a", "b", "c", "d")
    assert f"times are in {unit}, by the names of the columns" in trace.report


# --- tables with a row per attempt ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("step", "rank", "step_time"),
        ("iteration", "client_id", "duration"),
        ("Runde", "Knoten", "Dauer"),
        ("t", "gpu", "time"),
    ],
)
def test_synonyms_are_understood_and_said(names, tmp_path):
    table = LONG.set_axis(list(names), axis=1)
    trace = read_table(table, tmp_path)
    same(trace)
    assert trace.report[0] == f"columns understood: {names[0]} is round, {names[1]} is worker, {names[2]} is seconds"
    same(from_frame(table))


def test_units_in_the_names_of_times(tmp_path):
    table = LONG.assign(seconds=1e3 * LONG["seconds"]).rename(columns={"seconds": "duration_ms"})
    trace = read_table(table, tmp_path)
    same(trace)
    assert "times are in ms, by the name of their column" in trace.report
    with pytest.raises(ValueError, match="the column unit says ms, the argument 's': give only one"):
        read_table(table, tmp_path, unit="s")


def test_two_columns_for_one_role_are_a_question(tmp_path):
    table = LONG.rename(columns={"seconds": "step_time"}).assign(duration=1.0)
    with pytest.raises(ValueError, match="step_time and duration may each be the column seconds: say columns="):
        read_table(table, tmp_path)
    same(read_table(table, tmp_path, columns={"seconds": "step_time"}))
    same(read_table(table, tmp_path, ignore=["duration"]))


def test_a_time_that_only_rises_may_be_a_clock(tmp_path):
    table = LONG.assign(seconds=LONG.groupby("worker")["seconds"].cumsum()).rename(columns={"seconds": "time"})
    with pytest.raises(ValueError, match="time may be the seconds of each attempt or a clock"):
        read_table(table, tmp_path)


def test_columns_and_ignore_are_checked(tmp_path):
    with pytest.raises(ValueError, match="no column named 'secnds'; did you mean 'seconds'"):
        read_table(LONG, tmp_path, columns={"seconds": "secnds"})
    with pytest.raises(ValueError, match="no role named 'rond'; did you mean 'round'"):
        read_table(LONG, tmp_path, columns={"rond": "round"})
    with pytest.raises(ValueError, match="no column named 'wrker'; did you mean 'worker'"):
        read_table(LONG, tmp_path, ignore=["wrker"])
    with pytest.raises(ValueError, match="a column can be used or ignored, not both: round"):
        read_table(LONG, tmp_path, columns={"round": "round"}, ignore=["round"])
    with pytest.raises(ValueError, match="no data set named 'tain'; did you mean 'train'"):
        read_table(LONG.assign(dataset="train"), tmp_path, dataset="tain")


def test_sampled_clients_are_not_asked(tmp_path):
    """Six of ten clients in each round: the others have no attempt, by a status or as every round has as many."""
    rng = np.random.default_rng(0)
    seconds = np.exp(0.1 * rng.standard_normal((100, 10)))
    asked = np.argsort(rng.random((100, 10)), axis=1) < 6
    table = synthetic.frame(seconds)
    guessed = from_frame(table[asked.ravel()])
    said = from_frame(table.assign(status=np.where(asked.ravel(), "ok", "not asked")))
    assert guessed.deliveries["seconds"].mean() == pytest.approx(seconds[asked].mean())
    assert guessed.attempts["observed"].all()
    assert "every round has 6 of 10 workers: the others are taken as not asked" in guessed.report[0]
    pd.testing.assert_frame_equal(guessed.attempts, said.attempts.drop(columns="status"))


# --- what never changes the trace -----------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    order=st.permutations(["a", "b", "c", "d", "mean", "counter", "Step"]),
    rows=st.permutations(range(30)),
    separator=st.sampled_from([(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), ("|", ".")]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_order_separators_encodings_and_added_columns_change_nothing(
    order, rows, separator, encoding, tmp_path_factory
):
    table = wide(mean=SECONDS.mean(axis=1), counter=np.arange(30), Step=np.arange(30))[list(order)].iloc[list(rows)]
    path = tmp_path_factory.mktemp("shuffled") / "trace.csv"
    table.to_csv(path, index=False, sep=separator[0], decimal=separator[1], encoding=encoding)
    trace = read(path)
    same(trace)
    assert trace.workers == ("a", "b", "c", "d")


def test_parquet_with_an_index_and_a_spreadsheet(tmp_path):
    LONG.set_index(["round", "worker"]).to_parquet(tmp_path / "trace.parquet")
    same(read(tmp_path / "trace.parquet"))
    same(from_frame(LONG.set_index(["round", "worker"])))
    LONG.to_excel(tmp_path / "trace.xlsx", index=False)
    same(read(tmp_path / "trace.xlsx"))
    with pd.ExcelWriter(tmp_path / "one.xlsx") as book:
        LONG.to_excel(book, sheet_name="first", index=False)
        pd.DataFrame().to_excel(book, sheet_name="nothing")
    same(read(tmp_path / "one.xlsx"))
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer) as book:
        for name in ("before", "after"):
            LONG.to_excel(book, sheet_name=name, index=False)
    (tmp_path / "two.xlsx").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match="there are after, before"):
        read(tmp_path / "two.xlsx")
    same(read(tmp_path / "two.xlsx", dataset="after"))


@pytest.mark.parametrize("order", [["it", "who", "took"], ["who", "it", "took"], ["took", "it", "who"]])
@pytest.mark.parametrize("names", [range(3), ["a", "b", "c"]], ids=["numbers", "names"])
def test_rows_of_attempts_with_unknown_names_are_a_question(order, names, tmp_path):
    rng = np.random.default_rng(0)
    rows = [(t, w, f"{rng.uniform(1, 2):.3f}") for t in range(20) for w in names]
    path = tmp_path / "calls.csv"
    pd.DataFrame(rows, columns=["it", "who", "took"])[order].to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"may be the round, the worker and the seconds of each row, or three workers"):
        read(path)
    roles = {"round": "it", "worker": "who", "seconds": "took"}
    trace = read(path, columns=roles)
    assert (trace.n, trace.rounds) == (3, 20)
    with pytest.raises(ValueError, match=r"columns=round=it,worker=who,seconds=took"):
        read(path)


def test_whole_numbers_of_workers_are_no_question(tmp_path):
    """Delays in whole milliseconds repeat, but do not pair as rounds and workers do."""
    rng = np.random.default_rng(1)
    path = tmp_path / "wide.csv"
    pd.DataFrame(rng.integers(80, 120, size=(60, 3)), columns=["alpha", "beta", "gamma"]).to_csv(path, index=False)
    assert read(path, unit="ms").n == 3


def test_a_first_cell_that_is_no_number_is_no_late_worker(tmp_path):
    rng = np.random.default_rng(2)
    cells = rng.uniform(1, 2, size=(20, 3)).round(3).astype(str)
    cells[0, 1] = "??"
    path = tmp_path / "wide.csv"
    pd.DataFrame(cells, columns=["rank0", "rank1", "rank2"]).to_csv(path, index=False)
    report = " ".join(read(path).report)
    assert "text 1" in report
    assert "joining" not in report


# --- exports as people have them ------------------------------------------------------------------------------------

FAILING = {
    "http_status": (200, 504), "code": (0, 14), "status": (200, 503), "success": (True, False), "ok": (1, 0),
    "timed_out": ("no", "yes"), "error": ("", "connection reset"), "State": ("COMPLETED", "NODE_FAIL"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILING)
def test_failures_are_seen_however_they_are_written(name, tmp_path):
    good, bad = FAILING[name]
    failed = LONG["seconds"] > LONG["seconds"].quantile(0.9)
    trace = read_table(LONG.assign(**{name: [bad if is_bad else good for is_bad in failed]}), tmp_path)
    assert (~trace.attempts["observed"]).sum() == failed.sum()
    assert name in trace.columns


@pytest.mark.parametrize(("name", "values"), [("code", (17, 18)), ("error", (0.12, 0.34)), ("timeout", (30, 30))])
def test_numbers_that_tell_no_failure_are_left_alone(name, values, tmp_path):
    trace = read_table(LONG.assign(**{name: np.resize(values, len(LONG))}), tmp_path)
    assert trace.attempts["observed"].all()


def test_a_word_that_is_no_status_beside_others_is_a_question(tmp_path):
    words = np.where(LONG["seconds"] > 2, "degraded", "completed")
    with pytest.raises(ValueError, match="State says what became of an attempt, but not all its words are known"):
        read_table(LONG.assign(State=words), tmp_path)


@pytest.mark.parametrize("worker", ["rank", "worker"])
def test_rounds_are_numbered_through_by_epoch_and_batch(worker, tmp_path):
    table = pd.DataFrame({"epoch": LONG["round"] // 10, "batch": LONG["round"] % 10, worker: LONG["worker"]})
    trace = read_table(table.assign(batch_time=LONG["seconds"]), tmp_path)
    same(trace)
    assert "columns understood: epoch and batch is round" in trace.report[0]


def test_the_columns_of_a_tracker_are_named_in_the_question(tmp_path):
    runs = [f"run-{worker}" for worker in LONG["worker"]]
    table = pd.DataFrame({"run": runs, "tag": "step_time", "step": LONG["round"], "value": LONG["seconds"]})
    with pytest.raises(ValueError, match="columns=round=step,worker=run,seconds=value"):
        read_table(table.assign(wall_time=1.7e9 + LONG["round"]), tmp_path)


def test_metrics_of_one_run_are_no_workers(tmp_path):
    table = pd.DataFrame({"step": np.arange(30), "timing_s/gen": SECONDS[:, 0], "perf/idle": SECONDS[:, 1]})
    with pytest.raises(ValueError, match="timing_s/gen and perf/idle may be two workers, or two metrics of one"):
        read_table(table, tmp_path)
    same(read_table(wide().rename(columns=lambda name: f"step_time/gpu-{name}"), tmp_path))


def test_a_table_with_a_row_for_each_worker_is_to_be_transposed(tmp_path):
    table = pd.DataFrame(SECONDS.T, columns=[f"step{number}" for number in range(30)])
    with pytest.raises(ValueError, match="each row seems to be a worker and each column a round: transpose the table"):
        read_table(table.assign(worker=["a", "b", "c", "d"]), tmp_path)


def test_the_unit_at_the_end_of_each_name_of_a_worker(tmp_path):
    trace = read_table(pd.DataFrame(1000 * SECONDS, columns=[f"rank{i}_ms" for i in range(4)]), tmp_path)
    same(trace)
    assert trace.workers == ("rank0", "rank1", "rank2", "rank3")


def test_workers_are_named_by_node_and_gpu_if_only_both_tell_them_apart(tmp_path):
    table = LONG.assign(node=LONG["worker"] // 2, gpu=LONG["worker"] % 2).drop(columns="worker")
    trace = read_table(table, tmp_path)
    same(trace)
    assert trace.workers == ("0/0", "0/1", "1/0", "1/1")
    assert "node/gpu is worker" in trace.report[0]


@pytest.mark.parametrize("name", ["system.gpu.0.powerWatts", "gpu utilization", "tokens_per_sec", "perf/mfu"])
def test_what_a_machine_measures_is_no_worker(name, tmp_path):
    same(read_table(wide(**{name: SECONDS[::-1, 0]}), tmp_path))
