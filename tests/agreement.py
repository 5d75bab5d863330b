"""Statistical assertions: the rate of false alarms is known, and the sample is large enough to find a true error."""

from scipy.stats import t

from abs_theory.monte_carlo import Estimate

FALSE_FAIL_RATE = 1e-6  # of one assertion, for any number of samples


def noise(estimate: Estimate) -> float:
    """The largest error of the estimate that chance explains, by Student's t because replicates are few."""
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
    """Fail if ``estimate`` is too noisy to show a ``difference`` of this size."""
    assert 2 * noise(estimate) <= difference, (
        f"too weak: stderr {estimate.stderr:.1e} of {estimate.num_samples} samples cannot resolve {difference:.2e}"
    )
