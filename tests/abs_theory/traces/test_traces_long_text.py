"""Very long cells and names are read or refused at once, whatever pattern they are compared with."""

import pandas as pd
import pytest

from abs_theory import traces
from abs_theory.plan import price

LONG = 100_000  # characters: patterns that try every split of a text would take hours


@pytest.mark.parametrize(
    "cell", ["1" * LONG, "1" * LONG + "x", " " * LONG + "x", "1," * LONG + "x"], ids=lambda c: c[:2]
)
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_long_cell(tmp_path, cell, separator):
    path = tmp_path / "trace.csv"
    rows = [["round", "worker", "seconds"], *([str(t), str(w), "1.5"] for t in range(5) for w in range(2))]
    rows[3][2] = f'"{cell}"'
    path.write_text("\n".join(separator.join(row) for row in rows))
    assert traces.read(path).attempts["observed"].sum() in (9, 10)  # the cell is a failed call, or a number


@pytest.mark.parametrize("name", ["(" * LONG, "_" * LONG, "a " * LONG, " x1" * LONG], ids=lambda c: c[:2])
def test_a_long_name_of_a_column(name):
    frame = pd.DataFrame({"round": range(5), name: 1.5, "b": 2.5})
    with pytest.raises(ValueError, match="names of columns must have at most 300 characters, got one of"):
        traces.from_frame(frame)


@pytest.mark.parametrize("text", ["1" * LONG, " " * LONG, "1/" + " " * LONG])
def test_a_long_price(text):
    with pytest.raises(ValueError, match="price must be of one worker"):
        price(text)
