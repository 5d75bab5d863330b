"""Folders of files, as of a log that was rotated, and archives."""

import bz2
import lzma

import pandas as pd
import pytest

from abs_theory.traces import read


def test_a_log_that_was_rotated_is_read_whole_and_what_is_not_read_is_named(tmp_path):
    """Files such as trace.csv.1 and trace.csv.2.gz were left out without a word."""
    rows = pd.DataFrame(
        [(t, w, 1.0 + t + w) for t in range(30) for w in range(2)], columns=["round", "worker", "seconds"]
    )
    rows[40:].to_csv(tmp_path / "trace.csv", index=False)
    rows[20:40].to_csv(tmp_path / "trace.csv.1", index=False)
    rows[:20].to_csv(tmp_path / "trace.csv.2.gz", index=False)
    (tmp_path / "._trace.csv").write_bytes(b"\0\1")  # of a Mac
    (tmp_path / "notes.txt").write_text("all well")
    trace = read(tmp_path, warmup=0)
    assert trace.deliveries["seconds"].tolist() == rows["seconds"].tolist()
    assert trace.report[:2] == ("3 files read", "left out by their names: notes.txt")


def test_rotated_files_of_one_worker_are_of_that_worker(tmp_path):
    for worker in range(2):
        for part in range(2):
            name = f"worker_{worker}.csv" + (".1" if part == 0 else "")
            values = [f"{1.7e9 + i},{10 * part + i},{1.5 + worker + i}" for i in range(10)]
            (tmp_path / name).write_text("Wall time,Step,Value\n" + "\n".join(values) + "\n")
    trace = read(tmp_path, warmup=0)
    assert (trace.workers, trace.rounds) == (("worker_0", "worker_1"), 20)


@pytest.mark.parametrize(("packed", "kind"), [(bz2.compress, "bzip2"), (lzma.compress, "xz")])
def test_an_archive_of_another_kind_is_named(tmp_path, packed, kind):
    (tmp_path / "trace.csv").write_bytes(packed(b"round,worker,seconds\n" * 1000))
    with pytest.raises(ValueError, match=f"it is compressed by {kind}: unpack it"):
        read(tmp_path / "trace.csv")
