"""Files of strangers are opened within limits, whoever reads them."""

import gzip
import os

import pytest

from abs_theory.delays.text import delay_law
from abs_theory.files import open_input, reading
from abs_theory.rollouts import lengths, log_table
from abs_theory.traces import read_table
from simulations.fleets import from_trace

READERS = {
    "delays": lambda path: delay_law(f"empirical:{path}"),
    "lengths": lambda path: lengths.read_lengths(str(path)),
    "replay": from_trace,
    "table": read_table,
    "bytes": lambda path: open_input(path).read(),
}


@pytest.fixture(params=READERS)
def read(request):
    return READERS[request.param]


def test_a_pipe_and_a_device_are_refused_at_once(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path.joinpath("/dev/zero")):
        with pytest.raises(ValueError, match="device"):
            read(path)


@pytest.mark.parametrize("name", ["bomb.csv", "bomb.csv.gz"])
def test_what_unpacks_to_many_times_its_size_is_refused_by_its_content(read, name, monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "UNSUSPICIOUS_BYTES", 2**16)
    (tmp_path / name).write_bytes(gzip.compress(b"1\n" * 2**20))
    with pytest.raises(ValueError, match="unpacks to more than 200 times its size: unpack it first, if you trust it"):
        read(tmp_path / name)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(read, monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "MOST_UNPACKED_BYTES", 100)
    monkeypatch.setattr("abs_theory.delays.text.MAX_SAMPLE_BYTES", 100)
    (tmp_path / "large.csv").write_text("1\n" * 51)
    with pytest.raises(ValueError, match=r"the file must hold at most .* GiB when it is unpacked"):
        read(tmp_path / "large.csv")


def test_half_an_archive_and_other_archives_are_refused(read, tmp_path):
    path = tmp_path / "half.csv.gz"
    path.write_bytes(gzip.compress(os.urandom(1000))[:500])
    with pytest.raises(ValueError, match="cut short or damaged"):
        read(path)
    path.write_bytes(b"BZh91AY&SY")
    with pytest.raises(ValueError, match="compressed by bzip2: unpack it"):
        read(path)


def test_more_answers_than_a_log_may_have(monkeypatch, tmp_path):
    monkeypatch.setattr(log_table, "MOST_ANSWERS", 3)
    for name, line in (("log.csv", "5"), ("log.jsonl", '{"tokens": 5}')):
        (tmp_path / name).write_text(f"{line}\n" * 5)
        with pytest.raises(ValueError, match="more than 3 rows: take every tenth, say"):
            lengths.read_lengths(str(tmp_path / name))
