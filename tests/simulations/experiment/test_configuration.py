"""An experiment as a value: what TOML says is what Python says, and what cannot be read is explained."""

import inspect
import math
import pickle
import tomllib

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abs_theory import delays
from abs_theory.delays import Exponential, Gamma, Mixture, Weibull
from abs_theory.delays.text import delay_law, delay_text
from simulations import policies, protocols
from simulations.experiment import Experiment, simulate
from simulations.experiment.names import DATA, FLEET, POLICY, PROBLEM, PROTOCOL, WEIGHT, is_rule
from simulations.experiment.toml import TomlTable, from_toml, merged, to_toml
from simulations.fleets import as_fleet, one_slow, stragglers
from simulations.fleets.links import Links
from simulations.problems import NoisyQuadratic, softmax_digits
from simulations.sweeps.sweep import Sweep

ABS = """
n = 4
delay = "weibull:scale=1,shape=.7"
step_size = 0.1
num_updates = 12
replicates = 2
seed = 3

[protocol]
name = "abs_sgd"
k = 2
max_staleness = { policy = "relative_to_mean", c = 2 }

[problem]
name = "NoisyQuadratic"
curvatures = [1, 2.5]
sigma2 = 0.1
"""
QUADRATIC = NoisyQuadratic((1.0, 2.5), 0.1)
BASE = tomllib.loads(ABS)


@pytest.fixture
def written(tmp_path):
    """The path of a TOML file with this content."""

    def write(text):
        path = tmp_path / "run.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def changed(**changes):
    return {key: value for key, value in {**BASE, **changes}.items() if value is not None}


# ---------------------------------------------------------------------- what is meant is what is run
def test_a_file_runs_as_the_same_thing_in_python(written):
    table = Experiment.from_toml(written(ABS)).run(n_jobs=1)
    protocol = protocols.abs_sgd(2, policies.relative_to_mean(2.0))
    expected = simulate(
        protocol, QUADRATIC, Weibull(1.0, 0.7), 4, step_size=0.1, num_updates=12, replicates=2, seed=3, n_jobs=1
    )
    pd.testing.assert_frame_equal(table, expected, check_exact=True)


def test_fleets_wrap_one_another_in_the_order_given():
    fleet = [
        {"name": "one_slow", "factor": 3},
        {"name": "Links", "upload": "gamma:shape=4,scale=.1"},
        {"name": "Spells", "fast": 10, "slow": 5, "factor": 4},
    ]
    table = Experiment.of(changed(fleet=fleet)).run(n_jobs=1)
    made = Links(one_slow(Weibull(1.0, 0.7), 4, 3.0), upload=Gamma(4.0, 0.1))
    expected = simulate(
        protocols.abs_sgd(2, policies.relative_to_mean(2.0)), QUADRATIC, stragglers.Spells(made, 10, 5, 4), 4,
        step_size=0.1, num_updates=12, replicates=2, seed=3, n_jobs=1,
    )  # fmt: skip
    pd.testing.assert_frame_equal(table, expected, check_exact=True)


def test_some_workers_can_be_told_apart_and_laws_counted():
    absent = {"name": "Where", "workers": [1], "fleet": {"name": "Absences", "up": 9, "down": 3}}
    one = Experiment.of(changed(fleet=absent)).run(n_jobs=1)
    assert one["away_seconds"].sum() > 0
    laws = Experiment.of(changed(delay=["exponential:mean=1 x 3", {"law": "exponential", "mean": 9}]))
    assert laws.delay == ("exponential:mean=1.0 x 3", "exponential:mean=9.0")
    expected = simulate(
        protocols.abs_sgd(2, policies.relative_to_mean(2.0)), QUADRATIC, [Exponential(1.0)] * 3 + [Exponential(9.0)], 4,
        step_size=0.1, num_updates=12, replicates=2, seed=3, n_jobs=1,
    )  # fmt: skip
    pd.testing.assert_frame_equal(laws.run(n_jobs=1), expected, check_exact=True)


def test_a_measured_trace_drives_a_run_and_needs_no_law(tmp_path):
    rows = [(j, worker, 1.0 + worker) for j in range(3) for worker in range(4)]
    pd.DataFrame(rows, columns=["round", "worker", "seconds"]).to_csv(tmp_path / "trace.csv", index=False)
    fleet = {"name": "from_trace", "trace": str(tmp_path / "trace.csv")}
    experiment = Experiment.of(changed(delay=None, fleet=fleet, protocol={"name": "synchronous"}, num_updates=2))
    assert experiment.run(n_jobs=1)["time"].tolist() == [4.0, 8.0] * 2
    assert experiment.files == (str(tmp_path / "trace.csv"),)


