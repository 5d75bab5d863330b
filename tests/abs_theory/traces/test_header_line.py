"""A first line that is data, or that names too few columns, is told with the columns that are needed."""

import pandas as pd
import pytest

from abs_theory.traces import read, read_table

NEEDED = "; a trace needs the columns round, worker, and seconds or start and end"


def message(tmp_path, text, name="trace.csv"):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match="header") as caught:
        read(path)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    "text",
    [
        "0,0,0.696\n0,1,1.021\n",
        "1,1,696\n1,2,1021\n",
        "0,gpu-a,0.696\n0,gpu-b,1.021\n",
        "0;0;0,696\n0;1;1,021\n",
        "0 0 0.696\n0 1 1.021\n",
        "0,0,ok,0.696\n0,1,ok,1.021\n",
        "5.1,4.2,3.3\n5.2,4.1,3\n",
        "3,0,2024-01-01T00:00:00,2024-01-01T00:00:02\n3,1,2024-01-01T00:00:00,2024-01-01T00:00:03\n",
        "0,0,0.696\n",
    ],
)
def test_a_file_without_a_header(text, tmp_path):
    told = message(tmp_path, text)
    assert told.startswith("the header is missing: the first line must name the columns, but is '")
    assert text[0] in told
    assert told.endswith(NEEDED)


@pytest.mark.parametrize("names", ["round", "round,worker"])
def test_a_header_that_is_too_short(names, tmp_path):
    told = message(tmp_path, f"{names}\n0,0,0.7\n0,1,1.1\n1,0,0.9\n")
    number = names.count(",") + 1
    shown = names.replace(",", ", ")
    assert told == (
        f"the header is too short: the first line, '{shown}', must name 3 columns, as many as the lines below it have, "
        f"not {number}{NEEDED}"
    )


def test_a_spreadsheet_without_a_header(tmp_path):
    pytest.importorskip("openpyxl")
    path = tmp_path / "trace.xlsx"
    rows = pd.DataFrame([(0, 0, 0.5), (0, 1, 1.5), (1, 0, 2.5)])
    rows.to_excel(path, header=False, index=False)
    with pytest.raises(ValueError, match=r"the header is missing: .* '0, 0, 0.5'; a trace needs"):
        read(path)
    rows.set_axis([0, 1, 2], axis=1).to_excel(path, index=False)  # workers that are numbered are named
    assert read_table(path).columns.tolist() == ["0", "1", "2"]


def test_numbers_may_be_names_of_workers(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("1,2,3\n1.5,2.5,2.0\n1.0,2.0,1.25\n")
    assert read(path).workers == (1, 2, 3)


def test_other_tables_do_not_need_the_columns_of_a_trace(tmp_path):
    path = tmp_path / "lengths.csv"
    path.write_text("5,0.5\n7,0.25\n")
    with pytest.raises(ValueError, match="the header is missing") as caught:
        read_table(path)
    assert "a trace needs" not in str(caught.value)
