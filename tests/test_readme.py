"""The README: its examples run as printed, its commands exist. The table of methods is what simulations show."""

import importlib
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from agreement import assert_agrees
from all_protocols import CASES, N

from abs_theory import round_time, steady_state
from abs_theory.delays import LogNormal, ShiftedExponential
from abs_theory.results import Estimate
from abs_theory.round_time import partial_uploads
from simulations.contract import PROBLEM
from simulations.experiment import simulate

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import methods  # noqa: E402

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) for line in block.splitlines()
    if not line.startswith("#")
]  # fmt: skip


@pytest.mark.parametrize(
    "script, word, completed",
    [
        ("abs-theory", "round", "round-time"),
        ("abs-simulations", "--back", "--backend"),
        ("abs-figures", "--qu", "--quick"),
    ],
)
def test_the_shell_completes(script, word, completed):
    package, function = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"][script].split(":")
    asked = {f"_{script.replace('-', '_').upper()}_COMPLETE": "complete_bash", "COMP_WORDS": f"{script} {word}"}
    code = f"import sys; sys.argv = ['{script}']; from {package} import {function}; {function}()"
    shell = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | asked | {"COMP_CWORD": "1"}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert (shell.returncode, shell.stdout, shell.stderr) == (0, f"{completed}\n", "")


def test_the_python_example_runs_and_prints_what_it_says(capsys):
    (code, printed), *others = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, flags=re.DOTALL)
    assert README.count("```python") == 1 + len(others) == 1
    assert len(code.strip().splitlines()) <= 16
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out.split() == printed.split()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs_and_writes_where_it_says(command, tmp_path, monkeypatch, capsys):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    example = (ROOT / "examples" / "run.toml").read_text()
    (tmp_path / "examples" / "run.toml").write_text(example.replace("replicates = 4", "replicates = 1"))
    python, m, module, *arguments = shlex.split(command)
    assert (python, m) == ("python", "-m")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [module, *arguments])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"{module}.__main__").run()
    printed = capsys.readouterr()
    assert not end.value.code, printed.err
    assert printed.out
    shown = re.findall(r"prints[^\n]*:\n\n```text\n(.*?)```", README, flags=re.DOTALL)
    assert command != COMMANDS[0] or [printed.out.split()] == [text.split() for text in shown]
    if "--out" in arguments:
        assert any((tmp_path / arguments[arguments.index("--out") + 1]).iterdir())


