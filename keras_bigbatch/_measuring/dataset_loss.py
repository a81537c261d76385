"""The loss of a model over a whole data set, as a function of the flat vector of its weights."""

import contextlib
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, get_args

import keras
import numpy as np
from keras import ops

from keras_bigbatch import _backend, _parameters
from keras_bigbatch._arguments import one_of
from keras_bigbatch._measuring.batches import Batch, Batches
from keras_bigbatch._measuring.preprocessing import preprocessed
from keras_bigbatch._measuring.stateless_loss import stateless_loss, stateless_outputs
from keras_bigbatch._measuring.unfit_data import unfit_data
from keras_bigbatch._private_api import flatten_layers
from keras_bigbatch._typing import Mode, Tensor, Vector, Weights

MODES: tuple[Mode, ...] = get_args(Mode)

# Samples on which the loss is tried: with a single one, targets of a wrong shape would broadcast.
_TRIED = 5


class DatasetLoss:
    """Loss, gradient and Hessian-vector products of a compiled model over a data set.

    Every instrument is built on this class. Vectors are passed and returned as flat NumPy arrays of
    all trainable values, in the order of `model.trainable_variables` (float32, or float64 for a
    float64 model). The model itself is never written to, so it is unchanged after every call,
    exception or interrupt. Where a vector is left out, the model's current weights are used.

    The loss is what `model.evaluate` reports: `model.compute_loss` with the sample weights, the
    regularizers and `add_loss`, as the mean over the batches, weighted by their numbers of samples.
    For the reductions `"sum_over_batch_size"` (Keras's default) and `"mean"` that is exact for any
    batch size. For `"sum"`, `"mean_with_sample_weight"` and masked losses it depends on the batch
    size, as in `evaluate`.

    With `mode="inference"` layers behave as in `evaluate`: batch norm uses its stored statistics
    and Dropout is off. With `mode="training"` batch norm uses the statistics of each batch, and
    random layers draw the same numbers for every batch of every pass. The loss is then still a
    function of the weights, if the data come in the same batches each time.

    Under `mixed_float16` no loss scale is applied. On a distributed model the passes run
    on one replica.

    Args:
        model: A compiled and built `keras.Model`.
        batches: The data, as `Batches`.
        mode: `"inference"` or `"training"`.
    """

    def __init__(self, model: keras.Model, batches: Batches, mode: Mode = "inference") -> None:
        checked_model(model)
        training = one_of("mode", mode, MODES) == "training"
        self.model = model
        self.variables = _parameters.trainable_variables(model)
        self.batches = batches
        self.dtype = _parameters.vector_type(self.variables)
        self.size = _parameters.vector_size(self.variables)
        backend = _backend.active().gradients
        backend.check_differentiable(model)
        loss = stateless_loss(model, training)
        with_gradient = backend.value_and_gradient(loss)
        product = backend.hessian_vector_product(loss)

        def add_gradient(total: Any, samples: Tensor, *arguments: Any) -> Any:
            value, gradient = with_gradient(*arguments)
            return _add(total, samples, gradient), value

        def add_product(total: Any, samples: Tensor, *arguments: Any) -> Any:
            return _add(total, samples, product(*arguments))

        self._loss = backend.compiled(loss, model)
        self._add_gradient = backend.compiled(add_gradient, model)
        self._add_product = backend.compiled(add_product, model)
        with backend.random_state_kept():
            sample = preprocessed(model, batches.first_samples(_TRIED))
        try:
            self._trace(loss, sample)
        except Exception as error:
            outputs = stateless_outputs(model, training)
            inputs = (sample[0], None, None)
            raise unfit_data(
                model, sample, batches.is_arrays, error, lambda: self._trace(outputs, inputs)
            ) from error

    @property
    def weights(self) -> Vector:
        """A copy of the model's current trainable values."""
        return _parameters.flat([variable.value for variable in self.variables], self.dtype)

    def loss(self, weights: Vector | None = None, state: Weights | None = None) -> float:
        """Returns the loss at `weights`; `state` replaces the `non_trainable_variables`."""
        values, state = self.tensors(weights), self.state_tensors(state)
        counts, losses = [], []
        with contextlib.closing(self.tensor_batches()) as batches:
            for samples, batch in batches:
                counts.append(samples)
                losses.append(self._loss(values, state, batch))
        return _mean(counts, losses)

    def gradient(self, weights: Vector | None = None) -> tuple[float, Vector]:
        """Returns the loss and its gradient at `weights`, in one pass."""
        values, state = self.tensors(weights), self.state_tensors()
        total = self._zeros()
        counts, losses = [], []
        with contextlib.closing(self.tensor_batches()) as batches:
            for samples, batch in batches:
                counts.append(samples)
                total, loss = self._add_gradient(total, self._count(samples), values, state, batch)
                losses.append(loss)
        return _mean(counts, losses), self._vector(total) / sum(counts)

    def batch_gradients(self, weights: Vector | None = None) -> Iterator[tuple[int, float, Vector]]:
        """Yields each batch's number of samples, loss and gradient, in one pass."""
        values, state = self.tensors(weights), self.state_tensors()
        one, zeros = self._count(1), self._zeros()
        with contextlib.closing(self.tensor_batches()) as batches:
            for samples, batch in batches:
                total, loss = self._add_gradient(zeros, one, values, state, batch)
                yield samples, _mean([1], [loss]), self._vector(total)

    def hessian_vector_product(self, vector: Vector, weights: Vector | None = None) -> Vector:
        """Returns the Hessian at `weights` times `vector`, in one pass of about two gradients."""
        values, state = self.tensors(weights), self.state_tensors()
        direction = self.tensors(vector)
        total = self._zeros()
        count = 0
        with contextlib.closing(self.tensor_batches()) as batches:
            for samples, batch in batches:
                count += samples
                total = self._add_product(
                    total, self._count(samples), values, direction, state, batch
                )
        return self._vector(total) / count

    def tensor_batches(self) -> Generator[tuple[int, Batch], None, None]:
        """Yields one reading of the data as device tensors, with the samples counted per batch."""
        with _backend.active().gradients.random_state_kept():
            for samples, batch in self.batches:
                prepared = preprocessed(self.model, batch)
                yield samples, keras.tree.map_structure(_tensor, prepared)

    def tensors(self, vector: Vector | None = None) -> list[Tensor]:
        """Returns the parts of `vector` on the device, or copies of the current weights."""
        values = [variable.value for variable in self.variables]
        if vector is None:
            values = _backend.active().weights.snapshot(values)
        else:
            parts = _parameters.split(np.asarray(vector, self.dtype), self.variables)
            values = _backend.active().weights.restored(parts, values)
        # In the vector's type, which derivatives then have too: the scope casts to the variables'.
        return [ops.cast(value, self.dtype.name) for value in values]

    def state_tensors(self, state: Weights | None = None) -> list[Tensor]:
        """Returns the arrays of `state` on the device, or copies of the current state."""
        values = [variable.value for variable in _parameters.state_variables(self.model)]
        if state is None:
            return _backend.active().weights.snapshot(values)
        return _backend.active().weights.restored([np.asarray(each) for each in state], values)

    def _trace(self, function: Callable[..., Any], sample: Batch) -> Any:
        """Traces the function once, and returns its result.

        The first call of a model's loss creates its trackers. Their variables must not be created
        in a function that is being compiled, and get their values where this scope ends.
        """
        found = []
        batch = keras.tree.map_structure(_tensor, sample)
        backend = _backend.active().gradients

        def kept(*arguments: Any) -> Any:
            found.append(function(*arguments))
            return found[0]

        # Without a seed, Dropout draws from torch's global state.
        with keras.StatelessScope(), backend.random_state_kept():
            backend.trace(kept, self.tensors(), self.state_tensors(), batch)
        return found[0]

    def _zeros(self) -> list[Tensor]:
        return [ops.zeros(variable.shape, self.dtype.name) for variable in self.variables]

    def _count(self, samples: int) -> Tensor:
        return ops.convert_to_tensor(samples, self.dtype.name)

    def _vector(self, tensors: Sequence[Tensor]) -> Vector:
        return _parameters.flat(tensors, self.dtype)


