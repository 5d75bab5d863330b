"""Numbers, dates and durations as people and spreadsheets write them."""

import numpy as np
import pandas as pd
import pytest
import synthetic_traces as synthetic

from abs_theory.traces import from_frame, read

MS = 1000 * synthetic.clustered_stalls(np.random.default_rng(3), num=40, n=4, share=0.1)["seconds"].to_numpy()
LONG = synthetic.frame(MS.round(2).reshape(40, 4))


def grouped(value, group, mark):
    return f"{value:,.2f}".replace(",", "G").replace(".", mark).replace("G", group)


def written(frame, separator, cell, tmp_path):
    lines = ["round,worker,seconds".replace(",", separator)]
    for number, worker, seconds in frame.itertuples(index=False):
        text = cell(seconds)
        text = f'"{text}"' if separator in text else text
        lines.append(separator.join([str(number), f"host.{worker}", text]))
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("group", "mark"),
    [(",", "."), ("'", "."), (" ", "."), ("\u202f", ","), ("\u00a0", ","), (".", ","), ("", ","), ("\u2019", ".")],
)
def test_separators_of_thousands_and_decimals(separator, group, mark, tmp_path):
    path = written(LONG, separator, lambda value: grouped(value, group, mark), tmp_path)
    decimal = "," if separator == "," and mark == "," else None  # between commas it must be said
    trace = read(path, unit="ms", decimal=decimal)
    assert trace.complete.to_numpy() == pytest.approx(LONG["seconds"].to_numpy().reshape(40, 4) / 1e3)


def whole(value):
    return f"{value:,.0f}"


def test_whole_thousands_are_certain_between_commas_and_a_question_between_semicolons(tmp_path):
    rounded = LONG.assign(seconds=LONG["seconds"].round())
    right = rounded["seconds"].to_numpy().reshape(40, 4) / 1e3
    assert read(written(rounded, ",", whole, tmp_path), unit="ms").complete.to_numpy() == pytest.approx(right)
    path = written(rounded, ";", whole, tmp_path)
    with pytest.raises(ValueError, match=r"may be \d+ \(say decimal='.'\) or \d+\.\d+ \(say decimal=','\)"):
        read(path, unit="ms")
    assert read(path, unit="ms", decimal=".").complete.to_numpy() == pytest.approx(right)


def test_half_of_the_values_whole(tmp_path):
    halves = LONG.assign(seconds=(2 * LONG["seconds"]).round() / 2)
    path = written(halves, ";", lambda value: f"{value:g}".replace(".", ","), tmp_path)
    assert read(path, unit="ms").complete.to_numpy() == pytest.approx(
        np.array([float(f"{value:g}") for value in halves["seconds"]]).reshape(40, 4) / 1e3
    )


@pytest.mark.parametrize("word", ["timeout", "TIMED OUT", "failed", "n/a", "-", "#N/A", "OOM", "", "error"])
def test_words_for_failure_are_as_an_empty_cell(word, tmp_path):
    slow = LONG["seconds"] > 5000
    path = written(LONG, ",", lambda value: word if value > 5000 else f"{value}", tmp_path)
    trace = read(path, unit="ms")
    assert (~trace.attempts["observed"]).sum() == slow.sum() > 5
    empty = from_frame(LONG.assign(seconds=LONG["seconds"].where(~slow)), unit="ms")
    assert trace.attempts["seconds"].to_numpy() == pytest.approx(empty.attempts["seconds"].to_numpy())


def test_text_is_left_out_of_a_few_rows_only():
    frame = LONG.astype({"seconds": object})
    few, many, one_worker = frame.copy(), frame.copy(), frame.copy()
    few.loc[:1, "seconds"] = "fast"
    many.loc[:8, "seconds"] = "fast"
    one_worker.loc[one_worker.index[one_worker["worker"] == 2][:3], "seconds"] = "slow"
    assert len(from_frame(few).attempts) == 158
    with pytest.raises(ValueError, match="seconds must be numbers, but 9 of 160 rows hold text, such as fast"):
        from_frame(many)
    with pytest.raises(ValueError, match="3 of 160 rows hold text, most of them of worker 2, such as slow"):
        from_frame(one_worker)


# --- clocks ---------------------------------------------------------------------------------------------------------


def with_clock(form):
    start = pd.Timestamp("2024-03-31 12:00:00") + pd.to_timedelta(20 * LONG["round"], "s")
    end = start + pd.to_timedelta(LONG["seconds"].round(), "ms")
    return LONG.drop(columns="seconds").assign(start=form(start), end=form(end))


RIGHT = LONG["seconds"].round().to_numpy().reshape(40, 4) / 1e3


@pytest.mark.parametrize(
    "form",
    [
        lambda times: times,
        lambda times: times.dt.tz_localize("UTC"),
        lambda times: times.dt.strftime("%Y-%m-%d %H:%M:%S.%f"),
        lambda times: times.dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        lambda times: times.dt.strftime("%m/%d/%Y %H:%M:%S.%f"),
        lambda times: times.dt.strftime("%d.%m.%Y %H:%M:%S.%f"),
    ],
    ids=["date", "zone", "iso", "iso zone", "month first", "day first"],
)
def test_dates(form, tmp_path):
    frame = with_clock(form)
    assert from_frame(frame).complete.to_numpy() == pytest.approx(RIGHT)
    frame.to_csv(tmp_path / "trace.csv", index=False)
    assert read(tmp_path / "trace.csv").complete.to_numpy() == pytest.approx(RIGHT)


