"""Rules for k, the threshold and the step: against the published equations, and the server's part in them."""

import math

import numpy as np
import pytest

from abs_theory import order_stats, round_time
from abs_theory.delays import Exponential, HyperExponential, LogNormal, Pareto, ShiftedExponential
from simulations import policies, protocols
from simulations.experiment import simulate
from simulations.problems import NoisyQuadratic, TimingOnly
from simulations.server import Progress

QUADRATIC = NoisyQuadratic((1.0, 2.0), sigma2=0.1)


def progress(n=20, updates=3, time=10.0, decided=9.0, k=1, loss=1.0, initial_loss=1.0):
    return Progress(n, updates, time, decided, k, math.inf, 0.0, loss, initial_loss)


@pytest.mark.parametrize("delay", [Exponential(2.0), ShiftedExponential(shift=3.0, scale=2.0)], ids=repr)
@pytest.mark.parametrize("k0", [1, 2, 4])
def test_adasync_solves_the_published_equation_for_k_sync(delay, k0):
    """K^2 / (M - K) = K_0^2 / (M - K_0) F(w_0) / F(w_t): the shift drops out (AdaSync, 2021)."""
    n = 200
    rule = policies.adasync_rule(delay, n, k0, "k_sync")
    for ratio in (1.5, 4.0, 20.0, 300.0):
        r = k0**2 * ratio / (n - k0)
        root = (-r + math.sqrt(r * r + 4 * r * n)) / 2
        # a difference of H_n - H_{n-k} stands for 1 / (n - k): exact to O(1 / n)
        assert abs(rule(progress(n=n, loss=1 / ratio)) - root) <= 1 + 0.02 * root


def test_adasync_with_linear_round_times_is_a_square_root_rule():
    """K = K_0 sqrt(F_0 / F_t), the rule of the batch variants, whose round time is proportional to k."""
    rule = policies.greedy_bound(np.arange(1, 101) * 0.3, 4)
    for ratio in (1.0, 2.25, 9.0, 100.0):
        assert rule(progress(n=100, loss=1 / ratio)) == round(4 * math.sqrt(ratio))


def test_greedy_bound_minimises_the_bound_over_all_k():
    times = np.array([round_time.k_sync(LogNormal(median=1.0, sigma=1.0), k, 12) for k in range(1, 13)])
    rule = policies.greedy_bound(times, 3)
    constant = 9 * (times[3] - times[1]) / 2
    for loss in (1.0, 0.4, 0.1, 0.01):
        costs = loss * times + constant / np.arange(1, 13)
        assert rule(progress(n=12, loss=loss)) == costs.argmin() + 1


def test_greedy_bound_never_decreases_starts_at_k0_and_decides_only_at_intervals():
    rule = policies.greedy_bound(np.arange(1.0, 21.0), 2, interval=5.0)
    assert rule(progress(updates=0, time=0.0, decided=0.0)) == 2
    assert rule(progress(k=7, loss=1.0, time=10.0)) == 7
    assert rule(progress(k=2, loss=0.01, time=9.0, decided=6.0)) == 2  # still the interval [5, 10)
    assert rule(progress(k=2, loss=0.01, time=10.0, decided=9.0)) == 20


def test_greedy_bound_uses_the_average_slope_where_rounds_do_not_lengthen_with_k():
    rule = policies.greedy_bound([1.0, 2.0, 2.0, 1.5, 8.0, 9.0], 3)
    cost = 0.1 * np.array([1.0, 2.0, 2.0, 1.5, 8.0, 9.0]) + 9 * (2.0 / 3) / np.arange(1, 7)
    assert rule(progress(n=6, loss=0.1)) == cost.argmin() + 1


def test_loss_ratio_is_a_running_maximum_of_the_floor():
    rule = policies.loss_ratio(2)
    assert rule(progress(loss=1.0)) == 2
    assert rule(progress(loss=0.35)) == 5  # floor(2 / .35) = floor(5.71)
    assert rule(progress(loss=0.8, k=5)) == 5
    assert rule(progress(loss=0.01)) == rule(progress(loss=0.0)) == 20
    assert rule(progress(loss=-1.0)) == 20  # a noisy loss may go below zero


