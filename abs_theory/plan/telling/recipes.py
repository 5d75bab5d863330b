"""What to type: a plan as code or settings of the usual frameworks, and what each framework cannot do.

The names of functions and options were looked up in the version that each recipe states.
"""

import math
import string
from dataclasses import dataclass, replace

from abs_theory import rollouts
from abs_theory.checks import explains_types
from abs_theory.delays import Exponential
from abs_theory.plan.result import Plan

__all__ = ["RECIPES", "Recipe", "recipe"]


@dataclass(frozen=True)
class Recipe:
    """Code or settings for one framework; the texts are filled in by ``recipe``."""

    title: str  #: the framework
    version: str  #: what the names were checked against
    language: str  #: of the code: "python" or "text"
    code: str  #: what to type
    can: str  #: how it waits for k
    cannot: str  #: what it does not do of what the plan assumes
    restart: str  #: what "restart" means there


@explains_types
def recipe(plan: Plan, name: str) -> Recipe:
    """The recipe called ``name``, a key of ``RECIPES``, with the k and max_staleness of ``plan``.

    Raises ValueError if there is no such recipe.

    >>> import pandas as pd
    >>> from abs_theory import plan, traces
    >>> rows = [(t, w, 9.0 if w == 2 else 1.0) for t in range(30) for w in range(3)]
    >>> trace = traces.from_frame(pd.DataFrame(rows, columns=["round", "worker", "seconds"]))
    >>> print(plan.recipe(plan.plan(trace), "ray").code.splitlines()[3].partition("  ")[0])
    K, N, MAX_STALENESS = 2, 3, 0
    """
    if name not in RECIPES:
        raise ValueError(f"a recipe must be one of {', '.join(RECIPES)}, got {name!r}")
    template, values = RECIPES[name], _values(plan)
    filled = {
        field: string.Template(getattr(template, field)).substitute(values)
        for field in ("code", "can", "cannot", "restart")
    }
    if plan.rounds_needed:
        filled["can"] = f"The data do not carry k = {plan.k} yet: it is a first guess. {filled['can']}"
    return replace(template, **filled)


