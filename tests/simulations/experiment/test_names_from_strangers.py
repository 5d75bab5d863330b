"""A file from a stranger runs nothing that the user did not allow, in whatever place it names it."""

import sys
from pathlib import Path

import pytest

from simulations.experiment import Experiment
from simulations.sweeps import Sweep, folder, report

BASE = """
n = 3
delay = "exponential:mean=1"
step_size = 0.1
num_updates = 4
seed = 3
protocol = { name = "k_sync", k = 2 }
problem = { name = "NoisyQuadratic", curvatures = [1.0], sigma2 = 0.1 }
"""
# It leaves a file behind when it is imported, and others when something in it is called.
MODULE = """
from pathlib import Path
from subprocess import Popen
from shutil import rmtree
from simulations.server import Progress, Protocol

HERE = Path(__file__).parent
(HERE / "imported").touch()


def mark(*arguments, **options):
    (HERE / "called").touch()


def k_sync(k: int):
    mark()


def wrong(k: int) -> int:
    mark()


def unknown(k: int) -> "NoSuchName":
    mark()


def honest(k: int = 1) -> Protocol:
    from simulations import protocols

    return protocols.k_sync(k)


def plain(k, law=None) -> Protocol:
    from simulations import protocols

    assert law is None or law.mean == 2.0
    return protocols.k_sync(k)


class Unfit:
    def __init__(self, k: int = 1):
        mark()


def steady(progress: Progress) -> float:
    return 0.1


class Descriptor:
    def __get__(self, thing, owner=None):
        mark()


class Trap:
    gradients = Descriptor()
"""
CALL = 'args = "touch called", shell = true'
TRIES = {
    "a shell": BASE.replace('{ name = "k_sync", k = 2 }', f'{{ name = "subprocess:Popen", {CALL} }}'),
    "a folder removed": BASE.replace('{ name = "k_sync", k = 2 }', '{ name = "shutil:rmtree", path = "." }'),
    "os.system": BASE.replace('{ name = "k_sync", k = 2 }', '{ name = "os:system", command = "touch called" }'),
    "a module that runs when imported": BASE.replace("k_sync", "foreign:k_sync"),
    "a name alone": BASE.replace('{ name = "k_sync", k = 2 }', '"foreign:mark"'),
    "the problem": BASE.replace("NoisyQuadratic", "foreign:mark"),
    "the policy of k": BASE.replace("k = 2", 'k = { policy = "foreign:mark" }'),
    "the policy of the step size": BASE.replace("step_size = 0.1", 'step_size = { policy = "foreign:mark" }'),
    "the step size as a name": BASE.replace("step_size = 0.1", 'step_size = "foreign:mark"'),
    "a policy in a policy": BASE.replace(
        "k = 2", 'k = { policy = "abs_rule", k0 = 2, max_staleness = { policy = "foreign:mark" } }'
    ),
    "the weight": BASE.replace('"k_sync", k = 2', '"k_async", k = 2, weight = "foreign:mark"'),
    "the fleet": BASE + '[[fleet]]\nname = "foreign:mark"\n',
    "the second fleet": BASE + '[[fleet]]\nname = "one_slow"\nfactor = 2\n[[fleet]]\nname = "foreign:mark"\n',
    "the data": BASE.replace('"NoisyQuadratic", curvatures = [1.0], sigma2 = 0.1', '"softmax", data = "foreign:mark"'),
    "data in a table": BASE.replace(
        '"NoisyQuadratic", curvatures = [1.0], sigma2 = 0.1', '"softmax", data = { data = "foreign:mark" }'
    ),
    "a list of a sweep": BASE + '[sweep]\nprotocol = [{ name = "foreign:mark" }, { name = "synchronous" }]\n',
    "one name in a sweep": BASE + '[sweep]\nprotocol.name = ["foreign:k_sync", "k_async"]\n',
    "a cell": BASE + '[[cell]]\nprotocol.name = "foreign:k_sync"\n[[cell]]\nseed = 4\n',
    "it allows itself": 'allow = ["foreign"]\n' + BASE.replace("k_sync", "foreign:k_sync"),
    "it allows itself in a cell": BASE + '[[cell]]\nallow = ["foreign"]\nprotocol.name = "foreign:k_sync"\n',
    "a package of ours": BASE.replace("k_sync", "simulations.protocols:k_sync"),
    "a module below": BASE.replace("k_sync", "foreign.inner:k_sync"),
    "a path": BASE.replace("k_sync", "./foreign.py:k_sync"),
    "an attribute of an attribute": BASE.replace("k_sync", "foreign:HERE.rmdir"),
    "a name with two colons": BASE.replace("k_sync", "foreign:mark:k_sync"),
}


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A file with this text, beside a module that leaves traces; what has happened is the files that are there."""
    (tmp_path / "foreign.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(text):
        (tmp_path / "run.toml").write_text(text)
        return tmp_path / "run.toml"

    yield write
    sys.modules.pop("foreign", None)


def traces():
    return {path.name for path in Path().iterdir()} & {"imported", "called"}


@pytest.mark.parametrize("text", TRIES.values(), ids=TRIES.keys())
def test_a_file_alone_runs_nothing(stranger, text):
    path = stranger(text)
    with pytest.raises(ValueError, match=r"is not allowed; if you trust it|a run has no 'allow'"):
        Sweep.from_toml(path)
    with pytest.raises(ValueError, match=r"run\.toml: "):
        Experiment.from_toml(path)
    assert traces() == set()
    assert "foreign" not in sys.modules
    assert path.exists()


@pytest.mark.parametrize(
    "before, after",
    [
        ('"exponential:mean=1"', '"foreign:mark"'),
        ('"exponential:mean=1"', '{ law = "foreign:mark" }'),
        ('"exponential:mean=1"', '"mixture:weights=1,components=(foreign:mark)"'),
        ("seed = 3", 'seed = 3\nlocal_steps = { policy = "foreign:mark" }'),
        ("seed = 3", 'seed = 3\nupdate_seconds = "foreign:mark"'),
        ("seed = 3", 'seed = 3\ntarget = "foreign:mark"'),
        ('"k_sync", k = 2', '"self_tuning_abs", objective = "foreign:mark"'),
        ('"k_sync", k = 2', '"admission", k = 2, ahead = "foreign:mark"'),
        ('"NoisyQuadratic", curvatures = [1.0]', '"softmax", data = { data = "idx", folder = "foreign:mark" }'),
        ('"NoisyQuadratic", curvatures = [1.0]', '"torch_module", module = "foreign:mark"'),
    ],
)
def test_what_is_no_place_for_code_takes_none(stranger, before, after):
    path = stranger(BASE.replace(before, after))
    with pytest.raises(ValueError, match=r"foreign|torch_module|data"):
        Sweep.from_toml(path).check()
    assert traces() == set()
    assert "foreign" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("foreign:Popen", "'foreign:Popen' does not say that it makes a protocol: annotate it with \"-> Protocol\""),
        ("foreign:rmtree", "does not say that it makes a protocol"),
        ("foreign:mark", "does not say that it makes a protocol"),
        ("foreign:k_sync", "does not say that it makes a protocol"),
        ("foreign:wrong", "does not say that it makes a protocol"),
        ("foreign:unknown", "does not say that it makes a protocol"),
        ("foreign:Unfit", "does not say that it makes a protocol"),
        ("foreign:Progress", "does not say that it makes a protocol"),
        ("foreign:Path", "does not say that it makes a protocol"),
        ("foreign:HERE", "must be a function or class written in Python"),
        ("foreign:__builtins__", "must be a function or class written in Python"),
        ("foreign:nothing", "cannot import 'foreign:nothing': AttributeError"),
        ("other:mark", "which is not allowed"),
    ],
)
def test_an_allowed_module_is_only_called_for_what_it_says_it_makes(stranger, name, message):
    path = stranger(BASE.replace('"k_sync", k = 2', f'"{name}"'))
    with pytest.raises(ValueError, match=message):
        Sweep.from_toml(path, allow=["foreign"])
    assert traces() <= {"imported"}


@pytest.mark.parametrize("key", ["problem", "step_size", "fleet", "protocol.k", "protocol.weight"])
@pytest.mark.parametrize("name", ["foreign:mark", "foreign:Popen", "foreign:Unfit", "foreign:rmtree", "foreign:Trap"])
def test_the_same_holds_in_every_place(stranger, key, name):
    path = stranger(BASE.replace("k_sync", "k_async") + f'[sweep]\n{key} = ["{name}"]\n')
    with pytest.raises(ValueError, match="does not say that it makes a"):
        Sweep.from_toml(path, allow=["foreign"]).check()
    assert "called" not in traces()


def test_what_is_allowed_and_says_what_it_makes_runs(stranger):
    path = stranger(BASE.replace("k_sync", "foreign:honest").replace("step_size = 0.1", 'step_size = "foreign:steady"'))
    experiment = Experiment.from_toml(path, allow=("foreign",))
    theirs = Experiment.from_toml(stranger(BASE))
    assert experiment.run(n_jobs=1).equals(theirs.run(n_jobs=1))
    assert set(experiment.files) == {str(path.parent / "foreign.py")}
    assert "allow" not in experiment.to_toml()
    assert experiment == Experiment.of(experiment.as_table(), allow=["foreign", "another"])


def test_a_table_with_a_policy_or_a_law_is_one_without_an_annotation_too(stranger):
    """The factory was handed the table itself, and its protocol failed."""
    k, law = '{ policy = "loss_ratio", k0 = 2 }', '{ law = "exponential", mean = 2.0 }'
    called = BASE.replace('"k_sync", k = 2', f'"foreign:plain", k = {k}, law = {law}')
    experiment = Experiment.from_toml(stranger(called), allow=["foreign"])
    theirs = Experiment.from_toml(stranger(BASE.replace("k = 2", f"k = {k}")))
    assert experiment.run(n_jobs=1).equals(theirs.run(n_jobs=1))
    with pytest.raises(ValueError, match=r"protocol\.k\.policy: 'foreign:mark' does not say that it makes a policy"):
        Experiment.from_toml(stranger(called.replace("loss_ratio", "foreign:mark")), allow=["foreign"])
    assert "called" not in traces()


def test_a_name_of_modules_must_be_a_list(stranger):
    path = stranger(BASE.replace("k_sync", "foreign:honest"))
    with pytest.raises(ValueError, match="allow must be a list of names of modules, got 'foreign'"):
        Experiment.from_toml(path, allow="foreign")
    assert traces() == set()


def test_the_list_and_a_received_configuration_import_nothing(stranger, tmp_path):
    text = BASE.replace("k_sync", "foreign:honest")
    sweep = Sweep.from_toml(stranger(text), allow=["foreign"])
    folder.claim(tmp_path / "out", sweep)
    (tmp_path / "out" / "results" / "0.result").touch()
    assert list(report.finished_lines(sweep, tmp_path / "out")) == ["cell 0: 0 of 1 runs finished"]
    sys.modules.pop("foreign")
    (tmp_path / "imported").unlink()
    with pytest.raises(ValueError, match="'foreign:honest' runs code of the module 'foreign', which is not allowed"):
        folder.claim(tmp_path / "out", Sweep.from_toml(stranger(BASE)))
    with pytest.raises(ValueError, match="which is not allowed"):
        Sweep.from_toml(tmp_path / "out" / "config.toml")
    assert traces() == set()