def test_the_relative_threshold_is_c_times_the_mean_staleness_of_k_async():
    for k in range(1, 21):
        assert policies.relative_to_mean()(progress(k=k)) == math.ceil((20 - k) / k)
        assert policies.relative_to_mean(2.5)(progress(k=k)) == math.ceil(2.5 * (20 - k) / k)
    assert policies.relative_to_mean()(progress(k=20)) == 0


def test_the_time_optimal_threshold_asks_the_delay_law():
    stalls = HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0))
    assert policies.time_optimal(stalls, 20)(progress(k=5)) == 0
    assert policies.time_optimal(ShiftedExponential(shift=0.5, scale=0.5), 20)(progress(k=5)) == math.inf
    assert policies.time_optimal(LogNormal(median=1.0, sigma=1.0), 20)(progress(k=5)) == 3


def test_abs_rule_reduces_to_adasync_at_both_ends():
    delay = LogNormal(median=1.0, sigma=0.5)
    for loss in (0.7, 0.3, 0.05):
        now = progress(loss=loss)
        sync = policies.greedy_bound(order_stats.means(delay, 20), 2)
        assert policies.abs_rule(delay, 20, 2, 0)(now) == sync(now)
        assert policies.abs_rule(delay, 20, 2, math.inf)(now) == policies.adasync_rule(delay, 20, 2)(now)


def test_none_is_no_threshold():
    one, other = (
        simulate(protocols.abs_sgd(2, bound), QUADRATIC, Exponential(1.0), 4, step_size=0.1, num_updates=20, seed=0)
        for bound in (None, math.inf)
    )
    assert one.equals(other)


def test_policies_move_k_the_threshold_and_the_step_of_a_run():
    rounds = simulate(
        protocols.abs_sgd(policies.loss_ratio(1), policies.relative_to_mean(2.0)), QUADRATIC, Exponential(1.0), 6,
        step_size=lambda progress: 0.3 / (1 + progress.updates / 50), num_updates=300, seed=0,
    )  # fmt: skip
    assert rounds["k"].is_monotonic_increasing
    assert rounds["k"].iloc[[0, -1]].tolist() == [1, 6]
    assert (rounds["max_staleness"] == np.ceil(2 * (6 - rounds["k"]) / rounds["k"])).all()


