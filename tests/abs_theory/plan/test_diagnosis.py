"""The regime of a trace, in numbers and words."""

import numpy as np
import pytest
import synthetic_traces

from abs_theory import traces
from abs_theory.delays import HyperExponential
from abs_theory.plan import plan
from abs_theory.plan.diagnosis import diagnose
from abs_theory.plan.effects import RoundTable, effects, table
from simulations import protocols
from simulations.experiment import simulate
from simulations.live.trace import as_trace
from simulations.problems import TimingOnly

STALLS = HyperExponential(probs=(0.9, 0.1), means=(1 / 3, 7.0))


def diagnosis_of(x, window=None):
    x = np.asarray(x, dtype=float)
    window = np.zeros(len(x), dtype=np.int64) if window is None else window
    return diagnose(RoundTable(x, np.isfinite(x), window))


@pytest.mark.parametrize(
    ("regime", "expected"),
    [
        ("almost iid", "almost i.i.d."),
        ("unequal workers", "unequal workers"),
        ("common slowdowns", "common slowdowns"),
        ("clustered stalls", "rare stalls"),
    ],
)
def test_each_regime_is_recognised(regime, expected):
    frame = synthetic_traces.REGIMES[regime](np.random.default_rng(0))
    found = diagnose(table(traces.from_frame(frame)))
    assert found.regime == expected
    assert expected in found.sentences[0]
    shares = (found.worker_share, found.round_share, found.stall_share, found.residual_share)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) >= 0


def test_shares_are_those_of_the_variances():
    """Worker 2, round 1 and rest 1 in variance."""
    rng = np.random.default_rng(1)
    rounds, n = 400, 100
    x = 100 + np.sqrt(2) * rng.standard_normal(n) + rng.standard_normal((rounds, 1)) + rng.standard_normal((rounds, n))
    found = diagnosis_of(x)
    assert found.worker_share == pytest.approx(0.5, abs=0.15)  # of 100 workers: 14 % of the variance
    assert found.round_share == pytest.approx(0.25, abs=0.08)
    assert found.stalls == 0


def test_pure_noise_has_no_worker_or_round_share():
    """A plain sum of squares would give 2 workers half of the variance of the rounds."""
    found = diagnosis_of(1 + 0.1 * np.random.default_rng(2).standard_normal((2000, 2)))
    assert found.worker_share < 0.01
    assert found.round_share < 0.1
    assert found.residual_share > 0.9


def test_stalls_are_counted_by_their_share_length_and_clustering():
    rng = np.random.default_rng(3)
    x = np.exp(0.05 * rng.standard_normal((500, 10)))
    alone = rng.random(x.shape) < 0.02
    together = (rng.random((500, 1)) < 0.1) & (rng.random(x.shape) < 0.2)
    one, many = diagnosis_of(np.where(alone, 6, 1) * x), diagnosis_of(np.where(together, 6, 1) * x)
    assert one.stalls == alone.mean()
    assert one.stall_factor == pytest.approx(6, rel=0.05)
    assert one.clustering < 1.5
    assert many.stalls == pytest.approx(together.mean(), rel=0.1)  # half of the workers at once: a slow round
    assert many.clustering > 2
    assert "several workers at once" in many.sentences[3]


def test_a_level_shift_is_no_memory():
    rng = np.random.default_rng(4)
    window = np.repeat([0, 1, 2], 20)
    shifted = np.array([1.2, 1.0, 1.0])[window][:, None] * np.exp(0.02 * rng.standard_normal((60, 4)))
    found = diagnosis_of(shifted, window)
    assert found.shifted
    assert found.correlation_time == 1
    assert "window 0 is" in found.sentences[2]
    assert not diagnosis_of(shifted / np.array([1.2, 1.0, 1.0])[window][:, None], window).shifted


def test_memory_is_seen():
    frame = synthetic_traces.common_slowdowns(np.random.default_rng(5), num=400, persistence=0.8)
    found = diagnose(table(traces.from_frame(frame, warmup=0)))
    assert 4 < found.correlation_time < 16  # (1 + .8) / (1 - .8) = 9
    assert "clusters" in found.sentences[2]


def test_the_tail_index_is_found():
    rng = np.random.default_rng(6)
    assert diagnosis_of(1 / rng.random((500, 20)) ** (1 / 2.5)).tail_index == pytest.approx(2.5, rel=0.2)
    assert diagnosis_of(1 + 0.1 * rng.random((500, 20))).tail_index > 10


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2)])
@pytest.mark.parametrize("equal", [True, False])
def test_the_smallest_traces_have_a_regime(shape, equal):
    x = np.ones(shape) if equal else 1 + np.arange(np.prod(shape), dtype=float).reshape(shape)
    found = diagnosis_of(x)
    assert np.isfinite([found.worker_share, found.round_share, found.stall_share, found.residual_share]).all()
    assert all(found.sentences)


def test_effects_multiply_back():
    rng = np.random.default_rng(7)
    x = np.exp(rng.standard_normal((30, 5)))
    x[3, 2] = np.nan
    parts = effects(x)
    assert np.allclose(parts.worker * parts.round[:, None] * parts.residual, x, equal_nan=True)


def test_stale_attempts_are_lined_up_by_worker():
    trace = traces.from_frame(synthetic_traces.k_async(np.random.default_rng(8)), warmup=0)
    data = table(trace)
    assert data.lined_up
    mine = trace.attempts[trace.attempts["worker"] == 2]["seconds"].to_numpy()
    assert np.array_equal(data.seconds[:, 2], mine[: len(data.seconds)])
    assert data.observed.all()


def test_what_was_given_up_early_may_have_been_a_stall():
    rng = np.random.default_rng(7)
    seconds, observed = 1 + 0.1 * rng.random((50, 4)), np.ones((50, 4), dtype=bool)
    assert diagnose(RoundTable(seconds, observed, np.zeros(50, dtype=np.int64)))._stalls() == "No stalls were seen."
    observed[:20, 0] = False  # given up as early as others arrive
    found = diagnose(RoundTable(seconds, observed, np.zeros(50, dtype=np.int64)))
    assert found._stalls() == (
        "No stalls were seen; 10.0 % of the attempts were given up before a stall would show, so between 0.0 and 10.0 "
        "% of the attempts are stalls."
    )
    seconds[:10, 0] = 9.0  # these were given up after the time of a stall
    found = diagnose(RoundTable(seconds, observed, np.zeros(50, dtype=np.int64)))
    assert (found.known_stalls, found.perhaps_stalls) == (0.05, 0.05)
    assert "between 5.0 and 10.0 % of the attempts are stalls" in found._stalls()


def test_restarts_hide_stalls():
    """Of 10 % stalls, most are restarted before they can be told."""
    tables = simulate(
        protocols.abs_sgd(3, 2), TimingOnly(), STALLS, 8, step_size=1.0, num_updates=400, seed=3, jobs=True
    )
    found = plan(traces.from_frame(as_trace(*tables))).diagnosis
    assert found.perhaps_stalls > 0.1
    assert found.known_stalls <= 0.1 <= found.known_stalls + found.perhaps_stalls
