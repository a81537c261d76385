"""One stage of a training: a batch size and its duration."""

from dataclasses import dataclass

from keras_bigbatch._arguments import positive_integer
from keras_bigbatch._rates.learning_rates import LearningRate, checked_learning_rate


@dataclass(frozen=True)
class BatchStage:
    """A batch size in samples, the epochs that it lasts, and its learning rate.

    Use it to tell `fit_stages` the order of the stages: a small batch first and a large one later,
    or the other way round. `warm_start`, `small_first_epoch` and `increase_on_plateau` return the
    stages of the papers. No rule couples a stage's rate to its batch; for the usual rules, see
    `schedules.scale_learning_rate`.

    With arrays, an epoch of a stage has `ceil(samples / batch)` steps, as in `fit`, or
    `steps_per_epoch`. A stage with `patience` ends when `monitor` has not improved for that many
    epochs, as `keras.callbacks.EarlyStopping` would end a training. Its remaining epochs go to the
    next stage, so the total number of epochs stays the same.

    Args:
        batch: Samples in one step of `fit`, its `batch_size`: all replicas together. With
            `gradient_accumulation_steps=k` an update has `k * batch`.
        epochs: Epochs of this stage.
        learning_rate: A positive float; a `LearningRateSchedule`, which counts updates from the
            beginning of this stage (under accumulation micro-steps, unless it knows
            `accumulation_steps`); or None to keep the optimizer's rate.
        patience: End the stage after this many epochs without improvement, or None for never.
        monitor: What must improve: `"loss"`, the name of one of Keras's metrics, or either
            with `"val_"`.
        steps_per_epoch: Steps in one epoch, or None for as many as the data have. A data set that
            repeats forever needs it.

    Raises:
        ValueError: If an argument is not as above.

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

    def __post_init__(self) -> None:
        counts = {"batch": "It counts the samples of one step.", "epochs": "It counts epochs."}
        optional = {
            "patience": "It counts epochs without improvement; None never ends the stage early.",
            "steps_per_epoch": "It counts steps; None takes as many as the data have.",
        }
        for name, hint in (counts | optional).items():
            value = getattr(self, name)
            if value is not None or name in counts:
                object.__setattr__(self, name, positive_integer(name, value, hint))
        if self.learning_rate is not None:
            object.__setattr__(self, "learning_rate", checked_learning_rate(self.learning_rate))
        if not isinstance(self.monitor, str) or not self.monitor:
            raise ValueError(
                f"`monitor` must be the name of a metric. Received: monitor={self.monitor!r}. "
                "Pass 'loss', 'val_loss' or a name from the `metrics` of `compile`."
            )
