"""The stages of a training whose first epoch has a small batch and a small rate."""

from keras_bigbatch._arguments import positive_integer
from keras_bigbatch._rates.learning_rates import LearningRate
from keras_bigbatch.training._batch_stage import BatchStage
from keras_bigbatch.training._warm_start import warm_start


def small_first_epoch(
    epochs: int,
    small_batch: int = 512,
    large_batch: int = 8192,
    small_learning_rate: LearningRate | None = 0.005,
    learning_rate: LearningRate | None = 0.05,
) -> tuple[BatchStage, BatchStage]:
    """Returns two stages for `fit_stages`: one epoch at a small batch, the rest at a large one.

    Use it if large-batch training starts badly. The defaults are the paper's for CIFAR-10 and SGD:
    one epoch at batch 512 and learning rate 0.005, then batch 8192 and rate 0.05. The rates differ
    by a factor of 10 and the batches by 16, which is neither the linear nor the square-root rule.

    The first epoch makes `large_batch / small_batch` times as many updates as the others. Compare
    it with training at `large_batch` for as many more updates, which may gain as much.

    It follows the paper, which does not say whether the momentum carries over. Here it does.

    Args:
        epochs: Epochs in total, at least 2.
        small_batch: Samples per step in the first epoch.
        large_batch: Samples per step afterwards, more than `small_batch`.
        small_learning_rate: Learning rate of the first epoch: a float, a `LearningRateSchedule`, or
            None for the optimizer's.
        learning_rate: Learning rate of the other epochs. None keeps the current rate.

    Returns:
        The two stages.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    from keras_bigbatch.training import small_first_epoch

    for stage in small_first_epoch(epochs=20):
        print(stage)
    # model.compile(...); fit_stages(model, x, y, small_first_epoch(epochs=20))
    ```

    References:
        - Gao & Zhong, "Study on the Large Batch Size Training of Neural Networks Based on the
          Second Order Gradient", section 3.2, figures 11 to 14
    """
    count = positive_integer("epochs", epochs, "It counts the first, small-batch epoch too.")
    if count == 1:
        raise ValueError(
            "`epochs` counts the first, small-batch epoch too, so it must be at least 2. "
            "Received: epochs=1."
        )
    return warm_start(small_batch, large_batch, 1, count - 1, small_learning_rate, learning_rate)
