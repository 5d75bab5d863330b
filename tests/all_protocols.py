"""Every protocol, ready to run with ``N`` workers: the contract tests go over this table."""

from typing import NamedTuple

from abs_theory.bounds import Constants
from abs_theory.delays import Exponential, Uniform
from simulations import policies, protocols
from simulations.server import Protocol

N = 6
LAW = Exponential(1.0)
CONSTANTS = Constants(L=2.0, sigma2=0.5, gap=1.65, c=0.3)  # of the quadratic they train on


class Case(NamedTuple):
    """A protocol, the local steps of its run, and how many workers are busy at an update: "n - k", "n - 1" or ""."""

    protocol: Protocol
    busy: str = ""
    local_steps: int = 1


def growing_k(progress):
    return min(progress.n, 1 + progress.updates // 5)


def moving_k(progress):
    return 1 + (7 * progress.updates) % progress.n


def moving_bound(progress):
    return (3 * progress.updates) % 4


WAITING = {  # a worker that has delivered waits for the update
    "synchronous": protocols.synchronous(),
    "backup_workers": protocols.backup_workers(2),
    "k_sync": protocols.k_sync(3),
    "asynchronous": protocols.asynchronous(),
    "k_async": protocols.k_async(2),
    "k_async, moving k": protocols.k_async(moving_k),
    "abs_sgd": protocols.abs_sgd(2, 1),
    "abs_sgd, growing k, relative": protocols.abs_sgd(growing_k, policies.relative_to_mean()),
    "abs_sgd, both moving": protocols.abs_sgd(moving_k, moving_bound),
    "abs_sgd, loss ratio": protocols.abs_sgd(policies.loss_ratio(1), policies.relative_to_mean(2.0)),
    "adasync": protocols.adasync(LAW, N, 1),
    "adasync, k_sync": protocols.adasync(LAW, N, 2, variant="k_sync"),
    "self_tuning_abs": protocols.self_tuning_abs(),
    "staleness_aware_adasync": protocols.staleness_aware_adasync(LAW, N, 1),
    "fastest_k": protocols.fastest_k(CONSTANTS, 0.1, LAW, N),
    "fastest_k_pflug": protocols.fastest_k_pflug(1, threshold=2, burn_in=4),
    "delay_adaptive": protocols.delay_adaptive(),
    "ringmaster": protocols.ringmaster(3),
}

GOING_ON = {  # a worker that has delivered goes on at once
    "k_batch_sync": protocols.k_batch_sync(8),
    "k_batch_async": protocols.k_batch_async(4),
    "k_batch_async, moving k": protocols.k_batch_async(moving_k),
    "adasync, k_batch_sync": protocols.adasync(LAW, N, 1, variant="k_batch_sync"),
    "adasync, k_batch_async": protocols.adasync(LAW, N, 1, variant="k_batch_async"),
    "staleness_aware": protocols.staleness_aware(2),
    "delay_dropping": protocols.delay_dropping(),
    "abs_batch": protocols.abs_batch(3, 1),
    "abs_batch, dropping": protocols.abs_batch(2, 2, in_flight=False),
    "admission, all workers busy": protocols.admission(5, 1),
    "rennala": protocols.rennala(8),
    "ringmaster, without stops": protocols.ringmaster(3, stops=False),
    "ringleader": protocols.ringleader(),
}

CASES = (
    {name: Case(protocol, "n - k") for name, protocol in WAITING.items()}
    | {name: Case(protocol, "n - 1") for name, protocol in GOING_ON.items()}
    | {
        "admission": Case(protocols.admission(2, 1)),
        "admission, in order": Case(protocols.admission(2, 2, window=1)),
        "admission, window": Case(protocols.admission(3, 1, window=3)),
        "tail_batching": Case(protocols.tail_batching(4)),
        "ssp": Case(protocols.ssp(2)),
        "mindflayer": Case(protocols.mindflayer(Uniform(0.0, 2.0), N, trials=2, cut_off=1.0)),
        "fedbuff": Case(protocols.fedbuff(4), "n - 1", local_steps=3),
        "local_sgd": Case(protocols.local_sgd(), "n - k", local_steps=3),
        "adacomm": Case(protocols.adacomm(4), "n - k"),
        "stsyn": Case(protocols.stsyn(3), local_steps=3),
    }
)

WHOLE = [name for name, case in CASES.items() if not case.protocol.keeps_going]  # they ask for no partial work


def same_iterates(run, tasks):
    """Whether a live run must have the models of the simulated one, whose ``tasks`` these are.

    Tasks of several steps of one worker in one update draw their mini-batches in turn when they are simulated.
    """
    applied = tasks[tasks["applied_version"] > 0]
    return run.one_step or not applied.duplicated(["applied_version", "worker"]).any()
