"""A batch that follows the measured gradient noise scale (McCandlish et al., 1812.06162).

It begins small and doubles, up to the large one, while the noise scale is above a multiple of it.
Rates go with the square root of the batch.
"""

import math

from keras_bigbatch.diagnostics import gradient_noise_scale

EVERY = 5  # epochs between two measurements
DRAWS = 4  # of 1000 samples


def follow(model, data, batches, rate, multiple, epochs, callbacks, seed):
    """Trains; returns the batch of each epoch.

    Args:
        model: Compiled, at a rate that is set here.
        data: To train on.
        batches: The smallest and the largest.
        rate: The highest, at the largest batch.
        multiple: The batch grows while the noise scale is above so many times it.
        epochs: In all.
        callbacks: As in `fit`.
        seed: Of the draws.
    """
    batch, largest = batches
    given, made = (data.x_train, data.y_train), []
    for epoch in range(epochs):
        if epoch and epoch % EVERY == 0 and batch < largest:
            scale = gradient_noise_scale(
                model, *given, batches[0], largest, draws=DRAWS, seed=seed + epoch, verbose=0
            )
            # Where it is unknown, the interval's lower end is a bound.
            found = scale.interval[0] if math.isnan(scale.value) else scale.value
            if found > multiple * batch:
                batch = min(2 * batch, largest)
        model.optimizer.learning_rate = rate * math.sqrt(batch / largest) * share(epoch, epochs)
        model.fit(
            *given,
            batch_size=batch,
            initial_epoch=epoch,
            epochs=epoch + 1,
            callbacks=callbacks,
            verbose=0,
        )
        made.append(batch)
    return made


def share(epoch, epochs):
    """Of the highest rate: a warm-up in the first twentieth, then a cosine down to 0."""
    warmup = max(1, epochs // 20)
    if epoch < warmup:
        return (epoch + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))
