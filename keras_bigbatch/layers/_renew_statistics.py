"""Recomputes the moving statistics of batch norms from given data."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_bigbatch import _backend, _parameters
from keras_bigbatch._measuring.batches import Batches, is_arrays
from keras_bigbatch._measuring.preprocessing import preprocessed
from keras_bigbatch._measuring.progress import Progress
from keras_bigbatch._measuring.stateless_loss import stateless_update
from keras_bigbatch._measuring.unfit_data import unfit_data
from keras_bigbatch._typing import Array, Tensor, Verbose
from keras_bigbatch._user_warnings import warn_user
from keras_bigbatch.layers._class_change import batch_norms
from keras_bigbatch.layers._input_moments import watched_inputs
from keras_bigbatch.layers._pooled_moments import PooledMoments

_Norm: TypeAlias = keras.layers.BatchNormalization
_Step: TypeAlias = Callable[..., tuple[list[list[Tensor]], dict[int, Tensor]]]

_DEFAULT_SIZE = 256


def renew_statistics(
    model: keras.Model, x: Any, batch_size: int | None = None, verbose: Verbose = "auto"
) -> None:
    """Recomputes the moving statistics of all batch norms from the data, in one pass.

    Use it when the moving averages do not match the weights. This happens when they lag behind
    because a large-batch run or a converted model made only a few updates. It also happens with
    averaged weights (SWA, EMA, a checkpoint soup), because no training step was run with those
    weights. Inference then normalizes by the moments of the data:

    `moving_mean = mean(x_l)`, `moving_variance = mean((x_l - moving_mean)**2)`

    over all elements of a channel that layer l normalizes during the pass: all samples, positions
    and calls (of a shared layer), except masked elements. They are pooled exactly, in float64. The
    pass over the data runs in training mode: each layer before l normalizes by the current batch,
    ghost batch norms normalize by their groups, and Dropout is active. So pass training data,
    augmented as in training, in batches of the training size or of complete groups. A small last
    batch is normalized by its own moments.

    The old statistics and the momentum have no effect. Nothing else changes: weights, optimizer,
    metrics and seeds stay the same, and if the pass fails, so do the statistics. Layers that
    normalize by their moving statistics even in training (`trainable=False`, or called with
    `training=False`) keep them.

    On several devices, JAX distributes the batches as set in `keras.distribution`. Under a
    `tf.distribute` strategy, the pass runs on one replica, outside `strategy.run`, and all replicas
    get the result. With `DistributedDataParallel`, pass the inner model and the same data on each
    rank.

    `torch.optim.swa_utils.update_bn` instead averages the variances of the batches. That ignores
    the spread of the batch means, counts a small last batch as much as a full one, and, with ghost
    batch norm, would use the moments of the groups. Keras has no such function.

    Args:
        model: Any built model that contains batch norms. It does not have to be compiled.
        x: Inputs as for `fit`: arrays, a structure of arrays, or a data set (tf.data, DataLoader,
            PyDataset or a finite generator), of which only the `x` is used.
        batch_size: Samples per batch, for arrays only. None means about 256, in complete ghost
            batches.
        verbose: 1 for a progress bar, 0 for none, `"auto"` for one in a terminal.

    Raises:
        ValueError: If the model is not built or has batch norms with `renorm`, if the data are
            empty or do not fit the model, or if a layer's moments are not finite.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb
    norm = kbb.GhostBatchNormalization(virtual_batch=32)
    model = keras.Sequential([keras.layers.Dense(8), norm, keras.layers.Dense(1)])
    x, y = np.random.normal(size=(256, 4)), np.zeros((256, 1))
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), "mse")
    model.fit(x, y, batch_size=128, verbose=0)  # ends with the averages of the weights
    kbb.layers.renew_statistics(model, x, batch_size=128)
    ```
    """
    norms = _checked_norms(model)
    if batch_size is None and is_arrays(x):
        batch_size = _whole_groups(norms)
    batches = Batches(x, batch_size=batch_size, once=True)
    progress = Progress(batches.number, verbose, "batch")
    training = [norm for norm in norms if norm.trainable]
    if not training:
        why = "all its batch norms have `trainable=False`" if norms else "it has no batch norm"
        warn_user(f"There are no statistics to renew in the model {model.name!r}: {why}.")
        return
    pooled = _pooled(model, training, batches, progress)
    for norm, moments in zip(training, pooled, strict=True):
        _check_finite(norm, moments)
    left = []
    for norm, moments in zip(training, pooled, strict=True):
        if not moments.count.all():
            left.append(norm.name)
        _assign(norm.moving_mean, moments.mean, moments.count)
        _assign(norm.moving_variance, moments.variance, moments.count)
    if left:
        warn_user(
            "These batch norms did not normalize by any batch, so their statistics stay as they "
            f"were: {', '.join(left)}. The model does not call them with `training=True`, their "
            "mask leaves nothing, or their own `call` does not go through Keras's."
        )


def _checked_norms(model: keras.Model) -> list[_Norm]:
    """Returns the model's batch norms after checking them."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a `keras.Model`; for a DistributedDataParallel module, pass its "
            f"`.module`. Received: an object of type {type(model).__name__}."
        )
    norms = batch_norms(model)
    unbuilt = [norm.name for norm in norms if not norm.built]
    if unbuilt or not model.built:
        what = f"a model whose batch norms {', '.join(unbuilt)} are" if unbuilt else "one that is"
        raise ValueError(
            f"The model must be built: it has no statistics yet. Received: {what} not "
            "built. Call the model on a batch first, `model(x[:1])`."
        )
    renormalized = [
        norm.name for norm in norms if getattr(norm, "renorm", False) and norm.trainable
    ]
    if renormalized:
        raise ValueError(
            "Batch norms with `renorm=True` normalize by their moving statistics in training too, "
            f"so new ones would depend on the old. Received: {', '.join(renormalized)}. Instead, "
            "train for some more epochs at a learning rate of 0."
        )
    return norms


def _whole_groups(norms: Sequence[_Norm]) -> int:
    """Returns about the default batch size, in complete groups of the largest ghost batch norm."""
    largest = max((getattr(norm, "virtual_batch", 1) for norm in norms), default=1)
    return largest * max(_DEFAULT_SIZE // largest, 1)


def _pooled(
    model: keras.Model, norms: Sequence[_Norm], batches: Batches, progress: Progress
) -> list[PooledMoments]:
    """Pools the moments of what each layer normalizes in one pass over the data."""
    backend = _backend.active()
    step = backend.gradients.compiled(_training_step(model, norms), model, draws_anew=True)
    values, state = (
        backend.weights.snapshot([variable.value for variable in variables])
        for variables in (model.trainable_variables, _parameters.state_variables(model))
    )
    pooled = [PooledMoments(norm.moving_mean.shape[0]) for norm in norms]
    with (
        progress,
        backend.gradients.random_state_kept(),
        contextlib.closing(iter(batches)) as reading,
    ):
        for number, (_, batch) in enumerate(reading):
            batch = preprocessed(model, batch)
            x = keras.tree.map_structure(_on_devices, batch[0])
            try:
                found, seeds = step(values, state, x)
            except Exception as error:
                if number:
                    raise
                again = _raising(error)
                raise unfit_data(model, batch, batches.is_arrays, error, again) from error
            for position, seed in seeds.items():
                state[position] = seed
            for moments, calls in zip(pooled, found, strict=True):
                for call in calls:
                    rows = np.asarray(ops.convert_to_numpy(call), np.float64)
                    count, centre, shift, variance = rows
                    moments.add(count, centre + shift, variance)
            progress.add()
    return pooled


def _training_step(model: keras.Model, norms: Sequence[_Norm]) -> _Step:
    """Returns `step(values, state, x)`: the moments of each call of each layer, and the next seeds.

    The seeds make Dropout draw new masks for each batch.
    """
    update = stateless_update(model)
    weights = {id(weight) for weight in model.weights}
    state_variables = _parameters.state_variables(model)
    seeds = [i for i, variable in enumerate(state_variables) if id(variable) not in weights]

    def step(
        values: Sequence[Tensor], state: Sequence[Tensor], x: Any
    ) -> tuple[list[list[Tensor]], dict[int, Tensor]]:
        with watched_inputs(norms) as found:
            moved = update(values, state, (x, None, None))
        return found, {i: moved[i] for i in seeds}

    return step


def _on_devices(leaf: Any) -> Any:
    if leaf is None:
        return None
    return _backend.active().replicas.shared_out(ops.convert_to_tensor(leaf))


def _raising(error: Exception) -> Callable[[], NoReturn]:
    def again() -> NoReturn:
        raise error

    return again


def _check_finite(norm: _Norm, moments: PooledMoments) -> None:
    # If the mean is not finite, neither is the variance.
    if not np.isfinite(moments.variance).all():
        raise ValueError(
            f"The inputs of the batch norm {norm.name!r} are not all finite, or too large for "
            "float32, so their moments are not finite. All statistics are as they were. Look for "
            "NaN in the data, and in the weights, where a diverged training leaves it."
        )


def _assign(variable: keras.Variable, value: Array, count: Array) -> None:
    """Assigns the value to the channels that have any elements."""
    (old,) = _backend.active().weights.snapshot([variable.value])
    variable.assign(ops.where(count > 0, ops.cast(value, variable.dtype), old))