def test_factories_get_the_law_the_workers_and_the_constants_of_the_run():
    k = {"policy": "abs_rule", "k0": 2, "max_staleness": {"policy": "time_optimal"}}
    table = Experiment.of(changed(protocol={"name": "abs_sgd", "k": k, "max_staleness": 1})).run(n_jobs=1)
    law = Weibull(1.0, 0.7)
    expected = simulate(
        protocols.abs_sgd(policies.abs_rule(law, 4, 2, policies.time_optimal(law, 4)), 1), QUADRATIC, law, 4,
        step_size=0.1, num_updates=12, replicates=2, seed=3, n_jobs=1,
    )  # fmt: skip
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
    balanced = {"policy": "balanced_threshold", "target": 0.1}
    run = Experiment.of(changed(protocol={"name": "abs_sgd", "k": 1, "max_staleness": balanced})).run(n_jobs=1)
    rule = policies.balanced_threshold(QUADRATIC.constants, 0.1)
    expected = simulate(
        protocols.abs_sgd(1, rule), QUADRATIC, law, 4, step_size=0.1, num_updates=12, replicates=2, seed=3, n_jobs=1
    )
    pd.testing.assert_frame_equal(run, expected, check_exact=True)


def test_a_protocol_of_the_users_own_is_found_by_its_module(tmp_path, monkeypatch):
    own = (
        "from simulations.protocols import k_sync\nfrom simulations.server import Protocol\n"
        "def patient(k: int) -> Protocol:\n    return k_sync(k)\n"
    )
    (tmp_path / "own_protocols.py").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    allow = ["own_protocols"]
    experiment = Experiment.of(changed(protocol={"name": "own_protocols:patient", "k": 3}), allow)
    theirs = Experiment.of(changed(protocol={"name": "k_sync", "k": 3}))
    pd.testing.assert_frame_equal(experiment.run(n_jobs=1), theirs.run(n_jobs=1), check_exact=True)
    assert experiment.files == (str(tmp_path / "own_protocols.py"),)
    with pytest.raises(ValueError, match=r"protocol\.own: own_protocols:patient has no 'own'.*it takes k"):
        Experiment.of(changed(protocol={"name": "own_protocols:patient", "own": 3}), allow)


def test_every_factory_can_be_named():
    """And nothing else: what is listed is what a message says there is."""
    assert {"abs_sgd", "synchronous", "adasync", "local_sgd"} <= set(PROTOCOL.factories)
    assert {"NoisyQuadratic", "TimingOnly", "softmax_digits", "perceptron_digits"} <= set(PROBLEM.factories)
    assert {"every_worker", "relative_to_mean", "abs_rule", "time_optimal"} <= set(POLICY.factories)
    assert {"uniform", "by_staleness"} <= set(WEIGHT.factories)
    assert {"Links", "Absences", "CommonFactor", "Stalls", "Spells", "one_slow", "from_trace"} <= set(FLEET.factories)
    assert "digits" in DATA.factories
    assert set(protocols.__all__) - {"weights"} == set(PROTOCOL.factories)
    for kind, alien in ((PROTOCOL, "uniform"), (PROBLEM, "Problem"), (POLICY, "Progress"), (FLEET, "Wrapper")):
        assert alien not in kind.factories


NEEDED = {"k": 2, "max_staleness": 1, "k0": 1, "spare": 1, "slack": 1, "buffer": 2, "batch": 2, "threshold": 3,
          "steps0": 2, "target": 0.1, "round_times": [1, 2, 3, 4], "raise_by": 1, "burn_in": 2,
          "ahead": 1}  # fmt: skip


def needed(factory):
    """Arguments for those parameters of a factory that have no default and that no run supplies."""
    parameters = inspect.signature(factory).parameters.values()
    return {each.name: NEEDED[each.name] for each in parameters if each.default is each.empty and each.name in NEEDED}


@pytest.mark.parametrize("name", PROTOCOL.factories)
def test_every_protocol_runs_from_a_table(name):
    protocol = {"name": name, **needed(PROTOCOL.factories[name])}
    table = Experiment.of(changed(protocol=protocol, replicates=1)).run(n_jobs=1)
    assert len(table) == 12