def test_dates_that_may_begin_with_the_day_or_the_month_are_a_question():
    frame = with_clock(lambda times: (times - pd.Timedelta(days=27)).dt.strftime("%m/%d/%Y %H:%M:%S.%f"))
    with pytest.raises(ValueError, match=r"start 03/04/2024 .* may begin with the month or the day"):
        from_frame(frame)


def test_a_zone_at_one_end_only_is_refused(tmp_path):
    frame = with_clock(lambda times: times)
    frame["start"] = frame["start"].dt.tz_localize("Europe/Berlin")
    message = "start and end must both have a time zone or neither, but start has one and end has none"
    with pytest.raises(ValueError, match=message):
        from_frame(frame)
    frame.to_parquet(tmp_path / "trace.parquet")
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "trace.parquet")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_nanoseconds_since_1970_stay_exact_where_an_end_is_missing(suffix, tmp_path):
    rng = np.random.default_rng(4)
    start = 1_711_845_000_000_000_000 + 10**9 * LONG["round"]
    took = rng.integers(4_000, 9_000, len(LONG))
    frame = LONG.drop(columns="seconds").assign(start=start, end=(start + took).astype("Int64"))
    frame.loc[5, "end"] = pd.NA
    path = tmp_path / f"trace.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    trace = read(path, unit="ns")
    seen = trace.attempts["observed"].to_numpy()
    assert (~seen).sum() == 1
    assert trace.attempts["seconds"].to_numpy()[seen] == pytest.approx(np.delete(took, 5) * 1e-9, rel=1e-12)


def test_durations_in_hours_minutes_and_seconds():
    frame = LONG.assign(seconds=[f"0:{int(ms // 60_000):02d}:{ms / 1000 % 60:06.3f}" for ms in LONG["seconds"]])
    assert from_frame(frame).complete.to_numpy() == pytest.approx(
        LONG["seconds"].to_numpy().reshape(40, 4) / 1e3, abs=6e-4
    )
    with pytest.raises(ValueError, match="1:30 may be minutes:seconds or hours:minutes"):
        from_frame(LONG.assign(seconds="1:30"))


# --- how lines are written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nround;worker;seconds\n0;a;1,5\n0;b;2,5\n",
        "# made by a logger\n# of 2024, too\nround,worker,seconds\n0,a,1.5\n0,b,2.5\n",
        "# round,worker,seconds\n0,0,1.5\n0,1,2.5\n",
        "round,worker,seconds,\n0,a,1.5,\n0,b,2.5,\n",
        "round,worker,seconds\n0,a,1.5,\n0,b,2.5,\n",
        "\n\nround|worker|seconds\n0|a|1.5\n0|b|2.5\n",
        "#,a,b\n0,1.5,2.5\n",
    ],
)
def test_lines_before_the_header_and_separators_after_the_values(text, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    assert read(path).complete.to_numpy().tolist() == [[1.5, 2.5]]


def in_lakhs(value):
    """12,34,567, as in India."""
    digits = f"{value:.0f}"
    head, tail = digits[:-3], digits[-3:]
    pairs = []
    while head:
        head, pair = head[:-2], head[-2:]
        pairs.insert(0, pair)
    return ",".join([*pairs, tail])


def test_indian_groups_of_digits(tmp_path):
    micros = LONG.assign(seconds=(1e3 * LONG["seconds"]).round())
    trace = read(written(micros, ",", in_lakhs, tmp_path), unit="us")
    assert trace.complete.to_numpy() == pytest.approx(micros["seconds"].to_numpy().reshape(40, 4) / 1e6)


@pytest.mark.parametrize("form", ["{ms:.2f}ms", "{ms:.2f} ms", "{s:.5f}s", "{min}m{rest:.5f}s", "{us:.0f}\u00b5s"])
def test_durations_with_units(form, tmp_path):
    def cell(ms):
        seconds = ms / 1e3
        return form.format(ms=ms, s=seconds, us=1e3 * ms, min=int(seconds // 60), rest=seconds % 60)

    right = LONG["seconds"].to_numpy().reshape(40, 4) / 1e3
    assert read(written(LONG, ",", cell, tmp_path)).complete.to_numpy() == pytest.approx(right, abs=1e-5)


def test_dates_with_am_and_pm(tmp_path):
    begin = pd.Timestamp("2025-03-24 11:59:30") + pd.to_timedelta(10 * LONG["round"], unit="s")
    end = begin + pd.to_timedelta(LONG["seconds"].round(3), unit="ms")
    table = LONG[["round", "worker"]].assign(
        start=begin.dt.strftime("%m/%d/%Y %I:%M:%S.%f %p"), end=end.dt.strftime("%m/%d/%Y %I:%M:%S.%f %p")
    )
    table.to_csv(tmp_path / "trace.csv", index=False)
    right = LONG["seconds"].to_numpy().reshape(40, 4) / 1e3
    assert read(tmp_path / "trace.csv").complete.to_numpy() == pytest.approx(right, abs=1e-5)


def test_text_that_is_not_unicode(tmp_path):
    names = LONG.assign(worker=[f"M\u00fcller-{worker}" for worker in LONG["worker"]])
    path = tmp_path / "trace.csv"
    path.write_bytes(names.to_csv(index=False).encode("cp1252"))
    trace = read(path, unit="ms")
    assert trace.workers[0] == "M\u00fcller-0"
    assert any("read as Windows-1252" in sentence for sentence in trace.report)
    lines = [f"{number},{worker},1.5" for number in range(9000) for worker in ("a", "M\u00fcller")]
    late = "\n".join(["round,worker,seconds", *(line.replace("\u00fc", "u") for line in lines[:-2]), *lines[-2:]])
    path.write_bytes((late + "\n").encode("cp1252"))
    assert read(path).workers == ("Muller", "M\u00fcller", "a"), "the first bytes are ASCII"
