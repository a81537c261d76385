"""One set of moving statistics for all replicas."""

import keras

from keras_bigbatch import _backend


def average_statistics(model: keras.Model) -> None:
    """Averages the moving statistics of a model over all its replicas.

    Use it before evaluation and saving if the model has a layer whose replicas do not share their
    moving statistics. Call it on every rank in torch DDP training, and after training under
    TensorFlow's MirroredStrategy. `keras.layers.BatchNormalization` is such a layer in both cases:
    each replica updates its own copy, and Keras saves the first one. The function sets every
    floating-point, non-trainable variable whose name begins with `moving_` to

    `mean(v) = sum over replicas of v / number of replicas`

    `GhostBatchNormalization` does not need this if its replicas communicate, which they do under
    TensorFlow's strategies and in a training forward pass through torch's
    `DistributedDataParallel`. Its statistics then equal those of a single device after every step,
    in all three modes, and averaging equal values changes nothing.

    It does need this on torch without `DistributedDataParallel` (if you reduce the gradients
    yourself) and under `torch.compile`, which skips the exchange. Each rank then updates its
    statistics from its own samples. How good the mean is depends on `statistics`. With `"mean"`, it
    equals the value of a single device if all ranks had the same number of groups in each step.
    With `"sequential"`, a single device would make as many moving-average steps as all R ranks
    together, so its average would forget R times as fast. The mean over ranks estimates the same
    statistics from R times as many past samples, so it lags after a change. With `"batch"`, the
    mean variance lacks the variance between the ranks' means: about 1 / n of the total, for n
    independent values (samples times positions) per rank. Averaging more often does not help.

    On JAX and with a single replica, it does nothing. All ranks must call it: a call on only one
    rank waits forever. It costs one exchange on torch, and one per variable on TensorFlow. In
    `fit`, validation runs before the end of an epoch, so as a callback use
    `keras.callbacks.LambdaCallback(on_test_begin=average, on_epoch_end=average)` with
    `average = lambda *_: average_statistics(model)`, placed before `ModelCheckpoint`.

    `torch.nn.SyncBatchNorm` and `keras.layers.BatchNormalization(synchronized=True)` instead
    normalize by the statistics of all replicas, which undoes ghost batches. DDP's
    `broadcast_buffers` does not touch Keras's statistics, because they are not buffers.

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
