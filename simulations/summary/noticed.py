"""Notices where a run is likely to disappoint: what was seen, and what usually helps."""

import inspect
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import pandas as pd

from abs_theory.checks import explains_types
from simulations import protocols
from simulations.record import diverged, rises
from simulations.summary.cell_results import CellRuns, Target, cells_of, in_words, unused_share
from simulations.sweeps import Sweep, execution

__all__ = ["first_tasks", "notices"]

RISE = 2.0  # times its first evaluation, above which a final loss has not only fluctuated
MUCH_UNUSED = 0.5  # share of the computing: most of it
MOST_UPDATES, MOST_GRADIENTS = 200, 2000  # that are computed again to see which worker did what
FEWEST_UPDATES = 10  # nor fewer than these
FEWEST_TASKS_EACH = 4  # gradients of an average worker, below which nobody is said to be unheard


@explains_types
def notices(sweep: Sweep, outcome: execution.Outcome, target: Target | None = None) -> list[str]:
    """What should be known before the numbers of a sweep are believed; one line each, none if all is well.

    A notice says that runs diverged or their loss rose, that most of the computing was not used, that the gradients of
    some workers were never applied, or that runs did not reach the ``target``.  Unless an experiment keeps its table of
    tasks, its first replicate is computed again up to update 200 at most, to see which workers are heard.

    >>> base = {"n": 4, "delay": ["exponential:mean=1", "exponential:mean=1", "exponential:mean=1",
    ...         "exponential:mean=1000"], "problem": "TimingOnly", "protocol": {"name": "k_sync", "k": 3},
    ...         "step_size": 1.0, "num_updates": 100, "seed": 0}
    >>> from simulations.sweeps import run_sweep
    >>> sweep = Sweep(base)
    >>> print(*notices(sweep, run_sweep(sweep, n_jobs=1)))
    k_sync: no gradient of worker 3 was applied in the first 100 updates: its data is not learned from; raise \
k, or leave it out
    """
    lines: dict[str, list[str]] = {}
    cells = list(cells_of(sweep, outcome))
    for cell in cells:
        for line in _of_cell(cell, target):
            lines.setdefault(line, []).append(cell.short)
    return [f"{_together(names, len(cells) > 1)}: {line}" for line, names in lines.items()]


def first_tasks(cell: CellRuns) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Updates and tasks of the first finished replicate of a cell; the first updates of it if it is computed again."""
    if not cell.finished or cell.rounds.empty:
        return None
    replicate = int(cell.rounds["replicate"].iloc[0])
    if cell.tasks is not None:
        return cell.rounds[cell.rounds["replicate"] == replicate], cell.tasks[cell.tasks["replicate"] == replicate]
    own = cell.rounds[cell.rounds["replicate"] == replicate]
    per_update = max(float(own["used"].mean()), 1.0)
    updates = min(MOST_UPDATES, max(int(MOST_GRADIENTS / per_update), FEWEST_UPDATES), len(own))
    shorter = replace(
        cell.experiment, jobs=True, num_updates=updates, eval_every=math.inf, target=None, replicates=[replicate]
    )
    return cast(tuple[pd.DataFrame, pd.DataFrame], shorter.run(n_jobs=1))


def _of_cell(cell: CellRuns, target: Target | None) -> Iterator[str]:
    rounds, runs = cell.rounds, len(cell.finished)
    if rounds.empty:
        return
    to_wait, to_bound = _knobs(cell)
    if infinite := int(diverged(rounds).sum()):
        more = (f"raise {to_wait}" if to_wait else "", f"lower {to_bound}" if to_bound else "")
        yield f"{infinite} of {runs} runs diverged: {', or '.join(filter(None, ('lower step_size', *more)))}"
    losses = rounds.dropna(subset="loss").groupby("replicate")["loss"]
    rose = int((np.isfinite(losses.last()) & (losses.last() > RISE * losses.first())).sum())
    if rose:
        yield f"in {rose} of {runs} runs the loss rose, to more than {RISE:g} times its first value: lower step_size"
    share = unused_share(rounds, cell.experiment.n)
    if share > MUCH_UNUSED:
        happened = [column for column in ("restarts", "discarded") if rounds[column].sum() > 0]
        cures = [_cure(column, to_wait, to_bound) for column in happened]
        cures = cures or ["check how long workers stay, and what is cut off"]
        yield f"{100 * share:.0f} % of the computing was not used: {'; '.join(cures)}"
    yield from _unheard(cell)
    if target is not None and target[0] in rounds:
        column, level = target
        best = rounds.groupby("replicate")[column].agg("max" if rises(column) else "min")
        missed = runs - int((best >= level).sum() if rises(column) else (best <= level).sum())
        if missed:
            value = best.max() if rises(column) else best.min()
            yield (
                f"{missed} of {runs} runs did not reach {in_words(target)} (the best value of any is {value:.4g}): "
                "give them more time, or another step_size"
            )


TO_WAIT = ("k", "batch", "buffer")  # what protocols call the gradients that an update waits for
TO_BOUND = {"ringmaster": "threshold"}  # and the staleness that they allow; others: max_staleness


def _knobs(cell: CellRuns) -> tuple[str, str]:
    """What the protocol calls the number of gradients to wait for, and the staleness it allows; "" if it has none."""
    table = cell.experiment.protocol
    name, arguments = (table, {}) if isinstance(table, str) else (str(table["name"]), table)
    factory = getattr(protocols, name, None)
    known = {*arguments, *(inspect.signature(factory).parameters if callable(factory) else ())}
    to_bound = TO_BOUND.get(name, "max_staleness")
    return next((knob for knob in TO_WAIT if knob in known), ""), to_bound if to_bound in known else ""


def _cure(column: str, to_wait: str, to_bound: str) -> str:
    """What may help if this happened."""
    if column == "restarts":
        knob = to_bound or to_wait
        otherwise = f", else raise {knob}" if knob else ""
        return f"workers restart; where stalls are rare and long this saves time{otherwise}"
    knobs = " or ".join(filter(None, (to_wait, to_bound)))
    return f"gradients are discarded; raise {knobs}" if knobs else "gradients are discarded, as the protocol demands"


def _unheard(cell: CellRuns) -> Iterator[str]:
    """The workers whose gradients were never applied, if the others have delivered several times."""
    pair = first_tasks(cell)
    if pair is None:
        return
    rounds, tasks = pair
    applied = tasks[tasks["outcome"] == "applied"]
    n = cell.experiment.n
    unheard = sorted(set(range(n)) - set(applied["worker"]))
    if unheard and len(applied) >= FEWEST_TASKS_EACH * n:
        numbers = [str(worker) for worker in unheard[:5]] + (["..."] if len(unheard) > 5 else [])
        which = f"worker {numbers[0]}" if len(unheard) == 1 else f"{len(unheard)} workers ({', '.join(numbers)})"
        data, one = ("its data is", "it") if len(unheard) == 1 else ("their data are", "them")
        to_wait, to_bound = _knobs(cell)
        cures = [f"raise {' or '.join(filter(None, (to_bound, to_wait)))}, or "] if to_wait or to_bound else []
        yield (
            f"no gradient of {which} was applied in the first {len(rounds)} updates: {data} not learned from; "
            f"{''.join(cures)}leave {one} out"
        )


def _together(names: list[str], numbered: bool) -> str:
    if len(names) == 1:
        return f"cell {names[0]}" if numbered else names[0]
    return f"{len(names)} cells ({'; '.join(names[:3])}{' ...' * (len(names) > 3)})"
