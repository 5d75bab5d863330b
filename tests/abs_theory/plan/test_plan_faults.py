"""Faults while a plan is made: the folder holds a whole plan or none, and the same command makes the same one."""

import json
import re
import signal
import time

import pytest
from faults import ROOT, ended, killed, started, status_here, written

TRACE = ROOT / "examples" / "trace.csv"
KILLS = 32
DATE = re.compile(rb"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?")


def plan(out, trace=TRACE, **faults):
    return started("abs_theory", "plan", trace, "--out", out, **faults)


def pages(out):
    """The page and the data, without the date and the folder of this run."""
    return {
        name.name: DATE.sub(b"", content).replace(str(out).encode(), b"")
        for name, content in written(out).items()
        if name.name != ".lock"
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out, begin = tmp_path_factory.mktemp("plan") / "out", time.monotonic()
    status, complained = ended(plan(out))
    assert (status, complained) == (0, "")
    assert set(pages(out)) == {"plan.html", "plan.json"}
    return pages(out), time.monotonic() - begin


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(undisturbed, tmp_path):
    expected, seconds = undisturbed
    for number in killed(lambda number: plan(tmp_path / str(number)), seconds, KILLS):
        out = tmp_path / str(number)
        whole = {name: text for name, text in pages(out).items() if "unfinished" not in name} if out.exists() else {}
        assert whole.items() <= expected.items()
        assert status_here("abs_theory", "plan", TRACE, "--out", out) == 0
        assert pages(out) == expected


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_killed_at_a_file_it_leaves_no_half_file(number, undisturbed, tmp_path):
    assert ended(plan(tmp_path, number=number))[0] == -signal.SIGKILL
    assert ended(plan(tmp_path)) == (0, "")
    assert pages(tmp_path) == undisturbed[0]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_the_old_plan(undisturbed, tmp_path):
    (tmp_path / "plan.html").write_text("the old page")
    status, complained = ended(plan(tmp_path, largest_file=2000))
    assert (status, complained.count("\n")) == (2, 1)
    assert str(tmp_path) in complained
    assert pages(tmp_path) == {"plan.html": b"the old page"}


@pytest.mark.slow
def test_two_plans_at_once_do_not_mix(undisturbed, tmp_path):
    table = TRACE.read_text().splitlines()
    (tmp_path / "half.csv").write_text("\n".join(table[: len(table) // 2]))
    for number in range(4):
        out = tmp_path / str(number)
        both = [plan(out), plan(out, tmp_path / "half.csv")]
        assert [ended(process) for process in both] == [(0, ""), (0, "")]
        rounds = json.loads((out / "plan.json").read_text())["origin"]
        assert ("half.csv" in str(rounds)) == ("half.csv" in (out / "plan.html").read_text())
        assert set(pages(out)) == {"plan.html", "plan.json"}
