"""The stages of a training whose batch follows the measured gradient noise scale."""

from keras_bigbatch._arguments import positive_integer, positive_number
from keras_bigbatch._rates.scale_learning_rate import scale_learning_rate
from keras_bigbatch.training._batch_stage import BatchStage
from keras_bigbatch.training._growing_sizes import growing_sizes
from keras_bigbatch.training._noise_limit import NoiseLimit


def increase_on_noise(
    batch: int,
    max_batch: int,
    epochs: int,
    factor: float = 2,
    multiple: float = 1.0,
    every: int = 5,
    learning_rate: float | None = None,
    draws: int = 4,
    seed: int = 0,
) -> tuple[BatchStage, ...]:
    """Returns stages for `fit_stages` whose batch grows when the gradient noise scale exceeds it.

    Use it to start with a small batch and end with a large one without choosing when the batch
    grows. A larger batch pays off while the batch is below the noise scale, and the noise scale
    usually grows during training. The sizes are `batch * factor**i`, rounded, and finally
    `max_batch`, which is kept until the end. The noise scale is measured once per `every` epochs
    (see `NoiseLimit`). If it is above `multiple` times the batch, the next size begins. Training
    takes `epochs` epochs in total. Sizes that it does not reach are skipped.

    The first size uses `learning_rate`. Larger sizes use that rate scaled by the square-root rule,
    constant within a stage. For a rate that decays from epoch to epoch, leave it out and use the
    callback on the page "Batch stages". With `gradient_accumulation_steps=k`, all sizes are
    micro-batches.

    A measurement costs the gradients of `draws * max_batch` samples (`max_batch` rounded up to a
    multiple of `batch`), in steps of `batch` samples. At `max_batch`, nothing is measured.

    McCandlish et al. instead make the batch proportional to the square root of the noise scale,
    CABS divides by the loss instead of the squared gradient, and AdaBatch grows the batch at fixed
    epochs.

    Args:
        batch: Samples per step at the start. Also the size of a small batch in the measurement.
        max_batch: Samples per step at the end: more than `batch`, and at most the number of
            training samples.
        epochs: Epochs in total, more than `every`.
        factor: The factor by which the batch grows, more than 1.
        multiple: The batch grows when the noise scale is above `multiple * batch`.
        every: Epochs between two measurements at the same size.
        learning_rate: The rate at `batch`, a float. None keeps the optimizer's rate.
        draws: Number of large batches in a measurement, 2 or more.
        seed: Seed for drawing the samples.

    Returns:
        The stages.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    from keras_bigbatch.training import increase_on_noise
    print([stage.batch for stage in increase_on_noise(40, 1000, 100)])  # [40, 80, ..., 640, 1000]
    ```

    References:
        - [McCandlish et al., 2018](https://arxiv.org/abs/1812.06162), section 2.2 and appendix D
    """
    sizes = growing_sizes(batch, max_batch, factor)
    # A large batch is made of whole small ones.
    large = -(-sizes[-1] // sizes[0]) * sizes[0]
    limit = NoiseLimit(sizes[0], large, multiple, every, draws, seed)
    epochs = positive_integer("epochs", epochs, "It counts epochs.")
    if epochs <= limit.every:
        raise ValueError(
            "`epochs` must be more than `every`, or nothing is measured. Received: "
            f"epochs={epochs}, every={limit.every}."
        )
    rates: list[float | None] = [None] * len(sizes)
    if learning_rate is not None:
        hint = "A schedule would begin anew with each size: let a callback set such rates."
        rate = positive_number("learning_rate", learning_rate, hint)
        rates = [scale_learning_rate(rate, sizes[0], size, "sqrt") for size in sizes]
    return tuple(
        BatchStage(
            size,
            epochs if index == 0 else 0,
            rates[index],
            noise_limit=limit if index + 1 < len(sizes) else None,
        )
        for index, size in enumerate(sizes)
    )
