"""Hours and money: by hand, with intervals that contain the truth, and what cannot be known."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic_traces

from abs_theory import traces
from abs_theory.plan import cost, plan, price
from abs_theory.plan.arrivals import mean_arrivals
from abs_theory.plan.effects import effects, table


def constant(slowest=9.0, n=3):
    x = np.ones((30, n))
    x[:, -1] = slowest
    return plan(traces.from_frame(synthetic_traces.frame(x), warmup=0))


def test_the_cost_by_hand():
    """Everybody takes 9 s a round: 1000 rounds are 2.5 h.  k = 2 takes 1 s, and 1500 rounds for as many gradients."""
    run = cost(constant(), 1000, price("$3/h"))
    assert (run.now.hours, run.now.low, run.now.high) == (2.5, 2.5, 2.5)
    assert (run.planned.rounds, run.planned.hours) == (1500, pytest.approx(1500 / 3600))
    assert (run.same_rounds.rounds, run.same_rounds.hours) == (1000, pytest.approx(1000 / 3600))
    data = run.to_dict()
    assert data["now"]["money"] == pytest.approx(2.5 * 3 * 3)
    assert data["planned"]["money_high"] == pytest.approx(1500 / 3600 * 9)
    text = "\n".join(run.lines)
    assert "now, waiting for everybody: 2.5 h (2.5 to 2.5), 22.50 $ (22.50 to 22.50)" in text
    assert "k = 2, as many gradients" in text
    assert "at 3 $ per worker-hour" in text
    assert "$" not in "\n".join(cost(constant(), 1000).lines)


def test_a_plan_that_waits_for_everybody_costs_what_it_costs_now():
    run = cost(constant(slowest=1.0), 1000)
    assert run.planned is None
    assert run.to_dict()["planned"] is None
    assert "waits for as many as now" in run.lines[-1]


@pytest.mark.parametrize(
    ("text", "per_hour", "currency"),
    [
        ("2.5/h", 2.5, ""),
        ("2/hour", 2, ""),
        ("$2.5/h", 2.5, "$"),
        ("2.5 EUR/h", 2.5, "EUR"),
        ("€60/day", 2.5, "€"),
        (".001/s", 3.6, ""),
    ],
)
def test_prices_as_they_are_typed(text, per_hour, currency):
    found = price(text)
    assert (found.per_hour, found.currency) == (pytest.approx(per_hour), currency)


@pytest.mark.parametrize(
    "text", ["", "2.5", "-1/h", "0/h", "2,5/h", "1e5/h", "2/fortnight", "$2 EUR/h", "/h", "nan/h", 2.5]
)
def test_what_is_no_price_is_refused(text):
    with pytest.raises(ValueError, match="price must be"):
        price(text)


def of_means(curve, n, measured=60):
    """What ``cost`` reads of a plan that waits for everybody."""
    choice, diagnosis = SimpleNamespace(largest=n), SimpleNamespace(complete=measured)
    return SimpleNamespace(
        n=n, k=n, max_staleness=0.0, rounds_needed=0, curve=curve, setting=None, choice=choice, diagnosis=diagnosis
    )


def test_few_rounds_are_less_certain_than_their_mean():
    """The mean over 60 rounds is 3600 (3300 to 4000); 20 future rounds vary by sqrt(1 + 60 / 20) = 2 times as much."""
    curve = pd.DataFrame({"mean": [3600.0], "low": [3300.0], "high": [4000.0], "rounds": [60]}, index=[1])
    now = cost(of_means(curve, 1), 20).now
    assert (now.hours, now.low, now.high) == pytest.approx((20, 20 * 3000 / 3600, 20 * 4400 / 3600))


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [50, 2000])
def test_the_interval_contains_the_hours_of_future_rounds(rounds):
    """Lognormal delays of 2 workers; 95 % intervals of the total contain it in 90 to 99 % of repetitions."""
    rng, inside, repetitions = np.random.default_rng(1), 0, 200
    for _ in range(repetitions):
        x = np.exp(0.3 * rng.standard_normal((60, 2)))
        data = table(traces.from_frame(synthetic_traces.frame(x), warmup=0))
        curve = mean_arrivals(data, effects(x), rng)
        now = cost(of_means(curve, 2), rounds).now
        future = np.exp(0.3 * rng.standard_normal((rounds, 2))).max(axis=1).sum() / 3600
        inside += now.low <= future <= now.high
    assert 0.90 <= inside / repetitions <= 0.99


def test_without_an_interval_none_is_printed():
    frame = synthetic_traces.almost_iid(np.random.default_rng(0), num=5, n=3)
    run = cost(plan(traces.from_frame(frame, warmup=0)), 100)
    assert math.isnan(run.now.low)
    assert "interval not identified" in run.lines[1]
    assert "nan" not in "\n".join(run.lines)
    assert run.to_dict()["now"]["hours_low"] is None
