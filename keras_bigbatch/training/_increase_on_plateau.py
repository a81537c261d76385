"""The stages of a training that increases the batch where others decrease the rate."""

from keras_bigbatch._arguments import positive_integer
from keras_bigbatch.training._batch_stage import BatchStage
from keras_bigbatch.training._growing_sizes import growing_sizes


def increase_on_plateau(
    batch: int,
    max_batch: int,
    epochs: int,
    factor: float = 5,
    patience: int = 10,
    monitor: str = "val_loss",
) -> tuple[BatchStage, ...]:
    """Returns stages for `fit_stages` whose batch grows when a metric has stopped improving.

    Use it in place of `ReduceLROnPlateau(factor=1 / factor)`. The noise of SGD is about
    `learning_rate * samples / batch`. So multiplying the batch by `factor` reduces the noise as
    much as dividing the rate by `factor`, with fewer updates. The optimizer's rate does not change.
    With `gradient_accumulation_steps=k`, all sizes are micro-batches. The sizes are
    `batch * factor**i`, rounded, and finally `max_batch`, which is kept until the end.

    Training takes `epochs` epochs in total. If there is no plateau, the larger sizes get one epoch
    each at the end. A plateau in the last stage has no effect. At that point you have to decrease
    the rate.

    Smith et al. instead increase the batch at fixed epochs (for that, write the stages as
    `BatchStage(batch, epochs)`), and decrease the rate when the batch cannot grow further.

    Args:
        batch: Samples per step at the start.
        max_batch: Samples per step at the end: more than `batch`, and at most the number of
            training samples.
        epochs: Epochs in total, at least one for each size.
        factor: The factor by which the batch grows, more than 1.
        patience: Epochs without improvement after which the batch grows.
        monitor: What must improve. See `BatchStage`.

    Returns:
        The stages.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    from keras_bigbatch.training import increase_on_plateau

    stages = increase_on_plateau(128, 5000, epochs=200, patience=10)
    print([stage.batch for stage in stages])  # [128, 640, 3200, 5000]
    # model.compile(...); fit_stages(model, x, y, stages, validation_data=(x_val, y_val))
    ```

    References:
        - [Smith et al., 2018](https://arxiv.org/abs/1711.00489)
    """
    sizes = growing_sizes(batch, max_batch, factor)
    first = positive_integer("epochs", epochs, "It counts epochs.") - len(sizes) + 1
    if first < 1:
        raise ValueError(
            f"`epochs` must be at least 1 for each of the batches {sizes}. Received: "
            f"epochs={epochs}. Pass more epochs or a larger `factor`."
        )
    lengths = [first, *[1] * (len(sizes) - 1)]
    return tuple(
        BatchStage(size, length, None, patience if size != sizes[-1] else None, monitor)
        for size, length in zip(sizes, lengths, strict=True)
    )
