"""No choice that the data do not carry: stated losses, against exact ones on heavy tails and rare stalls."""

import math

import numpy as np
import pandas as pd
import pytest
import synthetic_traces

from abs_theory import order_stats
from abs_theory.bounds import Constants
from abs_theory.delays import LogNormal
from abs_theory.plan import plan
from abs_theory.plan.decide import choose_threshold
from abs_theory.plan.diagnosis import exchangeable
from abs_theory.plan.losses import Losses, _of_one_sample, _one_stall, further_rounds
from abs_theory.plan.replayed import TraceReplay
from abs_theory.results import percent
from benchmarks import losses as benchmark


def test_a_loss_is_what_the_best_candidate_has_more():
    losses = Losses.of(np.array([[4.0, 2.0], [4.0, 4.0], [3.0, 4.5]]))
    assert losses.expected == pytest.approx([(0 + 0 + 0.5) / 3, 1 / 3])
    assert losses.upper == pytest.approx([0.45, 0.9])  # between the order statistics
    assert losses.alike.tolist() == [True, True]
    assert losses.safest(1.0) == 0


def test_the_upper_loss_is_never_below_the_expected_one():
    """One copy in a hundred loses much: the quantile of 95 % is 0, and the mean is above it."""
    rates = np.ones((100, 2))
    rates[0, 0] = 0.1
    losses = Losses.of(rates)
    assert losses.expected == pytest.approx([0.09, 0.0])
    assert losses.upper == pytest.approx([0.09, 0.0])


def test_a_candidate_that_is_clearly_worse_is_not_taken_however_little_it_loses():
    rates = np.stack([np.ones(1000), np.full(1000, 0.99), np.full(1000, 0.99)], axis=1)
    rates[:25, 1] = 1.01
    losses = Losses.of(rates)
    assert losses.alike.tolist() == [True, True, False]
    assert losses.safest(0.02) == 1


def test_of_equals_the_last_safe_one_is_taken():
    alike = np.ones(4, dtype=bool)
    losses = Losses(np.array([0.01, 0.0, 0.01, 0.5]), np.array([0.02, 0.01, 0.04, 0.9]), alike)
    assert losses.safest(0.02) == 2
    assert Losses(losses.expected, 10 * losses.upper, alike).safest(0.02) == 1


def test_means_of_one_sample_are_those_of_all_ways_to_draw_rounds_from_it():
    delays = np.array([1.0, 2.0, 5.0])
    mean, _ = _of_one_sample(delays, 2, np.random.default_rng(0))
    pairs = np.sort(np.stack(np.meshgrid(delays, delays), axis=-1).reshape(-1, 2), axis=1)
    assert mean == pytest.approx(pairs.mean(axis=0))
    many = np.sort(np.random.default_rng(1).exponential(size=800))
    _, ratios = _of_one_sample(many, 2, np.random.default_rng(0))
    assert ratios.mean(axis=0) == pytest.approx([1.0, 1.0], abs=0.01)
    assert ratios.std(axis=0) == pytest.approx(np.full(2, 800**-0.5), rel=0.25)


def test_the_effect_of_one_stall_is_that_of_stalling_each_call_in_turn():
    """Exact for each length, and the last k waits for the stalled call itself."""
    rows = np.sort(np.random.default_rng(0).lognormal(size=(5, 4)), axis=1)
    slopes = _one_stall(rows)
    for slope, length in zip(slopes, 30.0 ** ((np.arange(8) + 0.5) / 8), strict=True):
        right = np.zeros(4)
        for row in rows:
            for i in range(4):
                stalled = row.copy()
                stalled[i] *= length
                right += np.sort(stalled) - row
        assert slope == pytest.approx(right / 5)


def test_rounds_needed_are_those_after_which_the_upper_loss_is_small():
    assert further_rounds(lambda times: 0.05, 30) == 0
    assert further_rounds(lambda times: 0.05, 4) == 6, "ten rounds at least"
    assert further_rounds(lambda times: 0.1 / math.sqrt(times), 100) == pytest.approx(300, rel=0.25)
    assert further_rounds(lambda times: math.inf, 20) == 20


@pytest.mark.parametrize("regime", synthetic_traces.REGIMES)
def test_only_rounds_and_workers_that_nothing_tells_apart_are_taken_as_one_sample(regime):
    rng = np.random.default_rng(1)
    pooled = [
        exchangeable(synthetic_traces.REGIMES[regime](rng, num=60)["seconds"].to_numpy().reshape(60, 8))
        for _ in range(20)
    ]
    assert sum(pooled) >= 17 if regime == "almost iid" else sum(pooled) <= 2


def heading(answer):
    return str(answer).splitlines()[0]


def test_the_first_line_is_the_decision_or_that_it_is_not_carried():
    rng = np.random.default_rng(3)
    few, many = (plan(benchmark.trace_of(LogNormal(1.0, 1.5).sample(rng, (num, 8)))) for num in (5, 200))
    needed = f"about {5 + few.rounds_needed} needed to be within 5 % of the best."
    assert heading(few) == f"Not enough data: 5 rounds, {needed}"
    assert few.rounds_needed >= 5
    assert not few.identified
    assert f"The safest choice so far is k = {few.k} of n = 8" in str(few)
    assert heading(many).startswith(f"Wait for k = {many.k} of n = 8 workers")
    assert many.identified
    assert many.expected_loss <= 0.01
    assert many.upper_loss <= 0.05
    assert "Not enough data" not in str(many)