@pytest.mark.parametrize("name", POLICY.factories)
def test_every_policy_is_made_from_a_table(name):
    policy = {"policy": name} if is_rule(POLICY.factories[name]) else {"policy": name, **needed(POLICY.factories[name])}
    protocol = {"name": "abs_sgd", "k": 2, "max_staleness": policy}  # what any policy gives may be a threshold
    assert len(Experiment.of(changed(protocol=protocol, replicates=1)).run(n_jobs=1)) == 12


# ---------------------------------------------------------------------- values
def test_an_experiment_is_a_value():
    plain = Experiment.of(BASE)
    law = Experiment.of(changed(delay={"law": "weibull", "scale": 1, "shape": 0.7}))
    full = Experiment.of(changed(replicates=2, eval_every=math.inf, delay="Weibull: shape=0.7 ,scale=1"))
    in_python = Experiment(**changed(delay=Weibull(1.0, 0.7)))
    assert plain == law == full == in_python
    assert len({plain, law, full, in_python}) == 1
    assert plain != Experiment.of(changed(seed=4))
    assert pickle.loads(pickle.dumps(plain)) == plain
    assert eval(repr(plain), {"Experiment": Experiment, "inf": math.inf}) == plain
    assert plain.protocol == {
        "name": "abs_sgd", "k": 2, "max_staleness": {"policy": "relative_to_mean", "c": 2.0}, "weight": "uniform"
    }  # fmt: skip
    with pytest.raises(AttributeError):
        plain.seed = 4
    with pytest.raises(TypeError):
        plain.protocol["k"] = 3


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fleet": {"name": "one_slow", "factor": 2}},
        {"fleet": [{"name": "one_slow", "factor": 2}, {"name": "CommonFactor", "factor": "uniform:low=1,high=2"}]},
        {"delay": ["exponential:mean=1/3 x 2", "uniform:low=0,high=2", "deterministic:value=1"]},
        {"protocol": {"name": "k_async", "k": "every_worker", "weight": "by_staleness"}},
        {"target": ["loss", 0.5], "eval_every": 2, "jobs": True, "replicates": [3, 1]},
        {"problem": {"name": "softmax", "data": "digits", "split": 0.5}},
        {"problem": {"name": "softmax", "data": {"data": "digits"}, "split": "all"}},
        {"delay": "mixture:weights=.9|.1,components=(lognormal:median=1,sigma=.3)|(gamma:shape=100,scale=.1)"},
    ],
    ids=str,
)
def test_toml_and_back(written, changes):
    experiment = Experiment.of(changed(**changes))
    again = Experiment.from_toml(written(experiment.to_toml()))
    assert again == experiment
    assert again.to_toml() == experiment.to_toml()
    assert Sweep.from_toml(written(experiment.to_toml())).experiments[0].experiment == experiment
    pd.testing.assert_frame_equal(*(_table(each.run(n_jobs=1)) for each in (experiment, again)), check_exact=True)


def _table(result):
    return result[0] if isinstance(result, tuple) else result


def test_every_law_is_written_as_it_is_read():
    laws = [
        delays.Exponential(1 / 3), delays.ShiftedExponential(0.1, 1.0), delays.Gamma(2.5, 1e-9), delays.Erlang(3, 2.0),
        delays.Weibull(1.0, 0.5), delays.Pareto(1.0, 2.5), delays.Lomax(1.0, 2.5), delays.LogNormal(1.0, 0.3),
        delays.Uniform(0.0, 1e100), delays.Deterministic(1.0), delays.HyperExponential((0.9, 0.1), (1 / 3, 7.0)),
        delays.Empirical((1.0, 2.0, 0.1)), delays.Empirical((1.0,)),
        delays.LocalSteps(Mixture((0.5, 0.5), (Gamma(2.0, 1.0), delays.LocalSteps(Exponential(1.0), 2))), 4),
    ]  # fmt: skip
    for law in laws:
        assert delay_law(delay_text(law)) == law
    with pytest.raises(ValueError, match="can be written as text"):
        delay_text(as_fleet(Exponential(1.0), 2))


_keys = st.text(st.characters(codec="utf-8"), max_size=8)
_scalars = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8"))
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3), max_leaves=8
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_keys, _values, max_size=5))
def test_any_table_survives_toml(table):
    assert TomlTable(tomllib.loads(to_toml(table))) == TomlTable(table)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_keys, _values, max_size=5), st.text(st.characters(codec="utf-8", exclude_characters="\n")))
