"""One set of moving statistics for all replicas."""

import keras

from keras_bigbatch import _backend


def average_statistics(model: keras.Model) -> None:
    """Gives all replicas of a model the mean of their moving statistics.

    Use it before evaluation and saving, on every rank of torch DDP training and after training
    under TensorFlow's MirroredStrategy, whenever a layer in the model keeps moving statistics that
    its replicas do not share. `keras.layers.BatchNormalization` is such a layer on both: each
    replica updates its own copy, and Keras saves the first one. The function sets every
    floating-point, non-trainable variable whose name begins with `moving_` to

    `mean(v) = sum over replicas of v / number of replicas`

    `GhostBatchNormalization` does not need this where its replicas communicate: under
    TensorFlow's strategies, and in a training forward pass through torch's
    `DistributedDataParallel`. There its statistics are those of a single device after every step,
    in all three modes, and the mean of equal values changes nothing.

    It does need it on torch without `DistributedDataParallel` around it (if you reduce the
    gradients yourself) and under `torch.compile`, which skips the exchange. Each rank has then
    updated its statistics from its own samples. How good the mean is depends on `statistics`. With
    `"mean"` it is the value of a single device, if all ranks had the same number of groups in each
    step. With `"sequential"` a single device would have made as many steps of the moving average as
    all R ranks together, so its average would forget R times as fast. The mean estimates the same
    statistics from R times as many past samples, so it lags after a change. With `"batch"` the
    mean variance lacks the variance between the ranks' means: about 1 / n of the total, for n
    independent values (samples times positions) per rank. Averaging more often does not help.

    On JAX and with a single replica it does nothing. All ranks must call it: a call on one rank
    alone waits forever. It costs one exchange on torch, and one per variable on TensorFlow. In
    `fit`, validation comes before the end of an epoch, so as a callback use
    `keras.callbacks.LambdaCallback(on_test_begin=average, on_epoch_end=average)` with
    `average = lambda *_: average_statistics(model)`, placed before `ModelCheckpoint`.

    Differs from `torch.nn.SyncBatchNorm` and `keras.layers.BatchNormalization(synchronized=True)`:
    those normalize by the statistics of all replicas, which undoes ghost batches. Differs from
    DDP's `broadcast_buffers`: Keras's statistics are not buffers, so DDP does not touch them.

    Args:
        model: The Keras model or layer. For a DDP module, its `.module`.

    Raises:
        ValueError: If `model` is not a Keras model or layer.

    Example:

    ```python
    import keras
    from keras_bigbatch import GhostBatchNormalization
    from keras_bigbatch.distribution import average_statistics

    model = keras.Sequential([keras.Input((4,)), GhostBatchNormalization(32)])
    average_statistics(model)  # on every rank; alone, it changes nothing
    ```
    """
    if not isinstance(model, keras.layers.Layer):
        raise ValueError(
            "`model` must be a Keras model or layer; for a DistributedDataParallel module, pass "
            f"its `.module`. Received: an object of type {type(model).__name__}."
        )
    moving = [
        variable
        for variable in model.non_trainable_variables
        if variable.name.startswith("moving_") and "float" in variable.dtype
    ]
    _backend.active().replicas.average_variables(moving)