def _values(plan: Plan) -> dict[str, str]:
    """What the templates say of a plan."""
    n, k, bound = plan.n, plan.k, plan.max_staleness
    bound = math.inf if bound is None else bound
    no_bound = math.isinf(bound)
    grace = float(plan.curve["mean"][k] - plan.curve["mean"][1])
    quorum = max(k, n // 2 + 1)
    ahead = n / k - 1
    return {
        "n": str(n),
        "k": str(k),
        "bound": "math.inf" if no_bound else f"{bound:.0f}",
        "bound_words": "without a limit" if no_bound else f"at most {bound:.0f}",
        "grace_ms": str(max(round(1000 * grace), 1)),
        "quorum": str(quorum),
        "more_than_half": ""
        if quorum == k
        else f" The plan says {k}; torchft needs more than half of the healthy ones.",
        "ahead": f"{ahead:.2g}",
        "settings": "\n".join(_settings(n, k, bound)),
    }


def _settings(n: int, k: int, bound: float) -> list[str]:
    """Settings of the trainers of language models, those that ``rollouts`` names, one trainer a line."""
    setup = rollouts.Setup(Exponential(1.0), batch=k, slots=n)  # settings do not depend on the law
    ahead = n / k - 1
    found = [*rollouts.admission(setup, ahead).settings, *rollouts.admission(setup, round(ahead)).settings]
    found += rollouts.admission(setup, round(ahead), window=1).settings
    if not math.isinf(bound):
        found += [text for how in (True, False) for text in rollouts.batches(setup, round(bound), how).settings]
    if bound == 0 and k < n:
        found += rollouts.over_sampling(setup).settings
    by_trainer = dict(
        reversed([text.split(" ", 1) for text in found])
    )  # the first of each: verl takes parts of batches
    return [
        f"{trainer:<14}{setting}" for trainer, setting in sorted(by_trainer.items(), key=lambda item: item[0].lower())
    ]


PYTHON = Recipe(
    title="Python threads",
    version="Python 3.11 to 3.14, module concurrent.futures",
    language="python",
    code='''\
import math, threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

K, N, MAX_STALENESS = $k, $n, $bound  # wait for K of N; math.inf: nobody restarts


def train(gradient, apply, model, updates):
    """gradient(worker, model, stop) gives up when stop.is_set(); apply(model, gradients) is the next model."""
    running, idle = {}, list(range(N))  # running: future -> (worker, version of its model, stop)
    with ThreadPoolExecutor(2 * N) as pool:  # a thread that gives up may overlap with its successor
        for version in range(updates):
            for worker in idle:
                stop = threading.Event()
                running[pool.submit(gradient, worker, model, stop)] = worker, version, stop
            idle, gradients = [], []
            while len(gradients) < K:
                for done in list(wait(running, return_when=FIRST_COMPLETED).done)[: K - len(gradients)]:
                    idle.append(running.pop(done)[0])
                    gradients.append(done.result())
            model = apply(model, gradients)
            stale = [task for task, (_, start, _) in running.items() if version + 1 - start > MAX_STALENESS]
            for task in stale:
                worker, _, stop = running.pop(task)
                stop.set()
                idle.append(worker)
        for _, _, stop in running.values():
            stop.set()
    return model
''',
    can="The server goes on as soon as K = $k of N = $n futures are done.",
    cannot="Threads share one Python interpreter: this suits workers that call other machines or release the lock. "
    "A gradient that raises an error ends the training.",
    restart="The worker looks at stop between small batches, gives up, and starts from the new model.",
)

RAY = Recipe(
    title="Ray, a server with remote tasks",
    version="Ray 2.60, docstrings of ray.wait and ray.cancel, and its documentation of November 2026",
    language="python",
    code="""\
import math
import ray

K, N, MAX_STALENESS = $k, $n, $bound  # wait for K of N; math.inf: nobody restarts


@ray.remote(max_retries=0)  # add num_gpus=1 if a worker needs a GPU
def gradient(model, worker):
    ...  # your forward and backward pass on the data of this worker


def train(model, apply, updates):
    running, idle = {}, list(range(N))  # running: reference -> (worker, version of its model)
    for version in range(updates):
        shared = ray.put(model)
        for worker in idle:
            running[gradient.remote(shared, worker)] = worker, version
        idle, gradients = [], []
        while len(gradients) < K:  # one at a time: in the order of arrival
            (first, *_), _ = ray.wait(list(running), num_returns=1)
            worker, _ = running.pop(first)
            try:
                gradients.append(ray.get(first))
                idle.append(worker)
            except ray.exceptions.RayError:  # the task failed, or its machine was lost: it begins again
                running[gradient.remote(shared, worker)] = worker, version
        model = apply(model, gradients)
        for late, (worker, start) in list(running.items()):
            if version + 1 - start > MAX_STALENESS:
                ray.cancel(late, force=True)
                del running[late]
                idle.append(worker)
    return model
""",
    can="The server goes on after $k of $n results. ray.wait(references, num_returns=$k) would return $k at once, but "
    "in the order of the list, and with several ready it prefers the first of the list; the loop therefore asks for "
    "one at a time, the longest-running first.",
    cannot="A worker whose tasks always fail is tried again and again: count the failures, and leave it out. "
    "Methods of an actor cannot be cancelled by force; ray.kill ends the actor and its state.",
    restart="ray.cancel(force=True) kills the process of the late task, and a new process starts: count its start-up "
    "(imports, CUDA, loading data). Without force a KeyboardInterrupt is raised, which waits for native code.",
)

PYTORCH = Recipe(
    title="PyTorch",
    version="torchft 0.2.0 (its classes and the options of torchft_lighthouse), PyTorch (note on DDP, November 2026)",
    language="text",
    code="""\
# DistributedDataParallel cannot wait for $k of $n: every rank takes part in its all-reduce.

# 1. torchft: go on with at least $quorum replicas, $grace_ms ms after the first one is ready
torchft_lighthouse --min_replicas $quorum --join_timeout_ms $grace_ms
manager = torchft.Manager(pg=torchft.ProcessGroupGloo(), min_replica_size=$quorum,
                          load_state_dict=load, state_dict=save)
model = torchft.DistributedDataParallel(manager, module)
optimizer = torchft.Optimizer(manager, inner)  # inner: an optimizer of torch.optim

# 2. local SGD: everybody waits, but only every U steps, so that short stalls average out
with torchft.local_sgd.LocalSGD(manager, module, inner, sync_every=U): ...

# 3. a server of your own that waits for exactly $k: --for ray
""",
    can="torchft waits for all healthy replicas, but no longer than join_timeout_ms after the first; it then goes on "
    "with those that are ready, if they are at least min_replicas.$more_than_half",
    cannot="It does not stop at exactly $k. Each change of the quorum sets up the process groups anew, which takes "
    "longer than a short stall: this pays for stalls of many seconds. If all replicas of the last quorum are ready, "
    "it does not wait for others.",
    restart="A replica that missed the quorum loads the current model from another replica and takes part in the next "
    "step. It is not interrupted in the middle of a step: max_staleness does not exist.",
)

FLOWER = Recipe(
    title="Flower and other federated frameworks",
    version="Flower (flwr) 1.42.0 and NVIDIA FLARE (nvflare) 2.9.0, read from their source; Flower also in "
    "its documentation of version 1.44 (November 2026)",
    language="python",
    code='''\
import math, time

K, N = $k, $n  # wait for K replies of N nodes


def first_k(grid, k=K, poll_seconds=0.1):
    """A send_and_receive for ``grid`` that returns after k good replies."""

    def send_and_receive(messages, *, timeout=None):
        waiting = {message for message in grid.push_messages(messages) if message}
        enough, replies, end = min(k, len(waiting)), [], time.monotonic() + (timeout or math.inf)
        while sum(not reply.has_error() for reply in replies) < enough and time.monotonic() < end and waiting:
            new = list(grid.pull_messages(waiting))
            replies += new
            waiting -= {reply.metadata.reply_to_message_id for reply in new}
            time.sleep(poll_seconds)
        return replies

    return send_and_receive


# in the main function of your ServerApp, before strategy.start(grid=grid, ...):
#     grid.send_and_receive = first_k(grid)
#     strategy = FedAvg(fraction_train=1.0, min_train_nodes=N, min_available_nodes=N, fraction_evaluate=0.0)
# NVIDIA FLARE: ScatterAndGather(min_clients=K, wait_time_after_min_received=0)
''',
    can="Flower waits for all nodes that it asked, or for timeout seconds of strategy.start; the code above makes it "
    "go on after $k replies. min_train_nodes is how many are asked, not how many are waited for. NVIDIA FLARE waits "
    "for min_clients and then for wait_time_after_min_received seconds.",
    cannot="Stale results: both drop a reply that comes after the round. Flower's own timeout is rough, because it "
    "polls every 3 s.",
    restart="A late node is not interrupted. It finishes its old task first and starts the new one afterwards, so a "
    "slow node loses more than the plan assumes. Let its training loop stop after a time of your choice.",
)

ROLLOUTS = Recipe(
    title="Rollouts of language models (a batch of k from n generation slots)",
    version="what docs/knobs.md states for each trainer, read in November 2026",
    language="text",
    code="""\
# n = $n slots, k = $k rollouts per weight update; depending on your trainer:
$settings
# verl: in async_training, and require_batches * ppo_mini_batch_size * trigger_parameter_sync_step = $k
# AReaL: in rollout; Tinker: in AsyncConfig, with groups_per_batch=$k; prime-rl: in orchestrator
""",
    can="All of them train as soon as $k rollouts are there. Those that run ahead bound how far generation may be "
    "ahead of training: mean staleness is then n / k - 1 = $ahead updates. AReaL, SkyRL, Tinker, ROLL and NeMo-RL "
    "take whole numbers; 0 waits for each update before the next rollouts begin. prime-rl cancels a rollout whose "
    "staleness exceeds max_off_policy_steps + 1, TRL and open-instruct drop it when it is read.",
    cannot="A limit on running ahead does not bound the staleness of a single rollout, except in NeMo-RL, which trains "
    "in order. A slot that delivers starts its next rollout at once there, while the plan lets it wait.",
    restart="prime-rl and slime cancel the rollout and start another one, which makes long answers rare. With partial "
    "rollouts (verl, AReaL) a rollout goes on under the new weights instead.",
)

RECIPES = {"ray": RAY, "pytorch": PYTORCH, "flower": FLOWER, "rollouts": ROLLOUTS, "python": PYTHON}