def test_what_stands_in_braces_is_told_apart_whatever_is_in_the_texts(table, remark):
    comment = "".join(each for each in remark if each.isprintable())
    text = f"before = {{}} # {comment}\n" + to_toml({"cell": [table, {"after": {"d": 1}}]})
    plain = tomllib.loads(text + "next.b.c = 1")
    plain["cell"][1] = {"after": {"d": 1}, "next.b.c": 1}  # braces, and a dotted key
    assert from_toml(text + "next.b.c = 1") == plain


def test_merging_goes_along_the_dots():
    assert merged({"a": {"b": 1}, "c": 2}, "a.d.e", 3) == {"a": {"b": 1, "d": {"e": 3}}, "c": 2}
    with pytest.raises(ValueError, match=r"b\.c cannot be set: b is 1, not a table"):
        merged({"a": {"b": 1}}, "a.b.c", 3)


# ---------------------------------------------------------------------- what cannot be read
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"protcol": {}}, "protcol: a run has no 'protcol'; did you mean 'protocol'"),
        ({"protocol": None}, "protocol is missing: a run needs it"),
        ({"n": None}, "^n is missing"),
        ({"seed": None}, "seed is missing"),
        ({"n": "four"}, "n must be a whole number, got 'four'"),
        ({"n": 4.0}, "n must be a whole number, got 4.0"),
        ({"n": True}, "n must be a whole number, got True"),
        ({"n": 2**64}, "n must be a whole number"),
        ({"jobs": 1}, "jobs must be true or false, got 1"),
        ({"step_size": math.nan}, 'step_size must be a number or a policy { policy = "..." }, got nan'),
        ({"step_size": [0.1]}, "step_size must be a number"),
        ({"eval_every": "often"}, "eval_every must be a number"),
        ({"time_budget": {"seconds": 3}}, "time_budget must be a number"),
        ({"target": "loss"}, "target must be a list"),
        ({"target": ["loss", 1, 2]}, "target must be a list"),
        ({"target": [1, "loss"]}, r"target\[0\] must be a text, got 1"),
        ({"num_updates": None}, "a run needs an end"),
        ({"n": 0}, "n must be an integer >= 1, got n=0"),
        ({"seed": -1}, "seed must be an integer >= 0, got seed=-1"),
        ({"num_updates": 0}, "num_updates must be an integer >= 1"),
        ({"time_budget": -3}, "time_budget must be a finite number > 0"),
        ({"eval_every": 0}, "eval_every must be a finite number > 0"),
        ({"local_steps": 0}, "local_steps must be an integer >= 1"),
        ({"step_size": -0.1}, "step_size must be a finite number > 0"),
        ({"target": ["loss", 0.1]}, "give eval_every"),
        ({"replicates": 0}, "replicates must be a number >= 1 or which ones to run, each once, got 0"),
        ({"replicates": []}, "replicates must be a number >= 1"),
        ({"replicates": [1, 2, 1]}, r"which ones to run, each once, got \(1, 2, 1\)"),
        ({"replicates": [-1]}, "replicate must be an integer >= 0"),
        ({"replicates": [1, "a"]}, r"replicates\[1\] must be a whole number"),
        ({"protocol": 3}, "protocol must be a protocol"),
        ({"protocol": {"k": 3}}, "protocol must be a protocol"),
        ({"protocol": {"name": 3}}, r"protocol\.name must be the name of a protocol, got 3"),
        ({"protocol": {"name": "abs_sdg"}}, "no protocol named 'abs_sdg'; did you mean 'abs_sgd'.*k_async"),
        ({"protocol": {"name": "nowhere:near"}}, r"protocol\.name: cannot import 'nowhere:near'"),
        ({"protocol": {"name": "math:pi"}}, "'math:pi' must be a function or class"),
        ({"protocol": {"name": "math:sqrt"}}, "'math:sqrt' must be a function or class"),
        ({"protocol": {"name": "builtins:int"}}, "'builtins:int' must be a function or class"),
        ({"protocol": {"name": ":"}}, "cannot import ':'"),
        ({"protocol": {"name": "other:pi"}}, "'other:pi' runs code of the module 'other', which is not allowed"),
        ({"protocol": {"name": "abs_sgd", "k": 1}}, r"protocol\.max_staleness is missing: abs_sgd needs it"),
        ({"protocol": {"name": "k_sync", "K": 1}}, r"protocol\.K: k_sync has no 'K'.*it takes k"),
        ({"protocol": {"name": "synchronous", "k": 1}}, r"protocol\.k: synchronous has no 'k'; it takes no arguments"),
        ({"protocol": {"name": "k_sync", "k": "abc"}}, r"protocol\.k: there is no policy named 'abc'.*, or give a num"),
        ({"step_size": "0.1"}, r"^step_size: there is no policy named '0\.1'; there are .*, or give a number$"),
        ({"protocol": {"name": "k_sync", "k": {"rule": 1}}}, r"protocol\.k must be a number or a policy"),
        (
            {"protocol": {"name": "k_sync", "k": {"policy": "relative_to_maen"}}},
            "no policy named 'relative_to_maen'; did you mean 'relative_to_mean'",
        ),
        (
            {"protocol": {"name": "k_sync", "k": {"policy": "relative_to_mean", "c": "1"}}},
            r"protocol\.k\.c must be a number, got '1'",
        ),
        ({"protocol": {"name": "k_sync", "k": {"policy": "every_worker", "c": 1}}}, "every_worker takes no arguments"),
        (
            {"protocol": {"name": "k_async", "k": 1, "weight": "heavy"}},
            r"^protocol\.weight: there is no weight named .*, uniform$",
        ),
        (
            {"protocol": {"name": "k_async", "k": 1, "weight": {"weight": "heavy"}}},
            r"^protocol\.weight\.weight: there is",
        ),
        ({"protocol": {"name": "k_sync", "k": [1, 2]}}, r"protocol\.k must be"),
        ({"problem": {"name": "NoisyQuadratic", "sigma2": 0.1}}, r"problem\.curvatures is missing"),
        ({"problem": {"name": "NoisyQuadratic", "sigma2": 0.1, "curvatures": 1}}, r"curvatures must be a list"),
        (
            {"problem": {"name": "NoisyQuadratic", "sigma2": 0.1, "curvatures": [1, "a"]}},
            r"curvatures\[1\] must be a number",
        ),
        ({"problem": {"name": "softmax", "data": "digit"}}, "no data set named 'digit'; did you mean 'digits'"),
        ({"delay": None}, "give delay"),
        ({"delay": 3}, "delay must be a delay law"),
        ({"delay": []}, "delay must have at least one law"),
        ({"delay": "gama:shape=1"}, "delay: no delay law named 'gama'"),
        ({"delay": {"law": "gamma", "shape": 4}}, "delay: parameter 'scale' is missing"),
        ({"delay": {"shape": 4}}, "delay must name a law"),
        ({"delay": {"law": "gamma", "shape": -4, "scale": 1}}, "delay: shape must be"),
        ({"delay": ["exponential:mean=1", "gamma"]}, r"delay\[1\]: parameter 'shape' is missing"),
        ({"delay": "empirical:/no/such/file.csv"}, "delay: .*No such file"),
        ({"fleet": {"name": "one_fast", "factor": 2}}, "no fleet named 'one_fast'; did you mean 'one_slow'"),
        ({"fleet": {"name": "one_slow", "factor": "2"}}, r"fleet\.factor must be a number"),
        ({"fleet": [{"name": "Links", "upload": 1}, {"name": "Links", "uplaod": 1}]}, r"fleet\[1\]\.uplaod: Links has"),
        ({"fleet": {"name": "Where", "workers": [0], "fleet": {"name": "Linx"}}}, r"fleet\.fleet\.name: there is no"),
    ],
    ids=str,
)
def test_what_is_wrong_is_explained(changes, message):
    with pytest.raises(ValueError, match=message):
        Experiment.of(changed(**changes), allow=["nowhere", "math", "builtins", ""])


