"""The page of a sweep stands alone, shows what was found, and can be opened on a small screen."""

import re

import pytest

from simulations import summary
from simulations.summary.report import page
from simulations.sweeps import Sweep, run_sweep

BASE = {
    "n": 3, "delay": "exponential:mean=1", "step_size": 0.1, "time_budget": 6.0, "eval_every": 1.0, "replicates": 2,
    "seed": 0, "protocol": {"name": "abs_sgd", "k": 2, "max_staleness": 1},
    "problem": {"name": "NoisyQuadratic", "curvatures": [1.0], "sigma2": 0.1},
}  # fmt: skip


def written(sweep, **options):
    outcome = run_sweep(sweep, n_jobs=1)
    target, words = summary.target_of(sweep, outcome)
    return page(sweep, outcome, summary.results(sweep, outcome, target), target, words, **options)


@pytest.fixture(scope="module")
def text():
    sweep = Sweep(BASE, {"protocol.k": [1, 2, 3]})
    return written(sweep, notices=["<b> is no tag"], command="python -m simulations run.toml --out results")


def test_the_page_has_table_curves_timeline_configuration_versions_and_the_command(text):
    assert text.count("<svg") == 2
    for part in (
        "&lt;b&gt; is no tag",
        "range of 2 runs",
        "k=3",
        "python -m simulations run.toml",
        "numpy 2",
        "[sweep]",
    ):
        assert part in text
    assert "has delivered, waits" in text or "<use" in text


def test_nothing_on_the_page_refers_outside(text):
    links = re.findall(r"(?:src|href)=\"([^\"]*)\"", text)
    assert {link[:1] for link in links} <= {"#", "d"}  # within the page, or data:
    assert "<script" not in text
    assert "@import" not in text


def test_the_page_of_untrained_or_diverged_runs_has_no_curves():
    for changes in ({"problem": "TimingOnly"}, {"step_size": 1e30}):
        assert written(Sweep(BASE | changes)).count("<svg") <= 2
