"""The last line of a text table: what its end tells of a cut, and what nobody can know."""

import gzip

import pytest
from cases import every_case

from abs_theory.files import last_line

HEADER, CUT, PERHAPS = "round,worker,seconds\n", "cut short: left out", "may be cut short"
ROWS = "".join(f"{i},0,{1 + i / 1000:.3f}\n" for i in range(1, 31))


@every_case(
    "case",
    [
        ("31,0,1.031\n", ""),
        ("31,0,1.031", ""),
        ("31,0", CUT),
        ("31,0,", CUT),
        ("31", CUT),
        ("31,0\n", ""),  # whole, and wrong
        ("31,0,1.0", PERHAPS),
        ("\n31,0\n\n", ""),
    ],
)
def test_only_what_lacks_fields_is_surely_cut(tmp_path, case):
    end, note = case
    path = tmp_path / "trace.csv"
    path.write_text(HEADER + ROWS + end)
    cut, words = last_line(path, 3, lambda line: line.split(","))
    assert cut == (note == CUT)
    assert (note in words) if note else words == ""


@pytest.mark.parametrize(("end", "cut"), [("2,0,1.2,o", True), ("2,0,1.2,ok", False), ("2,0,1.2,", False)])
def test_words_are_compared_with_those_before(tmp_path, end, cut):
    path = tmp_path / "trace.csv"
    path.write_text(f"round,worker,seconds,status\n0,0,1.5,ok\n1,0,1.5,\n{end}")
    assert last_line(path, 4, lambda line: line.split(","), few_words=True)[0] == cut


def test_packed_files_know_their_end(tmp_path):
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress((HEADER + ROWS + "31").encode()))
    assert last_line(path, 3, lambda line: line.split(",")) == (False, "")
