"""What a policy may use, and what is decided: k, the threshold, the step size, the local steps."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from abs_theory.checks import is_finite, is_integer
from simulations.measuring import Measured


class Progress(NamedTuple):
    """What a server knows when it decides: everything that a policy may use.

    >>> start = Progress(
    ...     n=20, updates=0, time=0.0, decided=0.0, k=1, max_staleness=3, mean_staleness=0.0, loss=1.0, initial_loss=1.0
    ... )
    >>> start._replace(updates=1, loss=0.8).loss
    0.8
    """

    n: int  #: workers
    updates: int  #: made so far
    time: float  #: seconds
    decided: float  #: time of the last decision, seconds
    k: int  #: in force until now
    max_staleness: float  #: in force until now
    mean_staleness: float  #: of the gradients of the last update
    loss: float  #: running average over the mini-batches of accepted gradients
    initial_loss: float  #: F(w_0)
    k_updates: int = 0  #: updates since k last changed
    k_reversals: int = 0  #: among these, steps against the one before minus steps along it (Pflug)
    local_steps: int = 1  #: in force until now; 1 at the start if a policy decides them
    step_size: float = 0.0  #: in force until now; 0 before the first decision
    measured: Measured | None = None  #: by the server, for policies whose attribute ``measures`` is true


Policy = float | None | Callable[[Progress], float | None]  # None: no threshold


def check_policy(name: str, policy: object) -> None:
    """Raise ValueError if ``policy`` cannot be one: a function that makes policies, several together, or a protocol.

    What it decides is checked when it decides.

    >>> from simulations.policies import relative_to_mean
    >>> check_policy("max_staleness", relative_to_mean())
    >>> check_policy("max_staleness", relative_to_mean)
    Traceback (most recent call last):
    ...
    ValueError: max_staleness must be a number or a policy, relative_to_mean makes one: call it, relative_to_mean(...)
    """
    must = f"{name} must be a number or a policy"
    maker, decides = maker_of(policy), getattr(policy, "decides", name)
    if maker is not None:
        kind = "one" if maker.makes == "policies" else "a protocol"
        raise ValueError(f"{must}, {maker.name} makes {kind}{f': call it, {maker.name}(...)' if kind == 'one' else ''}")
    if hasattr(policy, "on_arrival"):
        raise ValueError(f"{must}, got a protocol")
    if isinstance(decides, tuple):
        one = name if name in decides else decides[0]
        raise ValueError(f"{must}, self_tuning() is {len(decides)} of them: give one, as self_tuning().{one}")
    if isinstance(decides, str) and decides != name:
        raise ValueError(f"{must} for it, got the policy of {decides}")
    if callable(policy) and not _takes_progress(policy):
        raise ValueError(
            f"{must}, a function of one argument, the Progress of a run: lambda progress: 2; got {policy!r}"
        )


def _takes_progress(policy: Callable[..., object]) -> bool:
    """Whether it can be called with one argument; True if it does not say what it takes."""
    try:
        inspect.signature(policy).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


class Maker(NamedTuple):
    """A function of the package that makes policies or protocols."""

    name: str  #: of the function
    makes: str  #: "policies" or "protocols"


def maker_of(value: object) -> Maker | None:
    """What ``value`` makes, if it is a function that makes policies or protocols; None for a policy itself.

    >>> from simulations.protocols import k_sync
    >>> maker_of(k_sync), maker_of(k_sync(3))
    (Maker(name='k_sync', makes='protocols'), None)
    """
    if not inspect.isfunction(value) or "<locals>" in value.__qualname__:
        return None
    place = (value.__module__ or "").split(".")  # a function made by exec may have no module
    is_policy = next(iter(inspect.signature(value).parameters), None) == "progress"
    if place[0] != "simulations" or place[1] not in ("policies", "protocols") or is_policy:
        return None
    return Maker(value.__name__, place[1])


class Decisions:
    """The policies of a run and what they have decided; every policy is evaluated once per update, and checked.

    The order is ``k``, ``max_staleness`` (which sees the new k), ``step_size``, ``local_steps``.
    """

    def __init__(self, k: Policy, max_staleness: Policy, step_size: Policy, local_steps: Policy, most: float):
        self.policies = (k, max_staleness, step_size, local_steps)
        self.most = most  # of k
        self.moving = any(callable(policy) for policy in self.policies)
        self.measuring = any(getattr(policy, "measures", False) for policy in self.policies)
        self.k, self.max_staleness, self.step_size = 1, math.inf, 0.0
        self.local_steps = 1 if callable(local_steps) or local_steps is None else int(local_steps)
        self.decided = 0.0
        self.k_updates = self.k_reversals = 0
        self.last_step: np.ndarray | None = None  # if a policy may ask about it

    @property
    def in_force(self) -> tuple[float, ...]:
        """All numbers that have been decided, and what they were decided from; they can be set to go on."""
        return (
            self.k, self.max_staleness, self.step_size, self.local_steps, self.decided, self.k_updates,
            self.k_reversals,
        )  # fmt: skip

    @in_force.setter
    def in_force(self, values: tuple[float, ...]) -> None:
        k, self.max_staleness, self.step_size, local_steps, self.decided, updates, reversals = values
        self.k, self.local_steps, self.k_updates, self.k_reversals = (
            int(k),
            int(local_steps),
            int(updates),
            int(reversals),
        )

    def watch(self, step: np.ndarray) -> None:
        """Note whether this step opposes the previous one; only policies that are functions can ask."""
        if not self.moving:
            return
        if self.last_step is not None:
            product = float(np.dot(step, self.last_step))
            self.k_reversals += (product < 0) - (product > 0)
        self.last_step = step
        self.k_updates += 1

    def decide(
        self,
        n: int,
        updates: int,
        time: float,
        mean_staleness: float,
        loss: float,
        initial_loss: float,
        measured: Measured | None = None,
    ) -> None:
        """Evaluate the policies.  Raises ValueError if a decision is no valid number."""
        progress = Progress(
            n, updates, time, self.decided, self.k, self.max_staleness, mean_staleness, loss, initial_loss,
            self.k_updates, self.k_reversals, self.local_steps, self.step_size, measured,
        )  # fmt: skip
        k_policy, bound_policy, step_policy, local_policy = self.policies
        k = _value(k_policy, progress)
        if not (is_finite(k) and 1 <= k <= self.most and k == int(k)):
            numbers, workers = ("in 1..n", f" with n={n} workers") if self.most == n else (">= 1", "")
            raise ValueError(f"k must be a whole number {numbers}, {_gave(k_policy)} k={k!r}{workers}")
        if not (callable(k_policy) or is_integer(k_policy)):
            raise ValueError(f"k must be an integer or a policy, got k={k!r}: write {int(k)}")
        if k != self.k:
            self.k_updates = self.k_reversals = 0
        progress = progress._replace(k=int(k))
        bound = _value(bound_policy, progress)
        if bound is None:
            bound = math.inf
        if not ((is_finite(bound) or bound == math.inf) and bound >= 0):
            raise ValueError(f"max_staleness must be >= 0 or math.inf, {_gave(bound_policy)} {bound!r}")
        step = _value(step_policy, progress)
        if not (is_finite(step) and step > 0):
            raise ValueError(f"step_size must be finite and > 0, {_gave(step_policy)} {step!r}")
        local_steps = _value(local_policy, progress)
        if not (is_finite(local_steps) and local_steps >= 1 and local_steps == int(local_steps)):
            raise ValueError(f"local_steps must be a whole number >= 1, {_gave(local_policy)} {local_steps!r}")
        self.k, self.max_staleness, self.step_size, self.local_steps = progress.k, bound, step, int(local_steps)
        self.decided = time


def _value(policy: Policy, progress: Progress) -> Any:
    """What a policy decides; a number decides itself."""
    return policy(progress) if callable(policy) else policy


def _gave(policy: Policy) -> str:
    return "its policy gave" if callable(policy) else "got"