@pytest.mark.parametrize(
    "text, message",
    [
        (ABS.replace("k = 2", "kk = 2"), "run.toml: protocol.kk: abs_sgd has no 'kk'; did you mean 'k'"),
        (ABS + "x = ", "run.toml is not valid TOML: "),
        (ABS + "sigma2 = 2", "run.toml is not valid TOML: "),
        (b"n = 4 # \xff", "run.toml is not text in UTF-8"),
        ("a = " + "[" * 100_000, "run.toml is nested too deeply"),
        ("n = " + "9" * 10_000, "run.toml is not valid TOML"),
        ("", "run.toml: protocol is missing"),
        (ABS.replace("seed = 3", "seed = 2024-01-01"), "seed must be a whole number, got datetime.date"),
    ],
    ids=range(8),
)
def test_a_file_that_cannot_be_read_is_named(written, text, message):
    for kind in (Experiment, Sweep):
        with pytest.raises(ValueError, match=message):
            kind.from_toml(written(text))


def test_what_a_factory_refuses_is_found_before_the_run():
    for changes, message in (
        ({"protocol": {"name": "k_sync", "k": 0}}, r"k must be a whole number in 1\.\."),
        ({"protocol": {"name": "k_batch_async", "k": 0}}, r"^protocol: k must be a whole number >= 1, got k=0$"),
        ({"protocol": {"name": "ssp", "slack": -1}}, r"^protocol: slack must be .* got slack=-1"),
        (
            {"protocol": {"name": "k_sync", "k": {"policy": "pflug_rule", **needed(policies.pflug_rule), "k0": 0}}},
            r"^protocol\.k: k0 must be .* got k0=0",
        ),
        (
            {"protocol": {"name": "k_sync", "k": {"policy": "relative_to_mean", "c": 9}}},
            r"^protocol: k must be a whole number in 1\.\.n, its policy gave k=27 with n=4 workers",
        ),
        (
            {"step_size": {"policy": "relative_to_mean"}, "protocol": {"name": "k_sync", "k": 4}},
            r"^step_size must be finite and > 0, its policy gave 0",
        ),
        ({"fleet": {"name": "one_slow", "factor": -5}}, r"^fleet: factor must be .* > 0, got factor=-5"),
        ({"fleet": [{"name": "one_slow", "factor": -5}]}, r"^fleet\[0\]: factor must be"),
        ({"problem": {"name": "NoisyQuadratic", "sigma2": -1, "curvatures": [1]}}, "^problem: sigma2 must be"),
        (
            {"target": ["test_accuracy", 0.9], "eval_every": 1},
            r"target must be a column and a finite number to reach, such as \('loss', 0\.1\), got \('test_acc.*, 0\.9\)"
            "; the columns of this problem are loss, gradient_norm2",
        ),
        ({"delay": ["exponential:mean=1 x 3", "exponential:mean=2 x 3"]}, "laws are for 6 workers and n=4"),
        ({"problem": {"name": "softmax_digits", "n": 3}}, "splits its data among 3 workers, got n=4"),
        (
            {"delay": None, "fleet": {"name": "one_slow", "factor": 2}},
            r"fleet\.delay is missing, and the run has no delay to supply",
        ),
    ):
        experiment = Experiment.of(changed(**changes))
        for refused in (experiment.check, lambda: experiment.run(n_jobs=1)):  # noqa: B023
            begun = message if refused == experiment.check else message.replace("^protocol: k ", "^k ")
            with pytest.raises(ValueError, match=begun):
                refused()
    assert Experiment.of(BASE).check() is None


