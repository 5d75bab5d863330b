"""Command lines and TOML files that a machine has made up: one line and status 2, or a run; never a traceback.

Some are made up word by word; others are right but for one to three options, and so reach the computation.
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
local_steps update_seconds protocol.window protocol.ahead protocol.in_flight
protocol.k protocol.max_staleness problem.sigma2 problem.curvatures fleet.factor versions allow name k
"""
OPTIONS = {
    "simulations": "--out --jobs --backend --format --list --address --allow --target --help --version explore --port",
    "abs_theory": """round-time choose plan rollouts --delay -n -k --max-staleness --method --csv --L --sigma2 --gap
        --target --step-size --seed --by-the-clock --picture --lengths --batch --slots --price --rounds --for --out""",
    "paper_figs": "--list --quick --full --out --width --svg page talk timeline rollouts nothing",
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


# ---------------------------------------------------------------------- right but for a few options

LAWS = """
exponential:mean=1 lognormal:median=800,sigma=1 gamma:shape=4,scale=.25 deterministic:value=2 uniform:low=0,high=1
pareto:minimum=1,index=.9 exponential:mean=1e308 exponential:mean=1e-308 gamma:shape=1e-308,scale=1
gamma:shape=1,scale=1e-308 gamma:shape=1e308,scale=1 lognormal:median=1,sigma=50 weibull:shape=1e-3,scale=1
deterministic:value=1e308 uniform:low=0,high=1e308 hyper-exponential:probs=.5|.5,means=1e-300|1e300 gamma: x
empirical:/dev/zero empirical:lengths.csv lengths.csv groups.csv empty.csv letters.csv twice.csv binary.parquet
bad.jsonl no.csv .
"""
NUMBERS = "0 1 2 3 4 7 20 -1 0.5 1e-3 1e308 1e-308 1e-300 5e-324 nan inf -inf x 1_0 ٣ 99999999999999999999"
HOSTILE = ["", " ", "-", "--", "\x1b[2J", "ü" * 50, "A" * 100_000, "9" * 100_000, "a\nb", "a\0b", "/dev/zero", "/"]
STALENESS = "p99:8 mean:2 max:4 max:0 p50:1e308 p0:1 p100:1 p:1 p99 p99:nan p99:-1 p1e5:2 p.:2 :8 mean:x"
VALUES_OF = {
    "--lengths": LAWS, "--delay": LAWS, "--tolerance": STALENESS,
    "--csv": "a.csv no/a.csv .", "--json": "a.json no/a", "--page": "a.html a.txt no/a.html",
    "--picture": "a.svg a.txt", "--price": "2.5/h $2/day 0/h x 1e308/s 2 -1/h 5EUR/month",
    "--for": "ray pytorch flower rollouts python x", "--warmup": "auto 0 1 100 x -1 1.5",
    "--since": "0 1 5 -1 x 1e9 1.5",
    "--unit": "s ms us x", "--columns": "round=round worker=no x=y =", "--decimal": ". , ;",
    "--jobs": "1 0 x 1.5 1e308",  # more processes take long to start
    "--format": "csv table parquet x", "--max-staleness": "none 0 1 3 -1 x 1e3",
    "--method": "auto fast exact monte-carlo x", "--objective": "time communication x",
    "--model": "bound expected x",
    "--target": NUMBERS + " loss=0.3 loss=x loss= =1 loss loss=nan loss=1e308 accuracy=.5 time=1 loss=-1e308",
}  # fmt: skip
PARTS = {
    "rollouts": (
        "abs_theory rollouts --lengths lognormal:median=800,sigma=1 --batch 2 --slots 3",
        "--batch --slots --group --trainer-seconds --seconds-per-token --gpus --slowdown --tolerance --fair --csv "
        "--json --page --lengths",
    ),
    "plan": (
        "abs_theory plan trace.csv --rounds 100 --price 2/h --for ray",
        "--rounds --price --for -n --L --sigma2 --gap --target --unit --warmup --since --format --columns --ignore "
        "--decimal --dataset --seed",
    ),
    "compare": ("abs_theory plan trace.csv after.csv", "--seed --unit --warmup --format --ignore --rounds"),
    "round-time": (
        "abs_theory round-time --delay exponential:mean=1 -n 3 --max-staleness 1",
        "--delay -n -k --max-staleness --method --seed --csv --picture",
    ),
    "choose": (
        "abs_theory choose --delay exponential:mean=1 -n 3 --L 1 --sigma2 1 --gap 1 --target 0.1",
        "--delay -n -k --L --sigma2 --gap --target --time-budget --noise-curvature --noise-curvature2 --step-size "
        "--message-seconds --max-staleness --method --objective --model --csv",
    ),
    "by-the-clock": (
        "abs_theory choose --by-the-clock --delay exponential:mean=1 -n 3 --L 1 --sigma2 1 --gap 1 --target 0.1 "
        "--noise-curvature 1",
        "--delay -n -k --L --sigma2 --gap --target --time-budget --noise-curvature --step-size --max-staleness",
    ),
    "target": ("simulations run.toml --out out --jobs 1 --target loss=0.3", "--target --jobs --format --backend"),
    "explore": (
        "simulations explore --no-browser -n 4 -k 2",
        "--port --delay -n -k --max-staleness",
    ),
}
ROLLOUTS = """
n = 4
delay = "gamma:shape=4,scale=0.25"
step_size = 0.1
num_updates = 3
seed = 3
update_seconds = 0.5
problem = { name = "NoisyQuadratic", curvatures = [1.0, 0.5], sigma2 = 0.1 }
"""
PROTOCOLS = {
    "abs_batch": {"k": "2", "max_staleness": "1", "in_flight": "true"},
    "admission": {"k": "1", "ahead": "1.5", "window": "2"},
    "self_tuning_abs": {"objective": '"messages"'},
}


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """The files that the command lines name, in the folder where they run."""
    monkeypatch.chdir(tmp_path)
    trace = (ROOT / "examples" / "trace.csv").read_text()
    texts = {
        "run.toml": SMALL, "trace.csv": trace, "after.csv": trace, "empty.csv": "", "letters.csv": "tokens\na\nb\n",
        "lengths.csv": "5\n6\n9\n", "groups.csv": "tokens,group,seconds\n5,a,1\n7,a,2\n9,b,2\n",
        "twice.csv": "tokens,Tokens\n1,2\n", "binary.parquet": "\x00\x01\x02", "bad.jsonl": '{"tokens": [1\n[]\n',
    }  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def changed_options(kind, rng):
    """The package, and a command line of this kind with one to three options given another value or left out."""
    line, options = PARTS[kind]
    package, *words = line.split()
    options = options.split()
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(options)
        value = rng.choice(HOSTILE if rng.random() < 0.15 else VALUES_OF.get(name, NUMBERS).split())
        if name in words[:-1] and rng.random() < 0.8:
            words[words.index(name) + 1] = value
        elif rng.random() < 0.05:
            del words[rng.randrange(1, len(words))]
        else:
            words += [name, value] if rng.random() < 0.5 else [f"{name}={value}"]
    return package, words


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("number", [8, pytest.param(1500, marks=pytest.mark.slow)])
def test_command_lines_that_are_almost_right(kind, number, limits, monkeypatch, capsys, folder):
    monkeypatch.setattr("simulations.explore.serving.serve", lambda *arguments: None)
    refused = 0
    for seed in range(number):
        package, arguments = changed_options(kind, random.Random(seed))
        refused += ended_well(package, arguments, monkeypatch, capsys)
    assert number / 8 < refused <= number - number // 100


def changed_run(protocol, rng):
    """A configuration with this protocol, and one or two wrong or extreme values."""
    settings, lines = dict(PROTOCOLS[protocol]), ROLLOUTS.strip().splitlines()
    values = VALUES if rng.random() < 0.5 else ["1", "2", "3", "0.5", "1e-300", "0", "1e6", "true", '"time"']
    for _ in range(rng.randint(1, 2)):
        if rng.random() < 0.5:
            settings[rng.choice([*settings, *settings, "k"])] = rng.choice(values)
        else:
            key = rng.choice(["update_seconds", "update_seconds", "delay", "step_size", "local_steps", "seed"])
            lines = [line for line in lines if not line.startswith(key)] + [f"{key} = {rng.choice(values)}"]
    inner = ", ".join([f'name = "{protocol}"', *(f"{key} = {value}" for key, value in settings.items())])
    return "\n".join([*lines, f"protocol = {{ {inner} }}"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("number", [10, pytest.param(1500, marks=pytest.mark.slow)])
def test_runs_of_files_that_are_almost_right(protocol, number, limits, monkeypatch, capsys, folder):
    refused = 0
    for seed in range(number):
        (folder / "run.toml").write_text(changed_run(protocol, random.Random(seed)))
        arguments = ["run.toml", "--out", f"out{seed}", "--jobs", "1"]
        refused += ended_well("simulations", arguments, monkeypatch, capsys)
    assert number / 8 < refused <= number - number // 100
