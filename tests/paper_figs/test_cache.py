"""The command that draws the figures: what it keeps, what it says about it, and how it fails."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from in_process import ended

from abs_theory.files import locked
from paper_figs import cache, page
from paper_figs.__main__ import run
from paper_figs.catalogue import FIGURES, ROOT
from paper_figs.making import make, state_in_words, toolkit_for


def test_same_config_same_bytes_of_csv_and_pdf_and_the_second_time_from_the_cache(tmp_path, capsys):
    for folder in ("first", "second"):
        make(["timeline"], "default", tmp_path / folder)
    for suffix in ("csv", "pdf", "png"):
        first, second = ((tmp_path / folder / f"timeline.{suffix}").read_bytes() for folder in ("first", "second"))
        assert first == second, suffix
    assert b"/FontFile2" in (tmp_path / "first" / "timeline.pdf").read_bytes()  # fonts are embedded
    assert "timeline.csv  (computed in " in capsys.readouterr().out
    make(["timeline"], "default", tmp_path / "first")
    assert "timeline.csv  (from the cache, drawn before)" in capsys.readouterr().out
    (tmp_path / "first" / "timeline.png").unlink()
    make(["timeline"], "default", tmp_path / "first")
    assert "timeline.csv  (from the cache)" in capsys.readouterr().out
    assert (tmp_path / "first" / "timeline.png").read_bytes() == (tmp_path / "second" / "timeline.png").read_bytes()


def double(x):
    calls.append(x)
    return pd.DataFrame({"x": [2 * x]})


def sources():
    return {"abs_theory.delays.base.Delay": "1", "numpy": "2.1"}


calls = []


def test_the_cache_asks_for_config_and_source_and_says_what_changed(tmp_path):
    def state(x, sources=sources):
        return cache.state(tmp_path, "t", {"x": x}, sources)

    def load(x, sources=sources):
        return cache.load_or_compute(tmp_path, "t", {"x": x}, sources, double)

    def changed():
        return sources() | {"simulations.server.run.run": "changed"}

    calls.clear()
    assert state(1) == (False, "never computed", None)
    assert not load(1).cached
    assert load(1).cached
    assert state(1)[:2] == (True, "")
    assert state(2).why == "configuration changed: x"
    assert load(2).table["x"].tolist() == [4]
    assert state(2, changed)[:2] == (False, "source changed: simulations.server.run.run")
    assert state(2, changed).seconds > 0
    assert (
        state(2, lambda: dict.fromkeys("abc", "")).why
        == "source changed: a, abs_theory.delays.base.Delay, b and 2 more"
    )
    assert not load(2, changed).cached
    assert calls == [1, 2, 2]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_damaged_result_is_computed_again(share, tmp_path):
    calls.clear()
    cache.load_or_compute(tmp_path, "t", {"x": 3}, sources, double)
    path = cache.entry(tmp_path, "t")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    again = cache.load_or_compute(tmp_path, "t", {"x": 3}, sources, double)
    assert not again.cached
    assert again.table["x"].tolist() == [6]
    assert cache.state(tmp_path, "t", {"x": 3}, sources).valid


OTHER_CARDS = [b"[]", b"{}", b"null", b'{"digest": 1}', b"[" * 100_000]  # each draws a figure: seconds


@pytest.mark.parametrize(
    "content", [b"", b'{"size": []}', *(pytest.param(card, marks=pytest.mark.slow) for card in OTHER_CARDS)]
)
def test_a_foreign_card_blocks_nothing(content, tmp_path):
    (tmp_path / "timeline.json").write_bytes(content)
    (tmp_path / "budget.json").write_bytes(content)
    make(["timeline"], "quick", tmp_path)
    assert page.Card.read(tmp_path, "timeline").size == "quick"
    assert "timeline" in (tmp_path / "index.html").read_text()


@pytest.mark.slow
def test_damaged_files_of_a_figure_are_made_again_and_named(tmp_path, capsys):
    make(["timeline"], "quick", tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.glob("timeline*") if path.suffix != ".json"}
    rng = np.random.default_rng(0)
    for path, content in files.items():
        capsys.readouterr()
        path.write_bytes(flipped(content, rng))
        make(["timeline"], "quick", tmp_path)
        assert f"{path} was damaged; it has been made again" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in files} == files


def test_no_flipped_bit_of_a_stored_result_is_believed(tmp_path):
    calls.clear()
    cache.load_or_compute(tmp_path, "t", {"x": 3}, sources, double)
    content, rng = cache.entry(tmp_path, "t").read_bytes(), np.random.default_rng(0)
    for number in range(50):
        cache.entry(tmp_path, "t").write_bytes(flipped(content, rng))
        assert cache.state(tmp_path, "t", {"x": 3}, sources).why == "the stored result was damaged"
        assert cache.load_or_compute(tmp_path, "t", {"x": 3}, sources, double).table["x"].tolist() == [6]
        assert len(calls) == number + 2


def test_a_stored_result_runs_no_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "called",))

    for path in (cache.entry(tmp_path, "t"), tmp_path / "t.pickle"):
        path.write_bytes(pickle.dumps(Trap()))
    assert not cache.state(tmp_path, "t", {"x": 3}, sources).valid
    assert cache.load_or_compute(tmp_path, "t", {"x": 3}, sources, double).table["x"].tolist() == [6]
    assert not (tmp_path / "called").exists()


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    with locked(tmp_path, ".cache"), pytest.raises(OSError, match="another run is writing to"):
        make(["timeline"], "quick", tmp_path)


def flipped(content, rng):
    """``content`` with one bit changed."""
    damaged = bytearray(content)
    damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
    return bytes(damaged)


def test_sizes_do_not_replace_each_other_and_shared_computations_are_named(tmp_path):
    def state(name, size):
        return state_in_words(toolkit_for(tmp_path), name, size, tmp_path)

    make(["timeline"], "quick", tmp_path)
    assert state("timeline", "quick").startswith("cached (took ")
    assert state("timeline", "full") == "to be computed (never computed)"
    make(["timeline"], "full", tmp_path)
    assert state("timeline", "quick").startswith("cached")
    assert "one computation with loss-communication, adaptation" in state("loss-time", "quick")


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(monkeypatch, capsys):
    """The command, in this process."""

    def call(*arguments):
        return Ended(*ended(monkeypatch, capsys, run, "paper_figs", *arguments))

    return call


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nonsense"], "no figure named nonsense; there are timeline, round-time"),
        (["timelin"], "no figure named timelin; did you mean 'timeline'? there are"),
        (["--nonsense"], "No such option"),
        (["--out"], "requires an argument"),
        (["--quick", "--full"], "two sizes"),
        (["--width", "poster"], "--width must be column, page or talk, got poster"),
    ],
)
def test_a_bad_command_ends_with_status_2_and_one_line(arguments, words, command):
    result = command(*arguments)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert result.stdout == ""


def test_the_command_refuses_a_file_as_folder_and_lists_what_is_cached(tmp_path, command):
    (tmp_path / "file").write_text("")
    refused = command("timeline", "--out", str(tmp_path / "file"))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "must be a folder" in refused.stderr
    drawn = command("timeline", "--out", str(tmp_path / "figures"))
    assert drawn.returncode == 0, drawn.stderr
    paths = [line.split("  ")[0] for line in drawn.stdout.splitlines()]
    assert [path.rsplit(".")[-1] for path in paths] == ["csv", "pdf", "png", "html"]
    listed = dict(
        line.split(maxsplit=1) for line in command("--list", "--out", str(tmp_path / "figures")).stdout.splitlines()
    )
    assert list(listed) == list(FIGURES)
    timelines = sum(figure.compute == FIGURES["timeline"].compute for figure in FIGURES.values())
    assert listed["timeline"].startswith("default  cached (took ")
    assert listed["ablation"] == "default  to be computed (never computed)"
    *lines, last = command("--list", "--quick", "--out", str(tmp_path / "figures")).stdout.splitlines()
    assert all(" quick " in line for line in lines)
    assert last == f"{timelines} of these figures were computed in the size default: --list says which"


@pytest.mark.slow
def test_an_interrupted_run_leaves_no_picture_beside_other_numbers_and_goes_on(tmp_path, command, monkeypatch):
    """Ctrl-C after the table and before the picture: the page does without the figure until it is drawn."""
    out = tmp_path / "figures"
    assert command("timeline", "bound", "--quick", "--out", str(out)).returncode == 0

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("paper_figs.making.draw", interrupt)
    stopped = command("timeline", "--out", str(out))
    assert (stopped.returncode, stopped.stderr) == (130, "paper_figs: interrupted; what was computed is cached\n")
    monkeypatch.undo()
    page.write(out)
    assert "Not drawn yet" in section_of(out, "timeline")
    assert "Not drawn yet" not in section_of(out, "bound")
    assert "from the cache" in command("timeline", "--out", str(out)).stdout
    assert "Not drawn yet" not in section_of(out, "timeline")


def section_of(out, name):
    return (out / "index.html").read_text().split(f'<section id="{name}">')[1].split("</section>")[0]


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_computed(command):
    refused = command("budget", "--out", "/proc/figures")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "paper_figs: /proc/figures: No such file or directory\n"


def test_listing_the_figures_loads_nothing_that_computes_or_draws(tmp_path):
    code = (
        "import sys; from paper_figs.__main__ import run; "
        "import atexit; atexit.register(lambda: print(*sys.modules)); run()"
    )
    listed = subprocess.run(
        [sys.executable, "-c", code, "--list", "--out", str(tmp_path / "figures")],
        capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout.split()  # fmt: skip
    assert {"timeline", "budget", "paper_figs.catalogue"} <= set(listed)
    assert not {"numpy", "scipy", "pandas", "matplotlib", "seaborn", "sklearn", "joblib"} & set(listed)