# texts near enough to the real thing to get past the first checks
_words = ["name", "k", "n", "policy", "law", "abs_sgd", "k_sync", "gamma:shape=4,scale=.25", "digits", "sweep", "cell"]
_near = st.one_of(
    _values, st.sampled_from([*_words, "exponential:mean=1 x 3", "empirical:x", "relative_to_mean", "a:b"])
)
_tables = st.recursive(
    _near,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_words) | _keys, inner, max_size=4),
    max_leaves=10,
)
_paths = ["delay", "fleet", "protocol.k", "protocol.name", "problem", "step_size", "target", "sweep", "cell",
          "sweep.protocol.k", "replicates", "fleet.name", "delay.law", "versions", "local_steps"]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(_paths), _tables, max_size=3))
def test_whatever_is_written_there_the_reader_takes_it_or_raises_a_value_error(changes):
    try:
        table = BASE
        for key, value in changes.items():
            table = merged(table, key, value)
        sweep = Sweep.of(tomllib.loads(to_toml(table)))
    except ValueError:
        return
    assert Sweep.of(tomllib.loads(sweep.to_toml())).experiments[0].experiment == sweep.experiments[0].experiment


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, data):
    text = bytearray(ABS.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        end = data.draw(st.integers(at, min(at + 6, len(text))))
        text[at:end] = data.draw(st.binary(max_size=4))
    path = tmp_path_factory.getbasetemp() / "damaged.toml"
    path.write_bytes(text)
    try:
        read, said = Sweep.from_toml(path), ""
    except ValueError as problem:
        read, said = None, str(problem)
    assert read is not None or said.startswith(str(path))


def test_softmax_is_softmax():
    assert Experiment.of(changed(problem="softmax_digits")).run(n_jobs=1)["loss"].iloc[-1] == (
        simulate(
            protocols.abs_sgd(2, policies.relative_to_mean(2.0)), softmax_digits(4), Weibull(1.0, 0.7), 4,
            step_size=0.1, num_updates=12, replicates=2, seed=3, n_jobs=1,
        )["loss"].iloc[-1]
    )  # fmt: skip
