"""Any PyTorch module as a problem; it needs the extra ``torch`` of this package."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

try:
    import torch  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError as failure:
    raise ModuleNotFoundError(
        "simulations.problems.torch_module needs PyTorch: install abs-toolkit[torch]"
    ) from failure

from simulations.problems import batches
from simulations.problems.batches import OnSharedData
from simulations.problems.data import Data, Split


@dataclass(frozen=True, eq=False, repr=False)
class TorchProblem(OnSharedData):
    """F(w) = the mean of ``criterion(module(x), y)`` over the training ``data``; w holds all trainable parameters.

    ``module`` maps floating-point features, shape (samples, features), to scores or predictions; an ``nn.Unflatten`` in
    front turns the features into images.  ``criterion`` averages over a batch.  Training starts at the parameters of
    ``module``, which is copied and never changed.  A gradient uses ``batch_size`` samples drawn with replacement from
    the worker's share, see ``data.shares`` for ``split``, in training mode: dropout uses the worker's random numbers.
    ``loss``, ``gradient`` and metrics use evaluation mode.  Metric: on the test data, if there are any, the accuracy
    for labels and the mean criterion for real targets.

    Raises ValueError for a module that cannot compute on these data, has nothing to train, or keeps running statistics,
    as batch norm does: a server has no statistics of its own to evaluate with.
    """

    module: torch.nn.Module  #: from features to scores or predictions
    data: Data  #: to train and test on
    n: int  #: number of workers
    batch_size: int = 16  #: samples per gradient
    criterion: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = torch.nn.functional.cross_entropy  #: mean loss
    split: Split = "even"  #: of the data among the workers
    split_seed: int = 0  #: of the random numbers of this split
    dtype: str = "float32"  #: precision of the model: "float32" or "float64"

    def __post_init__(self) -> None:
        self.check_shares()
        if not isinstance(self.module, torch.nn.Module):
            raise ValueError(f"module must be a torch.nn.Module, got {self.module!r}")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype!r}")
        if not self._trained:
            raise ValueError("the module must have parameters with requires_grad: it has nothing to train")
        self._try()

    def __repr__(self) -> str:
        what = f"{type(self.module).__name__} of {len(self.initial)} parameters, {self.data!r}"
        how = f"batch_size={self.batch_size}, split={self.split!r}, split_seed={self.split_seed}, dtype={self.dtype!r}"
        return f"TorchProblem({what}, n={self.n}, {how})"

    @property
    def initial(self) -> np.ndarray:
        return self._initial

    @cached_property
    def _initial(self) -> np.ndarray:
        return torch.cat([value.detach().reshape(-1) for value in self._trained.values()]).numpy().copy()

    def loss(self, params: np.ndarray) -> float:
        return self._mean_criterion(params, self.data.x, self.data.y)

    def gradient(self, params: np.ndarray) -> np.ndarray:
        """grad F(w), shape (d,), over all training data."""
        total, samples = np.zeros_like(params), len(self.data.y)
        for rows in self._passes(samples):
            x, y = self._tensors(self.data.x[rows], self.data.y[rows])
            total += len(y) / samples * self._slope(params, x, y, training=False)[1]
        return total

    def metrics(self, params: np.ndarray) -> dict[str, float]:
        data = self.data
        if not len(data.y_test):
            return {}
        if not data.classes:
            return {"test_loss": self._mean_criterion(params, data.x_test, data.y_test)}
        right = 0
        for rows in self._passes(len(data.y_test)):
            x, y = self._tensors(data.x_test[rows], data.y_test[rows])
            with torch.no_grad():
                right += int((self._output(self._values(params), x, training=False).argmax(dim=1) == y).sum())
        return {"test_accuracy": right / len(data.y_test)}

    def gradients(
        self, params: np.ndarray, workers: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = self.draw(workers, rngs)
        losses, gradients = np.empty(len(params), self.dtype), np.empty_like(params)
        with torch.random.fork_rng(devices=[]):
            for job, rng in enumerate(rngs):
                torch.default_generator.manual_seed(int(rng.integers(2**63)))  # of the dropout of the module
                x, y = self._tensors(self.data.x[rows[job]], self.data.y[rows[job]])
                losses[job], gradients[job] = self._slope(params[job], x, y, training=True)
        return losses, gradients

    # ------------------------------------------------------------------ inside
    @cached_property
    def _module(self) -> torch.nn.Module:
        return copy.deepcopy(self.module).to("cpu", getattr(torch, self.dtype))

    @cached_property
    def _trained(self) -> dict[str, torch.Tensor]:
        return {name: value for name, value in self._module.named_parameters() if value.requires_grad}

    def _values(self, params: np.ndarray) -> dict[str, torch.Tensor]:
        """The named parameters of a vector."""
        flat, values, start = torch.tensor(params), {}, 0
        for name, like in self._trained.items():
            values[name] = flat[start : start + like.numel()].view_as(like)
            start += like.numel()
        return values

    def _output(self, values: dict[str, torch.Tensor], x: torch.Tensor, training: bool) -> torch.Tensor:
        return torch.func.functional_call(self._module.train(training), values, (x,))

    def _slope(self, params: np.ndarray, x: torch.Tensor, y: torch.Tensor, training: bool) -> tuple[float, np.ndarray]:
        values = {name: value.requires_grad_() for name, value in self._values(params).items()}
        loss = self.criterion(self._output(values, x, training), y)
        slopes = torch.autograd.grad(loss, list(values.values()), materialize_grads=True)
        return float(loss.detach()), torch.cat([slope.reshape(-1) for slope in slopes]).numpy()

    def _mean_criterion(self, params: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
        values, total = self._values(params), 0.0
        with torch.no_grad():
            for rows in self._passes(len(y)):
                inputs, targets = self._tensors(x[rows], y[rows])
                total += len(targets) * float(self.criterion(self._output(values, inputs, training=False), targets))
        return total / len(y)

    def _passes(self, samples: int) -> Any:
        bytes_each = np.dtype(self.dtype).itemsize * self.data.x.shape[1]
        return batches.chunks(samples, bytes_each, batches.PASS_BYTES)

    def _tensors(self, x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        targets = y.astype(np.int64) if self.data.classes else y.astype(self.dtype)
        return torch.tensor(self.data.features(x, self.dtype)), torch.tensor(targets)

    def _try(self) -> None:
        """Compute once, so that a module that cannot be trained is refused here."""
        before = {name: value.clone() for name, value in self._module.named_buffers()}
        rows = self.shares[0][: self.batch_size]
        x, y = self._tensors(self.data.x[rows], self.data.y[rows])
        try:
            with torch.random.fork_rng(devices=[]):
                loss = self.criterion(self._output(self._values(self.initial), x, training=True), y)
        except (RuntimeError, ValueError, TypeError, IndexError) as failure:
            raise ValueError(f"module and criterion must compute on features {tuple(x.shape)}: {failure}") from failure
        if not (isinstance(loss, torch.Tensor) and loss.shape == ()):
            raise ValueError(f"criterion must average over a batch to one number, got {loss!r}")
        changed = [name for name, value in self._module.named_buffers() if not torch.equal(value, before[name])]
        if changed:
            raise ValueError(
                f"the module must not keep statistics of its own, got {', '.join(changed)}; a server has parameters "
                "only: for batch norm set track_running_stats=False, or use group norm"
            )
