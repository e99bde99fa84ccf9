"""LoRA as an optimizer: Adam on two factors of each kernel's update, W = W₀ + A·B (Hu et al. 2022).

The network keeps its layers and its weights: after each step W holds A·B already. So there is nothing to merge, nothing
else to save, and whatever reads the weights of a network (beam search, weight maps) needs to know nothing of LoRA. The
gradients are those of the two factors, G·Bᵀ and Aᵀ·G for the gradient G of W. As in Keras' own LoRA, G is computed, so
a step costs what it costs when all weights train; the state of the optimizer is that of the factors.

Keras has `enable_lora` too. For the attention projections of KerasHub, of shape [D, heads, D / heads], it makes factors
[D, heads, R] and [R, D / heads], which are not those of the paper and six times as large for MiniLM. Here a kernel of
any shape is a matrix [inputs, outputs].

What of a network trains is kept beside the model, which does not know it: `optimizer_for` reads it when it is compiled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from weakref import WeakKeyDictionary

import keras
import numpy as np
import tensorflow as tf

from tfxfer.models.train_sets import TrainSet


@dataclass(frozen=True)
class LowRankKernel:
    """A kernel whose update has a low rank.

    Attributes:
        kernel: The variable, of any shape.
        inputs: Rows of the kernel as a matrix [inputs, outputs].
        rank: R.
    """

    kernel: Any
    inputs: int
    rank: int

    @property
    def outputs(self) -> int:
        """Columns of the kernel as a matrix."""
        return math.prod(self.kernel.shape) // self.inputs

    @property
    def size(self) -> int:
        """Parameters of both factors."""
        return self.rank * (self.inputs + self.outputs)


@dataclass
class Chosen:
    """What of a model trains.

    Attributes:
        train_set: Its name and number.
        low_rank: Kernels that train by LoRA.
        seed: Seed of A, an int32 variable.
    """

    train_set: TrainSet
    low_rank: tuple[LowRankKernel, ...] = ()
    seed: Any = field(default_factory=lambda: keras.Variable(0, dtype="int32", trainable=False, name="seed_of_lora"))


_CHOSEN: WeakKeyDictionary[keras.Model, Chosen] = WeakKeyDictionary()


def remember(model: keras.Model, chosen: Chosen) -> None:
    """Keep what of a model trains, for its optimizer and its figures."""
    _CHOSEN[model] = chosen


def chosen_of(model: keras.Model) -> Chosen | None:
    """Return what of a model trains; None where nothing was chosen, and its flags alone say it."""
    return _CHOSEN.get(model)


def begin(model: keras.Model, seed: int) -> None:
    """Set the seed that the next training of a model draws A from."""
    chosen = chosen_of(model)
    if chosen is not None:
        chosen.seed.assign(seed % 2**31)


def trained_parameters(model: keras.Model) -> int:
    """Return how many parameters of a model train; of a kernel by LoRA, those of its two factors."""
    chosen = chosen_of(model)
    factors = {id(one.kernel): one.size for one in (chosen.low_rank if chosen else ())}
    return sum(factors.get(id(v), math.prod(v.shape)) for v in model.trainable_variables)


def optimizer_bytes(model: keras.Model) -> int:
    """Return the size in bytes of the state of a compiled model's optimizer; with LoRA its factors are in it."""
    optimizer = getattr(model, "optimizer", None)
    return sum(np.dtype(v.dtype).itemsize * math.prod(v.shape) for v in optimizer.variables) if optimizer else 0


@keras.saving.register_keras_serializable("tfxfer")
class LowRankAdam(keras.optimizers.Adam):
    """Adam; of the kernels that `limit` names it trains an update of low rank.

    A starts uniform in ±1/√inputs and B at 0, so the first step begins at W₀. The scale α/R of the paper is 1.
    """

    _own: "_Own | None" = None

    def limit(self, chosen: Chosen | None) -> Self:
        """Train what was chosen, and return the optimizer; call it before `build`."""
        if chosen is not None and chosen.low_rank:
            self._own = _Own({id(one.kernel): one for one in chosen.low_rank}, chosen.seed)
        return self

    def build(self, variables: Sequence[Any]) -> None:
        """Make the factors of each kernel, and the moments of all that trains."""
        if self.built:
            return
        trained: list[Any] = []
        for variable in variables:
            one = self._own.limits.get(id(variable)) if self._own is not None else None
            if self._own is None or one is None:
                trained.append(variable)
                continue
            shapes = {"a": (one.inputs, one.rank), "b": (one.rank, one.outputs)}
            a, b = (self.add_variable(shape, name=f"low_rank_{name}") for name, shape in shapes.items())
            self._own.factors[id(variable)] = a, b
            trained += [a, b]
        super().build(trained)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Update the factors and all else that trains; then each kernel by the change of A·B."""
        if self._own is None or trainable_variables is None:
            super().apply(grads, trainable_variables)
            return
        self.build(list(trainable_variables))
        given, trained, before = [], [], []
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            if gradient is None:
                continue
            if id(variable) not in self._own.factors:
                given.append(gradient)
                trained.append(variable)
                continue
            a, b = self._started(variable)
            g = keras.ops.reshape(keras.ops.cast(gradient, a.dtype), (a.shape[0], b.shape[1]))
            given += [keras.ops.matmul(g, keras.ops.transpose(b)), keras.ops.matmul(keras.ops.transpose(a), g)]
            trained += [a, b]
            before.append((variable, a, b, keras.ops.matmul(a, b)))
        super().apply(given, trained)
        for variable, a, b, old in before:
            change = keras.ops.reshape(keras.ops.matmul(a, b) - old, variable.shape)
            variable.assign_add(keras.ops.cast(change, variable.dtype))

    def _started(self, variable: Any) -> tuple[Any, Any]:
        """Return the factors of a kernel; before the first step they are drawn, from the seed of this training."""
        assert self._own is not None  # it has factors
        one, (a, b) = self._own.limits[id(variable)], self._own.factors[id(variable)]
        place, most = list(self._own.factors).index(id(variable)), 1 / math.sqrt(one.inputs)
        seed = tf.stack([tf.convert_to_tensor(self._own.seed), place])
        drawn = tf.random.stateless_uniform((one.inputs, one.rank), seed, -most, most)
        first = keras.ops.equal(self.iterations, 0)  # all variables of an optimizer are 0 when a training begins
        a.assign(keras.ops.where(first, drawn, a))
        b.assign(keras.ops.where(first, keras.ops.zeros_like(b), b))
        return a, b


@dataclass
class _Own:
    """What Keras need not track: it would count what it finds as state of the optimizer."""

    limits: dict[int, LowRankKernel]
    seed: Any
    factors: dict[int, tuple[Any, Any]] = field(default_factory=dict)


def optimizer_for(model: keras.Model) -> keras.optimizers.Optimizer:
    """Return Adam for what of a model trains, its gradients clipped: of few steps at a high rate none may be large."""
    chosen = chosen_of(model)
    if chosen is None or not chosen.low_rank:
        return keras.optimizers.Adam(global_clipnorm=1.0)
    return LowRankAdam(global_clipnorm=1.0).limit(chosen)
