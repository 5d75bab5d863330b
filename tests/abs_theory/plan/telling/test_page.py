"""The page, the data and the part of a notebook: complete, alone, and small for long traces."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import synthetic_traces

from abs_theory import order_stats, traces
from abs_theory.delays.text import delay_laws
from abs_theory.plan import Change, Origin, cost, plan, price, write
from abs_theory.plan.effects import RoundTable
from abs_theory.plan.telling import pictures
from abs_theory.plan.telling.advice import advice

NAMES = {i: f"gpu-{'abcdefgh'[i]}" for i in range(8)}


@pytest.fixture(scope="module")
def answer():
    frame = synthetic_traces.unequal_workers(np.random.default_rng(0), num=60)
    frame["worker"] = frame["worker"].map(NAMES)
    return plan(traces.from_frame(frame, warmup=0))


def test_page_and_data_say_where_they_come_from_and_what_it_costs(answer, tmp_path):
    origin = Origin("a.csv", "python -m abs_theory plan a.csv", "2026-01-02 03:04:05+00:00", "1.2.3")
    page, data = write(answer, tmp_path, cost(answer, 1000, price("2/h")), origin)
    text, read = page.read_text(), json.loads(data.read_text())
    assert read["origin"] == vars(origin)
    assert read["decision"] == answer.text.split("\n")[0]
    assert f"<title>{read['decision']}</title>" in text
    assert "file a.csv, made on 2026-01-02 03:04:05+00:00, abs-toolkit 1.2.3, by: python -m abs_theory plan" in text
    assert "Cost of 1,000 rounds" in text
    assert read["cost"]["now"]["rounds"] == 1000
    assert read["slow_workers"][0]["worker"] == "gpu-h"
    assert "gpu-h takes" in text
    assert '<meta name="viewport"' in text
    assert "<script" not in text
    for title in ("Ray", "PyTorch", "Flower", "Rollouts", "Python threads"):
        assert f"<summary>{title}" in text
    references = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')>\s]+)""", text)
    assert all(reference.startswith(("#", "data:")) for reference in references)


def test_a_notebook_shows_the_answer_with_pictures(answer):
    html = answer._repr_html_()
    assert html.count("<svg") == 2
    assert "<html" not in html
    assert "<style>" not in html.replace("<style type", "")
    assert html.index("Wait for k = 7 of n = 8 workers") < html.index("<svg")
    assert replace(answer, to_html=None)._repr_html_() is None


@pytest.mark.parametrize(
    ("regime", "options"),
    [("almost iid", {}), ("unequal workers", {}), ("common slowdowns", {}), ("clustered stalls", {})],
)
def test_the_law_in_the_data_is_what_the_option_delay_reads(regime, options):
    found = plan(
        traces.from_frame(synthetic_traces.REGIMES[regime](np.random.default_rng(1), num=60, **options), warmup=0)
    )
    texts = json.loads(json.dumps(found.to_dict()))["delay"]
    laws = delay_laws(texts, found.n)
    model = found.model
    for k in (1, found.n):
        expected = order_stats.mean(model.laws, k, found.n) * model.factor
        assert order_stats.mean(laws, k, found.n) == pytest.approx(expected, rel=1e-9)


CHANGES = (Change(None, 30, 30, 1.0, 2.0), Change("gpu-c", 40, 40, 1.0, 3.0))


@pytest.mark.parametrize("name", pictures.__all__)
def test_pictures_name_their_units_and_mark_changes(answer, name):
    if name == "compared":
        return
    figure = getattr(pictures, name)(replace(answer, changes=CHANGES))
    ax = figure.axes[0]
    assert re.search(r"\(s\)|second|round|share|worker", ax.get_xlabel() + ax.get_ylabel())
    marked = [line for line in ax.lines if list(line.get_xdata()) == [29.5, 29.5]]
    assert len(marked) == (name in ("heat_map", "over_time"))
    assert len([line for line in ax.lines if list(line.get_xdata()) == [39.5, 39.5]]) == (name == "heat_map")


def test_long_traces_are_aggregated_in_pictures(answer):
    """10,000 rounds of 100 workers: a picture has as many cells as can be seen, and their mean is that of the trace."""
    rng = np.random.default_rng(2)
    x = np.exp(0.1 * rng.standard_normal((10_000, 100)))
    table = RoundTable(x, np.ones(x.shape, dtype=bool), np.zeros(len(x), dtype=np.int64))
    big = replace(answer, table=table, workers=tuple(range(100)), slow_workers=[], rounds=len(x))
    image = pictures.heat_map(big).axes[0].images[0].get_array()
    assert image.shape == (pictures.MOST_ROWS, pictures.MOST_COLUMNS)
    assert image.mean() == pytest.approx(x.mean(), rel=1e-3)
    for line in pictures.over_time(big).axes[0].lines:
        assert len(line.get_xdata()) <= pictures.MOST_POINTS
    assert len(pictures.per_worker(big).axes[0].get_yticks()) <= pictures.MOST_LABELS
    assert len(pictures.tail(big).axes[0].lines[0].get_xdata()) <= 3 * pictures.MOST_POINTS


def test_a_saving_that_is_not_identified_is_bounded_by_the_times_given_up():
    """The time of a full wait has no interval, but is at least 8 s: k = 3 of 4 at .5 s per gradient saves 75 %."""
    frame = synthetic_traces.unequal_workers(np.random.default_rng(0), num=30, n=4, slowest=5.0)
    answer = plan(traces.from_frame(frame, warmup=0))
    assert answer.k == 3
    curve = answer.curve.assign(at_least=0.0)
    curve.loc[3, "mean"], curve.loc[4, "at_least"] = 1.5, 8.0
    curve.loc[4, "reason"] = "5 rounds lost a call: at least 8 s"
    text = " ".join(advice(replace(answer, savings=None, curve=curve)))
    assert "compared with waiting for everybody: not identified, at least 75.0 % less by the times at which" in text
    assert "given up (k = 4: 5 rounds lost a call: at least 8 s)." in text