def test_a_policy_sees_the_running_loss_and_the_time_of_the_last_decision():
    seen = []

    def spy(progress):
        seen.append(progress)
        return 2

    rounds = simulate(protocols.k_async(spy), QUADRATIC, Exponential(1.0), 4, step_size=0.2, num_updates=5, seed=0)
    assert [p.updates for p in seen] == [0, 1, 2, 3, 4, 5]
    assert [p.time for p in seen] == [0.0, *rounds["time"]]
    assert [p.decided for p in seen] == [0.0, 0.0, *rounds["time"][:-1]]
    assert seen[0].loss == seen[0].initial_loss == QUADRATIC.loss(QUADRATIC.initial)
    assert seen[5].loss < seen[1].loss <= seen[0].loss
    assert [p.mean_staleness for p in seen[1:]] == rounds["mean_staleness"].tolist()


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: policies.loss_ratio(0), "k0 must"),
        (lambda: policies.relative_to_mean(0), "c must"),
        (lambda: policies.relative_to_mean(math.nan), "c must"),
        (lambda: policies.greedy_bound([1.0, 2.0], 3), r"k must be a whole number in 1\.\.n"),
        (lambda: policies.greedy_bound([1.0, math.inf], 1), "finite mean"),
        (lambda: policies.greedy_bound([1.0, 2.0], 1, interval=-1.0), "interval must"),
        (lambda: policies.greedy_bound([1.0, 2.0], 1, interval=math.nan), "interval must"),
        (lambda: policies.adasync_rule(Exponential(1.0), 4, 1, "k_batch"), "protocol must be one of"),
        (lambda: policies.adasync_rule(Pareto(minimum=1.0, index=0.9), 4, 1, "k_sync"), "finite mean"),
        (lambda: protocols.adasync(Exponential(1.0), 4, 5), r"k must be a whole number in 1\.\.n"),
        (lambda: protocols.adasync(Exponential(1.0), 4, 2, variant="ssp"), "variant must be one of"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    "protocol, message",
    [
        (protocols.k_async(0), r"k must be a whole number in 1\.\.n, got k=0 with n=4 workers"),
        (protocols.k_sync(lambda progress: 5), r"in 1\.\.n, its policy gave k=5 with n=4 workers"),
        (protocols.k_async(lambda progress: 2.5), r"gave k=2\.5"),
        (protocols.k_batch_async(0), r"k must be a whole number >= 1, got k=0$"),
        (protocols.k_async(lambda progress: math.nan), r"gave k=nan"),
        (protocols.abs_sgd(1, -1), r"max_staleness must be >= 0 or math\.inf, got -1"),
        (protocols.abs_sgd(1, math.nan), r"max_staleness must"),
        (protocols.k_async(lambda progress: "x"), r"gave k='x'"),
        (protocols.abs_sgd(1, lambda progress: "x"), r"max_staleness must .* gave 'x'"),
        (protocols.k_async(1, weight=lambda staleness: math.nan), "weight of a gradient must be finite"),
        (protocols.adasync(Exponential(1.0), 3, 1), "made for n=3 workers, the run has n=4"),
        (protocols.abs_sgd(1, policies.time_optimal(Exponential(1.0), 3)), "made for n=3 workers"),
        (protocols.adasync(Exponential(1.0), 4, 1), r"needs F\(w_0\) > 0, got 0\.0"),
        (protocols.k_sync(policies.loss_ratio(1)), r"needs F\(w_0\) > 0"),
        (
            protocols.k_sync,
            r"protocol must be a Protocol such as k_sync\(5\), k_sync makes one: call it, k_sync",
        ),
        (lambda server, job: None, r"protocol must .*: Protocol\(on_arrival\) makes one of a function of server"),
        (policies.self_tuning, r"got what makes a policy: .* self_tuning_abs\(\) is the one with those of self_tuning"),
        (policies.self_tuning(), r"got a policy: a protocol takes policies, as abs_sgd\(k, max_staleness\), and self_"),
    ],
)
def test_bad_decisions_are_refused_when_they_are_made(protocol, message):
    with pytest.raises(ValueError, match=message):
        simulate(protocol, TimingOnly(), Exponential(1.0), 4, step_size=1.0, num_updates=3, seed=0)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: protocols.k_sync(policies.self_tuning),
            r"k must be a number or a policy, self_tuning makes one:",
        ),
        (lambda: protocols.abs_sgd(1, policies.relative_to_mean), r"max_staleness must .* relative_to_mean\(\.\.\.\)"),
        (
            lambda: protocols.k_async(policies.self_tuning()),
            r"self_tuning\(\) is 3 of them: give one, as .*\.k",
        ),
        (lambda: protocols.k_async(protocols.k_sync), r"k must be a number or a policy, k_sync makes a protocol"),
        (lambda: protocols.k_async(protocols.k_sync(2)), "k must be a number or a policy, got a protocol"),
        (lambda: protocols.abs_sgd(policies.self_tuning().max_staleness, 1), "for it, got the policy of max_staleness"),
    ],
)
def test_what_is_no_policy_is_refused_where_it_is_given(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_function_without_a_module_is_a_policy():
    names = {}
    exec("def always_two(progress): return 2", names)
    names["always_two"].__module__ = None
    rounds = simulate(
        protocols.k_sync(names["always_two"]), TimingOnly(), Exponential(1.0), 4, step_size=1.0, num_updates=3, seed=0
    )
    assert (rounds["k"] == 2).all()


@pytest.mark.parametrize(
    "step_size, message",
    [
        (
            policies.self_tuning,
            r"step_size must be a number or a policy, self_tuning makes one: call it",
        ),
        (policies.self_tuning(), r"step_size .* give one, as self_tuning\(\).step_size"),
        (policies.self_tuning().k, "step_size must be a number or a policy for it, got the policy of k"),
    ],
)
def test_what_is_no_step_is_refused(step_size, message):
    with pytest.raises(ValueError, match=message):
        simulate(protocols.k_sync(1), TimingOnly(), Exponential(1.0), 4, step_size=step_size, num_updates=3, seed=0)
