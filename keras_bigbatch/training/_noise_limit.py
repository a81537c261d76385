"""How large the gradient noise scale may become before a stage ends."""

from dataclasses import dataclass

from keras_bigbatch._arguments import at_least_two, positive_integer, positive_number
from keras_bigbatch._measuring.noise_scale import checked_batches


@dataclass(frozen=True)
class NoiseLimit:
    """The gradient noise scale at which a stage ends, in multiples of the stage's batch.

    Pass it as `noise_limit` of a `BatchStage`, to switch to a larger batch when that pays off.
    `increase_on_noise` builds a whole list of such stages. Once per `every` epochs of the stage,
    the noise scale is measured as in `diagnostics.gradient_noise_scale`. The stage ends if

        noise scale > multiple * samples of an update

    where an update has the stage's batch times `gradient_accumulation_steps` samples. If the noise
    scale cannot be estimated (NaN), the lower end of its interval is used instead, so the batch
    grows later. If the weights are not finite, the stage does not end early.

    A measurement costs the gradients of `draws * large_batch` samples, in small batches, and does
    not change the training. Nothing is measured at the stage's planned end. Samples are drawn from
    arrays with replacement. If `x` is a function of the batch size, it is called with
    `small_batch`. Its data set must be finite, in random order and readable more than once. Each
    measurement continues where the last one stopped. Norm layers use the statistics of each small
    batch.

    Args:
        small_batch: Samples in a small batch of the measurement. The device holds one at a time.
        large_batch: A multiple of `small_batch`, in samples, ideally near the largest stage's
            batch.
        multiple: Factor on the batch, a positive number. A value below 1 ends the stage sooner.
        every: Number of epochs between two measurements.
        draws: Number of large batches in a measurement, 2 or more. A smaller data set gives fewer.
        seed: Seed for drawing samples from arrays.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    from keras_bigbatch.training import BatchStage, NoiseLimit

    limit = NoiseLimit(small_batch=32, large_batch=1024, multiple=0.5)
    stages = [BatchStage(32, epochs=50, noise_limit=limit), BatchStage(512, epochs=10)]
    # model.compile(...); fit_stages(model, x, y, stages)
    ```

    References:
        - [McCandlish et al., 2018](https://arxiv.org/abs/1812.06162), section 2.2 and appendix A.1
    """

    small_batch: int
    large_batch: int
    multiple: float = 1.0
    every: int = 5
    draws: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        small, large = checked_batches(self.small_batch, self.large_batch)
        hint = "It multiplies the batch: 1, or less to end the stage sooner."
        values = {
            "small_batch": small,
            "large_batch": large,
            "multiple": positive_number("multiple", self.multiple, hint),
            "every": positive_integer("every", self.every, "It counts epochs of the stage."),
            "draws": at_least_two("draws", self.draws, "It is the number of large batches."),
            "seed": positive_integer("seed", self.seed, "It starts the draws.", zero_allowed=True),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
