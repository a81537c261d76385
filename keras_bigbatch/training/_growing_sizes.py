"""The batch sizes of a training whose batch grows by a factor."""

from keras_bigbatch._arguments import positive_integer, positive_number


def growing_sizes(batch: int, max_batch: int, factor: float) -> list[int]:
    """`batch * factor**i`, rounded, while that is less than `max_batch`, and at last `max_batch`.

    Raises:
        ValueError: If an argument is not a positive number, or the sizes do not grow.
    """
    samples = "It counts the samples of one step."
    batch = positive_integer("batch", batch, samples)
    max_batch = positive_integer("max_batch", max_batch, samples)
    factor = positive_number("factor", factor, "It multiplies the batch, for example by 5.")
    if factor <= 1 or max_batch <= batch:
        raise ValueError(
            "The batch must grow: pass `factor` above 1, `max_batch` above `batch`. Received: "
            f"factor={factor}, batch={batch}, max_batch={max_batch}."
        )
    sizes = [batch]
    while (size := round(batch * factor ** len(sizes))) < max_batch:
        if size <= sizes[-1]:
            raise ValueError(
                f"`factor` is too small to make a batch of {sizes[-1]} grow. Received: "
                f"factor={factor}. Pass 2 or more."
            )
        sizes.append(size)
    return [*sizes, max_batch]
