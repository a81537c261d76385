"""One stage of a training: a batch size and its duration."""

from dataclasses import dataclass

from keras_bigbatch._arguments import positive_integer
from keras_bigbatch._rates.learning_rates import LearningRate, checked_learning_rate
from keras_bigbatch.training._noise_limit import NoiseLimit


@dataclass(frozen=True)
class BatchStage:
    """One stage of training: a batch size in samples, a number of epochs and a learning rate.

    Pass a list of stages to `fit_stages`, for example a small batch first and a large one later.
    `warm_start`, `small_first_epoch`, `increase_on_plateau` and `increase_on_noise` return lists of
    stages that follow the papers. A stage's learning rate is not adapted to its batch
    automatically. For the usual rules, see `schedules.scale_learning_rate`.

    With arrays, an epoch of a stage has `ceil(samples / batch)` steps, as in `fit`, or
    `steps_per_epoch`. A stage with `patience` ends when `monitor` has not improved for that many
    epochs, as with `keras.callbacks.EarlyStopping`. A stage with a `noise_limit` ends when the
    gradient noise scale exceeds the limit. The epochs that it did not use are added to the next
    stage, so the total stays the same.

    Args:
        batch: Samples in one step of `fit` (its `batch_size`), over all replicas. With
            `gradient_accumulation_steps=k`, an update uses `k * batch` samples.
        epochs: Epochs of this stage. With 0, it only gets the epochs that the previous stage did
            not use.
        learning_rate: A positive float, a `LearningRateSchedule`, or None to keep the optimizer's
            rate. A schedule counts updates from the beginning of this stage. With gradient
            accumulation it counts micro-steps, unless it has `accumulation_steps`.
        patience: End the stage after this many epochs without improvement, or None for never.
        monitor: What must improve: `"loss"` or the name of a Keras metric, optionally prefixed with
            `"val_"`.
        steps_per_epoch: Steps in one epoch, or None to use all the data. Required for a data set
            that repeats forever.
        noise_limit: A `NoiseLimit`, or None. A stage cannot have both this and `patience`.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    import keras, numpy as np
    from keras_bigbatch.training import BatchStage, fit_stages

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.005, momentum=0.9), "mse")
    stages = [BatchStage(batch=32, epochs=1), BatchStage(256, epochs=2, learning_rate=0.05)]
    x, y = np.random.rand(512, 8), np.random.rand(512, 1)
    history = fit_stages(model, x, y, stages, verbose=0)
    print(history.epoch, int(model.optimizer.iterations))  # [0, 1, 2] 20
    ```

    References:
        - Gao & Zhong, "Study on the Large Batch Size Training of Neural Networks Based on the
          Second Order Gradient", section 3.2
        - [Devarakonda et al., 2017](https://arxiv.org/abs/1712.02029) (AdaBatch)
    """

    batch: int
    epochs: int
    learning_rate: LearningRate | None = None
    patience: int | None = None
    monitor: str = "val_loss"
    steps_per_epoch: int | None = None
    noise_limit: NoiseLimit | None = None

    def __post_init__(self) -> None:
        counts = {"batch": "It counts the samples of one step.", "epochs": "It counts epochs."}
        optional = {
            "patience": "It counts epochs without improvement; None never ends the stage early.",
            "steps_per_epoch": "It counts steps; None takes as many as the data have.",
        }
        for name, hint in (counts | optional).items():
            value = getattr(self, name)
            if value is not None or name in counts:
                zero = name == "epochs"
                checked = positive_integer(name, value, hint, zero_allowed=zero)
                object.__setattr__(self, name, checked)
        if self.learning_rate is not None:
            object.__setattr__(self, "learning_rate", checked_learning_rate(self.learning_rate))
        if not isinstance(self.monitor, str) or not self.monitor:
            raise ValueError(
                f"`monitor` must be the name of a metric. Received: monitor={self.monitor!r}. "
                "Pass 'loss', 'val_loss' or a name from the `metrics` of `compile`."
            )
        if self.noise_limit is None:
            return
        if not isinstance(self.noise_limit, NoiseLimit):
            raise ValueError(
                "`noise_limit` must be a `NoiseLimit`. Received: noise_limit="
                f"{self.noise_limit!r}. For example NoiseLimit(small_batch=32, large_batch=1024)."
            )
        if self.patience is not None:
            raise ValueError(
                "A stage ends on a plateau or by the noise scale. Received: "
                f"patience={self.patience} and noise_limit={self.noise_limit}. Pass one of them."
            )