def test_a_loss_is_told_as_what_the_best_choice_has_more():
    """It may be above 100 %, so it is no share of what is lost; with a target it is time."""
    x = LogNormal(1.0, 0.2).sample(np.random.default_rng(0), (43, 6))
    x[15, 2] = 1e9
    answer = plan(benchmark.trace_of(x))
    assert answer.upper_loss > 1
    more = f"in hindsight would deliver {percent(answer.expected_loss, 1)} more gradients per second on average, "
    assert f"{more}at most {percent(answer.upper_loss, 1)} more (95 %)." in str(answer)
    x = LogNormal(1.0, 1.0).sample(np.random.default_rng(0), (43, 6))
    answer = plan(benchmark.trace_of(x), constants=Constants(1.0, 1.0, 1.0), target=0.01)
    more = f"it takes {percent(answer.expected_loss, 1)} more time to the target than the best choice in hindsight"
    assert f"{more} on average, and at most {percent(answer.upper_loss, 1)} more (95 %)." in str(answer)


def test_one_round_carries_nothing():
    answer = plan(benchmark.trace_of(np.array([[1.0, 1.1, 1.3]])))
    assert heading(answer).startswith("Not enough data: 1 round, about ")
    assert math.isnan(answer.upper_loss)


def test_a_threshold_whose_gain_is_noise_is_not_advised():
    """Exponential delays: every threshold has the same round time, so the one without staleness is taken."""
    for seed in range(4):
        x = np.random.default_rng(seed).exponential(size=(60, 6)) + 1e-3
        replay = TraceReplay(x, np.zeros(60, dtype=np.int64), np.random.default_rng(0))
        assert choose_threshold(replay, 3).max_staleness == 0
    x = np.random.default_rng(0).uniform(1.0, 1.5, size=(60, 6))
    replay = TraceReplay(x, np.zeros(60, dtype=np.int64), np.random.default_rng(0))
    assert choose_threshold(replay, 2).max_staleness > 0


def test_two_objectives_that_ask_for_another_k_say_why():
    x = np.random.default_rng(0).lognormal(0.0, 0.5, size=(120, 6))
    answer = plan(benchmark.trace_of(x), constants=Constants(L=1.0, sigma2=0.01, gap=1.0), target=0.05)
    assert answer.k != answer.choice.k
    assert f"k = {answer.choice.k} without staleness is the choice by gradients per second" in str(answer)
    assert 0 <= answer.expected_loss <= answer.upper_loss


def test_choices_called_identified_lose_little_and_most_are_from_60_rounds():
    laws = {name: benchmark.LAWS[name] for name in ("lognormal 1.5", "Pareto 2.5", "stalls 5.0% x 10")}
    outcome = benchmark.choices(laws, 2, seed=1, workers=(4, 16), rounds=(10, 60))
    wrong = outcome["identified"] & (outcome["lost"] > benchmark.MUCH)
    assert wrong.sum() <= 1
    assert outcome.loc[outcome["rounds"] == 60, "identified"].mean() >= 0.6


@pytest.mark.slow
def test_at_most_5_percent_of_the_choices_called_identified_lose_more_than_5_percent():
    outcome = benchmark.choices(benchmark.LAWS, 10, seed=2)
    table = benchmark.shares(outcome, ["rounds"])
    print(table)
    assert (table["wrong_of_identified"] <= 0.05).all()
    assert table.loc[60, "identified"] >= 0.8
    less_than_one = [name for name, law in benchmark.LAWS.items() if law.var < law.mean**2]
    short = outcome[(outcome["rounds"] == 10) & outcome["law"].isin(less_than_one)]
    assert short["identified"].mean() >= 0.5


@pytest.mark.slow
def test_as_many_rounds_as_are_said_to_be_needed_are_about_enough():
    """With the rounds that the first trace asked for, most choices are carried."""
    rng = np.random.default_rng(4)
    carried = []
    for _ in range(20):
        first = benchmark.choice_of_k(LogNormal(1.0, 1.5).sample(rng, (10, 8)), rng)
        if first.further_rounds:
            second = benchmark.choice_of_k(LogNormal(1.0, 1.5).sample(rng, (10 + first.further_rounds, 8)), rng)
            carried.append(second.identified)
    assert np.mean(carried) >= 0.5


def test_the_exact_rates_of_the_benchmark_are_those_of_the_law():
    outcome = benchmark.choices({"lognormal": LogNormal(1.0, 1.0)}, 1, workers=(4,), rounds=(10,))
    rate = np.arange(1, 5) / order_stats.means(LogNormal(1.0, 1.0), 4)
    k = int(outcome["k"].iloc[0])
    assert outcome["lost"].iloc[0] == pytest.approx(rate.max() / rate[k - 1] - 1)
    assert isinstance(benchmark.shares(outcome, ["law"]), pd.DataFrame)
