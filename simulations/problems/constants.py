"""Constants of a real problem, estimated along a training run, as error bounds and the optimizer need them.

The estimates hold for the path of this run, not beyond it.  A bound needs the largest values along the path and the gap
to the least loss.  A prediction needs averages along the path up to its target.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import minimize
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from abs_theory.bounds import Constants
from abs_theory.checks import check_count, is_finite
from abs_theory.results import Estimate
from simulations.problems import batches
from simulations.problems.base import Problem
from simulations.streams import streams
from simulations.threads import one_thread

RELATIVE_STEP = 1e-5  # of the central difference over 1 + |w|: about the cube root of the rounding error
NOISE_DIRECTIONS = 32  # samples of the noise along which the curvature is measured
SMALLEST_CURVATURE = 1e-300  # taken for 0, so that a step is finite
RELATIVE_ACCURACY = 1e-3  # of the largest curvature, much less than it varies along a path
MOST_DESCENT_STEPS = 500  # of L-BFGS in search of the least loss


@runtime_checkable
class Differentiable(Problem, Protocol):
    """A problem that can also compute its gradient over all data."""

    def gradient(self, params: np.ndarray) -> np.ndarray:
        """grad F(w), shape (d,)."""
        ...


@dataclass(frozen=True, eq=False)
class Estimated:
    """Estimated constants and their errors."""

    constants: Constants  #: L and sigma2: the largest along the path; gap: to the least loss that was found
    L_error: float  #: half-width: |true largest curvature at that point - L|
    sigma2_error: float  #: half-width of the 95 % interval at that point
    largest_gap: float  #: F(w_0) minus the lower bound of the loss; the true gap is between constants.gap and this
    path: pd.DataFrame  #: one row per point, see ``estimate`` for its columns

    def target_at(self, loss: float) -> float:
        """The ``target`` that corresponds to a ``loss``: the mean of |grad F|^2 from w_0 to where the path reaches it.

        Raises ValueError if the path does not reach this loss.
        """
        return float(np.interp(self._flow_at("loss", loss), self.path["flow"], self.path["mean_gradient_norm2"]))

    def typical(self, target: float) -> Constants:
        """Constants for predictions: averages from w_0 to where the mean of |grad F|^2 has fallen to ``target``.

        L is the mean of the largest curvature, the gap is the decrease of the loss up to there.
        Raises ValueError if the path does not reach the target.
        """
        end, path = self._flow_at("mean_gradient_norm2", target), self.path
        flow = np.append(path["flow"][path["flow"] < end], end)

        def average(values: pd.Series) -> float:
            return float(np.trapezoid(np.interp(flow, path["flow"], values), flow) / end)

        sigma2 = average(path["sigma2"])
        curvature, curvature2 = (
            average(path["sigma2"] * path[name]) for name in ("noise_curvature", "noise_curvature2")
        )
        return Constants(
            average(path["curvature"]),
            sigma2,
            float(path["loss"].iloc[0] - np.interp(end, path["flow"], path["loss"])),
            noise_curvature=curvature / sigma2 if sigma2 else None,
            noise_curvature2=curvature2 / sigma2 if sigma2 else None,
        )

    def _flow_at(self, column: str, level: float) -> float:
        """The flow at which a ``column`` of the path first falls to ``level``."""
        lowest = self.path[column].cummin()
        if not (is_finite(level) and lowest.iloc[-1] <= level < lowest.iloc[0]):
            raise ValueError(
                f"{column} falls from {lowest.iloc[0]:.4g} to {lowest.iloc[-1]:.4g} along the path, it does not get to "
                f"{level}; more num_updates make the path longer"
            )
        return float(np.interp(-level, -lowest, self.path["flow"]))


def estimate(
    problem: Differentiable, n: int, *, seed: int, num_updates: int = 256, samples: int = 1000, loss_floor: float = 0.0
) -> Estimated:
    """Constants of ``problem`` trained by ``n`` workers, at w_0 and after 1, 2, 3, 4, 6, 8, 12, ... updates.

    Each update of the path averages n gradients, with step 1 / (largest curvature so far).  Columns of the path:

    - update, flow (sum of the step sizes), loss, gradient_norm2 = |grad F|^2, mean_gradient_norm2 (over the flow);
    - curvature: the largest absolute eigenvalue of the Hessian H, by Lanczos iteration on central differences of the
      gradient; curvature_error: the norm of the residual, which bounds the distance to an eigenvalue;
    - sigma2 = E|x|^2 with x = g - grad F, from ``samples`` mini-batch gradients of workers taken in turn, and
      sigma2_error, the half-width of its 95 % interval;
    - noise_curvature = E[x'Hx] / E|x|^2 and noise_curvature2 = E|Hx|^2 / E|x|^2, from 32 of the x.

    The least loss is the smallest that the path or L-BFGS finds.  Problems in single precision are estimated in double
    precision.  c is the problem's ``strong_convexity`` if it has one, else 0.  If workers hold different data, sigma2
    is that of a worker drawn at random, so it includes the spread between workers.

    Cost: about 100 gradients over all data and ``samples`` mini-batches per point, at 2 log2(num_updates) points.
    Source: Lehoucq, Sorensen & Yang (1998, ARPACK); Nocedal & Wright (2006), ch. 7, for L-BFGS.
    Raises ValueError for a problem without ``gradient(params)``, and if training diverges.

    >>> from simulations.problems import NoisyQuadratic
    >>> estimated = estimate(NoisyQuadratic((1.0, 3.0), sigma2=0.5), 4, seed=0, num_updates=8)
    >>> round(estimated.constants.L, 3), round(estimated.constants.gap, 1)
    (3.0, 2.0)
    """
    if isinstance(problem, type) or not isinstance(problem, Differentiable) or not len(problem.initial):
        raise ValueError(f"problem must have a gradient(params) over all its data and parameters, got {problem!r}")
    check_count("n", n)
    if getattr(problem, "n", n) != n:
        raise ValueError(f"the problem splits its data among {getattr(problem, 'n', None)} workers, got n={n}")
    check_count("num_updates", num_updates)
    check_count("samples", samples, minimum=2)
    if not is_finite(loss_floor):
        raise ValueError(f"loss_floor must be a finite lower bound of the loss, got {loss_floor!r}")
    if getattr(problem, "dtype", None) == "float32":
        problem = replace(problem, dtype="float64")  # pyright: ignore[reportArgumentType]
    with one_thread():  # the same bits on any number of cores
        path = _path(problem, n, num_updates, samples, seed)
    if not np.isfinite(path.to_numpy()).all():
        raise ValueError(f"training diverged, no constants can be estimated; last loss {path['loss'].iloc[-1]}")
    end = minimize(
        problem.loss, problem.initial, jac=problem.gradient, method="L-BFGS-B", options={"maxiter": MOST_DESCENT_STEPS}
    )
    first, best = path["loss"].iloc[0], min(path["loss"].min(), float(end.fun))
    if best < loss_floor:
        raise ValueError(
            f"loss_floor must be a lower bound of the loss, got {loss_floor}, but a loss of {best} was found"
        )
    steepest, noisiest = (path.iloc[int(path[name].argmax())] for name in ("curvature", "sigma2"))
    L = float(steepest["curvature"])
    c = min(getattr(problem, "strong_convexity", 0.0), L)
    return Estimated(
        Constants(L, float(noisiest["sigma2"]), float(first - best), c),
        float(steepest["curvature_error"]),
        float(noisiest["sigma2_error"]),
        float(first - loss_floor),
        path,
    )


def _path(problem: Differentiable, n: int, num_updates: int, samples: int, seed: int) -> pd.DataFrame:
    path_rngs, noise_rngs = streams(seed, 0, "batch", n), streams(seed, 1, "batch", n)
    points = {0, 1, num_updates} | {m << j for m in (2, 3) for j in range(num_updates.bit_length())}
    params, rows, largest, flow = problem.initial.copy(), [], 0.0, 0.0
    for update in range(num_updates + 1):
        if update in points:
            rows.append({"update": update, "flow": flow, **_point(problem, params, n, noise_rngs, samples)})
            largest = max(largest, rows[-1]["curvature"])
        step = 1 / max(largest, SMALLEST_CURVATURE)
        _, gradients = problem.gradients(np.repeat(params[None], n, axis=0), list(range(n)), path_rngs)
        params, flow = params - step * gradients.mean(axis=0), flow + step
    path = pd.DataFrame(rows)
    total = cumulative_trapezoid(path["gradient_norm2"], path["flow"], initial=0)
    mean = np.divide(total, path["flow"], out=path["gradient_norm2"].to_numpy(copy=True), where=path["flow"] > 0)
    return path.assign(mean_gradient_norm2=mean)


def _point(problem: Differentiable, params: np.ndarray, n: int, rngs: Any, samples: int) -> dict[str, float]:
    slope = problem.gradient(params)
    norms, directions, stride = [], [], -(-samples // NOISE_DIRECTIONS)
    for rows in batches.chunks(samples, slope.nbytes, batches.PASS_BYTES):
        turns = range(samples)[rows]
        workers = [turn % n for turn in turns]
        models = np.repeat(params[None], len(workers), axis=0)
        x = problem.gradients(models, workers, [rngs[worker] for worker in workers])[1] - slope
        norms.append(np.square(x).sum(axis=1))
        directions.append(x[-turns.start % stride :: stride])
    sigma2 = Estimate.of(np.concatenate(norms))
    h = RELATIVE_STEP * (1 + float(np.linalg.norm(params)))

    def hessian_times(v: np.ndarray) -> np.ndarray:
        v = v.ravel()
        length = float(np.linalg.norm(v))
        if length == 0:
            return v
        ahead, behind = (problem.gradient(params + sign * h / length * v) for sign in (1, -1))
        return (ahead - behind) * (length / (2 * h))

    noise = np.concatenate(directions)
    hessian_noise = np.array([hessian_times(x) for x in noise])
    norm2 = float(np.square(noise).sum()) or 1.0
    curvature, error = _largest_eigenvalue(hessian_times, len(params))
    return {
        "loss": problem.loss(params),
        "gradient_norm2": float(slope @ slope),
        "curvature": curvature,
        "curvature_error": error,
        "sigma2": sigma2.mean,
        "sigma2_error": sigma2.half_width(),
        "noise_curvature": float((noise * hessian_noise).sum()) / norm2,
        "noise_curvature2": float(np.square(hessian_noise).sum()) / norm2,
    }


def _largest_eigenvalue(hessian_times: Callable[[np.ndarray], np.ndarray], d: int) -> tuple[float, float]:
    """Largest absolute eigenvalue of a symmetric matrix, and the norm of the residual of its eigenvector."""
    if d == 1:
        return abs(float(hessian_times(np.ones(1))[0])), 0.0
    start = np.random.default_rng(0).standard_normal(d)
    try:
        hessian = LinearOperator((d, d), matvec=hessian_times, dtype=float)  # pyright: ignore
        values, vectors = eigsh(hessian, k=1, which="LM", v0=start, tol=RELATIVE_ACCURACY)  # pyright: ignore[reportArgumentType]
    except ArpackNoConvergence as failure:
        raise ArithmeticError(f"the largest curvature was not found: {failure}") from failure
    vector = vectors[:, 0]
    return abs(float(values[0])), float(np.linalg.norm(hessian_times(vector) - values[0] * vector))