def test_every_make_target_and_file_it_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^    |`)make ([a-z]+)", README, flags=re.MULTILINE)) <= targets
    for name in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (ROOT / name).exists(), name
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "notebooks").glob("*.ipynb")} <= set(
        re.findall(r"\]\((notebooks[^)]+)\)", README)
    )


def test_its_medians_are_those_of_the_page_of_findings():
    """Which ``tests/paper_figs/test_figures_on_default_runs.py`` compares with runs."""

    def medians(text):
        rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", text, flags=re.MULTILINE)
        return {name: [cell.split(" [")[0] for cell in cells] for name, *cells in rows if name[0].isalpha()}

    stated, found = medians(README), medians((ROOT / "docs" / "findings.md").read_text())
    shared = stated.keys() & found.keys()
    assert len(shared) == 9
    assert {name: stated[name] for name in shared} == {name: found[name] for name in shared}


# ---------------------------------------------------------------------- the table of methods
def test_the_table_of_methods_is_the_generated_one():
    page = methods.PAGE.read_text()
    assert methods.in_page(page) == page, "run: python docs/methods.py"
    assert len(methods.table().splitlines()) == 2 + len(PROTOCOLS)
    (others,) = re.findall(r"ABS and (\d+) other methods", " ".join(README.split()))
    assert {"abs_sgd", "abs_batch", "self_tuning_abs"} <= PROTOCOLS.keys()
    assert 25 <= int(others) <= len(PROTOCOLS) - 3  # one that was added need not be counted yet
    assert f"three forms of ABS and {others} others" in " ".join(README.split())


PROTOCOLS = MappingProxyType({name: case for name, case in CASES.items() if name in methods.protocols.__all__})
LAWS = (ShiftedExponential(shift=0.5, scale=0.5), LogNormal(median=math.exp(-0.5), sigma=1.0))  # of mean 1 s
RATE = float(N)  # R, the sum of 1 / E X
STEPS = 3
UPDATES = 160


@cache
def runs(name, law, **options):
    case = PROTOCOLS[name]
    options = (
        {"replicates": 16, "n_jobs": 1, "num_updates": UPDATES}
        | ({} if case.local_steps == 1 else {"local_steps": STEPS})
        | options
    )
    return simulate(case.protocol, PROBLEM, law, N, step_size=0.05, seed=5, **options)


def in_short(column):
    """One protocol for each different thing that the table says in a column, then all that say it."""
    said = {}
    for name in PROTOCOLS:
        said.setdefault(getattr(methods.facts(name), column), []).append(name)
    return said


def in_force(rounds, what):
    """k or max_staleness of a run in which it does not move."""
    (value,) = set(rounds[what])
    return value


SLACK = 2  # of the one in the table ``all_protocols``
ROUND = {
    "E X(n)": lambda k, law: round_time.synchronous(law, N),
    "E X(n - spare)": lambda k, law: round_time.k_sync(law, k, N),
    "E X(k)": lambda k, law: round_time.k_sync(law, k, N),
    "k-th of all deliveries, by `renewal`": lambda k, law: round_time.k_batch_sync(law, k, N),
    "1 / R": lambda k, law: 1 / RATE,
    "k / R": lambda k, law: k / RATE,
    "local steps x k / R": lambda k, law: STEPS * k / RATE,
    "`round_time.ssp` / n": lambda k, law: round_time.ssp(law, N, SLACK, np.random.default_rng(0)).mean / N,
    "by `steady_state.tail_batching`": lambda k, law: steady_state.tail_batching(law, k, N).round_time,
    "E of the largest of n sums": lambda k, law: round_time.local_sgd(law, N, STEPS),
    "E of the k-th of n sums": lambda k, law: round_time.stsyn(law, k, N, STEPS),
}
BY_STEADY_STATE, AT_LEAST = "by `steady_state.abs_sgd`", "at least 1 / R"
UPLOADS = "nobody, all upload what they have"


@pytest.mark.slow
@pytest.mark.parametrize("said, names", in_short("round").items(), ids=in_short("round"))
def test_rounds_last_as_long_as_it_says(said, names):
    if said not in KNOWN["round"]:
        pytest.skip(UNKNOWN)
    for name in names:
        for law in LAWS[:1] if "renewal" in said or "sums" in said else LAWS:
            last = 8 * UPDATES if "ssp" in said else UPDATES  # its rounds vary most
            rounds = runs(name, law, num_updates=last)
            at = rounds[rounds["update"].isin([last // 4, last])].groupby("replicate")["time"]
            found = Estimate.of((at.last() - at.first()) / (last - last // 4))
            k = in_force(rounds, "k")
            if said == BY_STEADY_STATE:
                state = steady_state.abs_sgd(law, k, N, in_force(rounds, "max_staleness"))
                assert abs(found.mean - state.round_time) <= state.error.round_time + 4 * found.stderr, name
            elif said == AT_LEAST:
                assert found.mean >= 1 / RATE - 4 * found.stderr, name
            else:
                assert_agrees(found, ROUND[said](k, law), resolution=0.6)


STALENESS = {
    "0": lambda rounds: (rounds["largest_staleness"] == 0).all(),
    "at most `max_staleness`": lambda rounds: (rounds["largest_staleness"] <= rounds["max_staleness"]).all(),
    "at most threshold - 1": lambda rounds: (rounds["largest_staleness"] <= rounds["max_staleness"]).all(),
    "at most n": lambda rounds: (rounds["largest_staleness"] <= N).all(),
    "at most 2n - 2": lambda rounds: (rounds["largest_staleness"] <= 2 * N - 2).all(),
    "at most (2 slack + 1) (n - 1)": lambda rounds: (rounds["largest_staleness"] <= (2 * SLACK + 1) * (N - 1)).all(),
    "mean n - 1": lambda rounds: mean_is(rounds, N - 1),
    "mean (n - k) / k": lambda rounds: mean_is(rounds, (N - rounds["k"]).sum() / rounds["k"].sum()),
    "mean (n - 1) / k": lambda rounds: mean_is(rounds, (N - 1) * len(rounds) / rounds["k"].sum()),
}


def mean_is(rounds, expected):
    """By conservation, up to the ages of what is in flight at the end."""
    applied = (rounds["mean_staleness"] * rounds["k"]).sum() / rounds["k"].sum()
    return applied == pytest.approx(expected, rel=0.05, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("said, names", in_short("staleness").items(), ids=in_short("staleness"))
def test_gradients_are_as_stale_as_it_says(said, names):
    if said not in KNOWN["staleness"]:
        pytest.skip(UNKNOWN)
    for name in names:
        assert STALENESS[said](runs(name, LAWS[0])), name


def late_ones(rounds):
    """Busy workers at each update of a protocol whose workers wait."""
    return (rounds["restarts"] == N - rounds["k"]).all()


RESTARTS = {
    "nobody": lambda rounds, tasks: (rounds["restarts"] == 0).all() and not set(tasks["outcome"]) - USED,
    "nobody, none is late": lambda rounds, tasks: (rounds["restarts"] == 0).all() and (rounds["k"] == N).all(),
    "nobody, what is too stale is ignored": lambda rounds, tasks: (
        (rounds["restarts"] == 0).all() and set(tasks["outcome"]) - USED <= {"discarded"}
    ),
    "nobody, a task is cut off by time": lambda rounds, tasks: (
        (rounds["restarts"] == 0).all() and set(tasks["outcome"]) - USED == {"cut off"}
    ),
    "all late workers": lambda rounds, tasks: late_ones(rounds),
    "late workers of short rounds": lambda rounds, tasks: set(rounds["restarts"]) == {0, N - in_force(rounds, "k")},
    "all others": lambda rounds, tasks: (rounds["restarts"] == N - 1).all(),
    "workers staler than that": lambda rounds, tasks: are_too_stale(rounds, tasks),
}
USED = {"applied", "unfinished"}


def are_too_stale(rounds, tasks):
    """Whether tasks restart that are staler than the threshold from then on, and the others stay within it."""
    if rounds["max_staleness"].nunique() == 1:
        return restarted_at(tasks) == {tasks["age"].max()}
    from_then_on = rounds.assign(end_version=rounds["update"] - 1)[["replicate", "end_version", "max_staleness"]]
    restarted = tasks[tasks["outcome"] == "restarted"].merge(from_then_on)
    within = rounds["largest_staleness"] <= rounds["max_staleness"]
    return len(restarted) > 0 and within.all() and (restarted["age"] > restarted["max_staleness"]).all()


def restarted_at(tasks):
    """The ages, in updates, at which tasks were restarted."""
    return set(tasks["age"][tasks["outcome"] == "restarted"])


@pytest.mark.slow
@pytest.mark.parametrize("said, names", in_short("restarts").items(), ids=in_short("restarts"))
def test_those_restart_of_whom_it_says_so(said, names):
    if said not in KNOWN["restarts"]:
        pytest.skip(UNKNOWN)
    for name in names:
        rounds, tasks = runs(name, LAWS[0], replicates=2, jobs=True)
        tasks = tasks.assign(age=tasks["end_version"] - tasks["read_version"])
        if said == UPLOADS:
            uploads = runs(name, LAWS[0]).groupby("replicate")["uplinks"].mean()
            expected = partial_uploads.mean_uploads(LAWS[0], in_force(rounds, "k"), N, STEPS)
            assert_agrees(Estimate.of(uploads), expected, resolution=0.2)
        else:
            assert RESTARTS[said](rounds, tasks), name


KNOWN = {
    "round": {*ROUND, BY_STEADY_STATE, AT_LEAST},
    "staleness": set(STALENESS),
    "restarts": {*RESTARTS, UPLOADS},
}
UNKNOWN = "said in words that are not known here"  # in those of a new protocol, or that there is no formula
HELD = {"round": 16, "staleness": 24, "restarts": 24}  # protocols whose saying is held against simulations


@pytest.mark.parametrize("column", KNOWN)
def test_what_the_table_says_is_known_here_where_it_was(column):
    """A new protocol may say what it likes; those that are held to their word remain so."""
    said = in_short(column)
    assert KNOWN[column] <= set(said)
    assert sum(len(said[known]) for known in KNOWN[column]) >= HELD[column]
