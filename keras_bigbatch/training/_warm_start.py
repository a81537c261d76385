"""The stages of a training that is warm-started with a small batch."""

from keras_bigbatch._rates.learning_rates import LearningRate
from keras_bigbatch.training._batch_stage import BatchStage


def warm_start(
    small_batch: int,
    large_batch: int,
    small_epochs: int,
    large_epochs: int,
    learning_rate: LearningRate | None = None,
    large_learning_rate: LearningRate | None = None,
) -> tuple[BatchStage, BatchStage]:
    """Returns two stages for `fit_stages`: some epochs at a small batch, then a large one.

    Use it to find out how many small-batch epochs it takes until a large batch no longer loses
    accuracy: train with `small_epochs` 1, 2, 5, 10, ... and compare. One or two epochs may change
    nothing. After enough of them, the large batch ends at the small batch's accuracy. The runs make
    different numbers of updates, so part of the gain comes from more training.

    Keskar et al. load the small batch's weights into a new run. Here, the optimizer keeps its
    momenta and its update count.

    Args:
        small_batch: Samples per step at the start.
        large_batch: Samples per step afterwards, more than `small_batch`.
        small_epochs: Epochs at the small batch.
        large_epochs: Epochs at the large batch.
        learning_rate: Learning rate at the small batch: a float, a `LearningRateSchedule`, or None
            for the optimizer's.
        large_learning_rate: The same for the large batch. None keeps the current rate.

    Returns:
        The two stages.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    from keras_bigbatch.training import warm_start

    stages = warm_start(256, 5000, small_epochs=5, large_epochs=95)
    print(stages[0])
    # model.compile(...); fit_stages(model, x, y, stages)
    ```

    References:
        - [Keskar et al., 2017](https://arxiv.org/abs/1609.04836), section 3
    """
    first = BatchStage(small_batch, small_epochs, learning_rate)
    second = BatchStage(large_batch, large_epochs, large_learning_rate)
    if first.batch >= second.batch:
        raise ValueError(
            "`large_batch` must be larger than `small_batch`. Received: small_batch="
            f"{small_batch}, large_batch={large_batch}. For any order, list `BatchStage`s yourself."
        )
    return first, second
