"""The statistical assertions: a known rate of false alarms, and a sample that could have raised a true one."""

from scipy.stats import t

from abs_theory.monte_carlo import Estimate

FALSE_FAIL_RATE = 1e-6  # of one assertion, whatever the number of samples


def noise(estimate: Estimate) -> float:
    """Largest error of the estimate that is put down to chance; replicates are few, so Student's t."""
    return float(t.isf(FALSE_FAIL_RATE / 2, estimate.num_samples - 1)) * estimate.stderr


def assert_agrees(estimate: Estimate, expected: float, resolution: float = 0.01) -> None:
    """Fail if ``estimate`` contradicts an exact ``expected``, or is too noisy to contradict it."""
    assert_resolves(estimate, resolution * abs(expected))
    difference = estimate.mean - expected
    assert abs(difference) <= noise(estimate), (
        f"{estimate.mean:.6g} is {abs(difference) / estimate.stderr:.1f} stderr from {expected:.6g}"
    )


def assert_within(estimate: Estimate, expected: float, stated: float, cap: float, resolution: float) -> None:
    """Fail unless an approximate ``expected`` errs by at most ``stated``, itself at most ``cap``; all absolute."""
    assert 0 <= stated <= cap, f"stated error {stated:.3g} is above its cap {cap:.3g}"
    assert_resolves(estimate, resolution)
    difference = estimate.mean - expected
    assert abs(difference) <= stated + noise(estimate), (
        f"{expected:.6g} is {abs(difference):.3g} from {estimate.mean:.6g} +- {estimate.stderr:.2g}, "
        f"but its stated error is {stated:.3g}"
    )


def assert_resolves(estimate: Estimate, difference: float) -> None:
    """Fail if ``estimate`` is too noisy to tell a ``difference`` from nothing."""
    assert 2 * noise(estimate) <= difference, (
        f"too weak: stderr {estimate.stderr:.1e} of {estimate.num_samples} samples cannot resolve {difference:.2e}"
    )
