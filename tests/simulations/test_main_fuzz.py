"""Command lines and TOML files that a machine has made up: one line and status 2, or a run; never a traceback.

Every case has a seed of its own.  A case may take ten seconds of processor time and one GiB more than the process has.
"""

import importlib
import random
import resource
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 10  # of processor time
EXAMPLES = [path.read_text() for path in sorted((ROOT / "examples").glob("*.toml"))]
SMALL = """
n = 3
delay = "gamma:shape=4,scale=0.25"
step_size = 0.1
num_updates = 3
seed = 3
eval_every = 1.0
protocol = { name = "abs_sgd", k = 2, max_staleness = { policy = "relative_to_mean", c = 1.0 } }
problem = { name = "NoisyQuadratic", curvatures = [1.0, 0.5], sigma2 = 0.1 }
[[fleet]]
name = "one_slow"
factor = 5
[sweep]
protocol.k = [1, 2]
"""
VALUES = """
0|1|-1|2|3|7|1e300|1e-300|-0.0|inf|-inf|nan|true|false|""|"k_sync"|"x"|"inf"|[]|{}|[1, 2]|[[1]]|["a", 1]|1979-05-27
9223372036854775807|99999999999999999999|{ name = "k_sync" }|{ policy = "loss_ratio", k0 = 1 }|{ law = "gamma" }
"exponential:mean=1"|"exponential:mean=0"|"exponential:mean=1 x 3"|"lomax:scale=1,index=.5"|"empirical:/dev/zero"
"gamma:shape=1e-308,scale=1e308"|"mixture:weights=1,components=(x)"|"os:system"|"\\u0000"|"\\u001b[2J"|{ a = { b = 1 } }
"""
VALUES = VALUES.strip().replace("\n", "|").split("|")
KEYS = """
n delay step_size num_updates seed eval_every protocol problem fleet sweep cell replicates target jobs time_budget
local_steps protocol.k protocol.max_staleness problem.sigma2 problem.curvatures fleet.factor versions allow name k
"""
OPTIONS = {
    "simulations": "--out --jobs --backend --format --list --address --allow --help --version",
    "abs_theory": """round-time choose plan --delay -n -k --max-staleness --method --csv --L --sigma2 --gap --target
        --step-size --seed""",
    "paper_figs": "--list --quick --full --out timeline nothing",
}
WORDS = """
0 -1 1e308 nan inf x 3 4 0.5 exponential:mean=1 exponential:mean=1e308 lognormal:median=1,sigma=50 / -- - joblib
uniform:low=1,high=0 /dev/zero
"""
KEYS, WORDS = KEYS.split(), [*WORDS.split(), "", "\x1b[2J", "ü" * 50, "A" * 10_000]
OPTIONS = {package: options.split() for package, options in OPTIONS.items()}


class TooLong(BaseException):
    """A case has taken more than its time."""


@pytest.fixture(scope="module")
def limits():
    """The memory of this process, and an alarm that ends a case."""

    def alarm(number, frame):
        raise TooLong

    before, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGPROF, alarm)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
    signal.signal(signal.SIGPROF, handler)


def ended_well(package, arguments, monkeypatch, capsys):
    """Run a command in this process; True if it was refused."""
    monkeypatch.setattr(sys, "argv", [package, *arguments])
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with pytest.raises(SystemExit) as end:
            importlib.import_module(f"{package}.__main__").run()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    complained = capsys.readouterr().err
    assert end.value.code in (0, 1, 2, None), (arguments, complained)
    assert "Traceback" not in complained, (arguments, complained)
    if end.value.code == 2:
        assert complained.count("\n") == 1, (arguments, complained)
        assert len(complained) < 4000, arguments
        assert complained.removesuffix("\n").isprintable(), (arguments, complained)
    return end.value.code == 2


def changed_text(rng):
    """An example with a value, a line or some letters changed, or a key added."""
    lines = rng.choice([SMALL, SMALL, SMALL, *EXAMPLES]).splitlines()
    for _ in range(rng.randint(1, 3)):
        here = rng.randrange(len(lines))
        kind = rng.randrange(5)
        if kind == 0 and "=" in lines[here]:
            lines[here] = f"{lines[here].partition('=')[0]}= {rng.choice(VALUES)}"
        elif kind == 1:
            lines.insert(here, f"{rng.choice(KEYS)} = {rng.choice(VALUES)}")
        elif kind == 2:
            del lines[here]
            lines = lines or [""]
        elif kind == 3:
            lines.insert(here, lines[rng.randrange(len(lines))])
        elif lines[here]:
            at = rng.randrange(len(lines[here]))
            lines[here] = lines[here][:at] + rng.choice('"=[]{}#.,x0\\\0\x1b') + lines[here][at + rng.randint(0, 2) :]
    return "\n".join(lines)


@pytest.mark.parametrize("number", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_files(number, limits, monkeypatch, capsys, tmp_path):
    refused = 0
    for seed in range(number):
        rng = random.Random(seed)
        (tmp_path / "run.toml").write_text(changed_text(rng), encoding="utf-8")
        arguments = [str(tmp_path / "run.toml"), "--out", str(tmp_path / "out"), "--list"]
        refused += ended_well("simulations", arguments, monkeypatch, capsys)
        assert not (tmp_path / "out").exists()
    assert number / 4 < refused < number


@pytest.mark.parametrize("package", OPTIONS)
@pytest.mark.parametrize("number", [40, pytest.param(500, marks=pytest.mark.slow)])
def test_command_lines(package, number, limits, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(SMALL)
    words = [*WORDS, "run.toml", "out", str(ROOT / "examples" / "trace.csv")]
    for seed in range(number):
        rng = random.Random(seed)
        arguments = [rng.choice(OPTIONS[package] if rng.random() < 0.5 else words) for _ in range(rng.randint(1, 8))]
        if package == "abs_theory" and rng.random() < 0.7:
            arguments = [rng.choice(OPTIONS[package][:2]), "--delay", rng.choice(words), "-n", "4", *arguments[:4]]
        if package == "paper_figs":
            arguments = ["--list", *arguments]  # in front, where it is no value of another option
        if package == "simulations":
            arguments = ["--list", "--jobs", "1", *arguments]
        ended_well(package, arguments, monkeypatch, capsys)