def loss_before_training(model: keras.Model, batches: Batches, mode: Mode) -> DatasetLoss | None:
    """Returns the loss that a callback measures, tried on the data before the first update.

    None where Keras builds the model only on the first batch, as on TensorFlow.
    """
    if not all(layer.built for layer in flatten_layers(model)):
        return None
    return DatasetLoss(model, batches, mode)


def checked_model(model: Any) -> keras.Model:
    """Returns the model if it is compiled, or raises a `ValueError`."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a compiled `keras.Model`, the first argument. Received: model of type "
            f"{type(model).__name__}."
        )
    if not model.compiled:
        raise ValueError(
            "The model has no loss yet. Received: a model that is not compiled. Call "
            "`model.compile(optimizer, loss)` first."
        )
    return model


def _add(total: Sequence[Tensor], samples: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    return [sum_ + samples * tensor for sum_, tensor in zip(total, tensors, strict=True)]


def _mean(counts: Sequence[int], losses: Sequence[Tensor]) -> float:
    """Returns the mean over samples. Losses stay on the device until all are computed."""
    values = [float(ops.convert_to_numpy(loss)) for loss in losses]
    weighted = [count * value for count, value in zip(counts, values, strict=True)]
    return math.fsum(weighted) / sum(counts)


def _tensor(leaf: Any) -> Any:
    return None if leaf is None else ops.convert_to_tensor(leaf)
