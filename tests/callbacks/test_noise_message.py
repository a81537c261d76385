"""What GradientNoiseScale says in the course of a training, and when."""

import keras
import numpy as np
import pytest

from tests.callbacks.fits import dense_model, fit
from tests.callbacks.test_gradient_noise_scale_callback import callback

SURE = {"draws": 12, "small_batch": 16, "large_batch": 128, "frequency": 5}


def rounded(value):
    return f"{float(f'{value:.2g}'):g}"


def messages(capsys):
    """What was said, each message as one line."""
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines())
    parts = " ".join(said.split()).split("GradientNoiseScale: ")
    assert parts[0] == ""
    return parts[1:]


@pytest.mark.parametrize("verbose", ["auto", 1])
def test_says_when_it_is_sure_and_what_it_was_at_the_end(verbose, capsys):
    noise = callback(**SURE, verbose=verbose)
    fit(dense_model(), noise, epochs=2)
    first, last = messages(capsys)
    low, high = noise.history["low"], noise.history["high"]
    values = noise.history["noise_scale"]
    at = next(i for i in range(len(low)) if high[i] <= 2 * low[i])
    assert f"beyond about {rounded(values[at])} samples bring little" in first
    assert f"at update {noise.history['update'][at]} " in first
    alone = noise.history["trace"][-1] / noise.history["gradient_norm_squared"][-1]
    assert f"at the last update, 20, the noise scale is about {rounded(alone)} samples (95" in last
    assert f"Averaged over the measurements it is about {rounded(values[-1])} samples" in last
    assert f"(95 % interval {rounded(low[-1])} to {rounded(high[-1])})" in last
    assert f"and was {rounded(min(values))} to {rounded(max(values))} in this training." in last
    assert all("It usually grows" in message for message in (first, last))


def test_says_only_at_the_end_what_it_cannot_tell(capsys):
    noise = callback(draws=2, large_batch=16, verbose=1)
    fit(dense_model(), noise, epochs=1)
    (only,) = messages(capsys)
    assert "at the last update, 10, the noise scale is" in only


def test_says_where_the_weights_diverged(capsys):
    class Diverge(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch:
                self.model.set_weights([w + np.nan for w in self.model.get_weights()])

    noise = callback(draws=12, verbose=1)
    fit(dense_model(keras.optimizers.SGD(0.0)), Diverge(), noise, epochs=2)
    last = messages(capsys)[-1]
    assert "at the last update, 20, the noise scale is unknown, as gradients were not" in last
    assert f"it is about {rounded(noise.noise_scale.value)} samples" in last


def test_says_nothing_where_it_is_told_so(capsys):
    fit(dense_model(), callback(**SURE), epochs=1)
    keras.config.disable_interactive_logging()
    try:
        fit(dense_model(), callback(**SURE, verbose="auto"), epochs=1)
    finally:
        keras.config.enable_interactive_logging()
    assert capsys.readouterr().out == ""
