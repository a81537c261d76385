"""What `GradientNoiseScale` prints."""

import math
import textwrap
from collections.abc import Sequence

import keras

from keras_bigbatch._typing import Verbose
from keras_bigbatch.diagnostics import NoiseScale


def once_sure(found: NoiseScale, update: int) -> str:
    """Says which batch is large enough, as soon as that is known."""
    return (
        f"batches beyond about {_rounded(found.value)} samples bring little at update {update} "
        f"({_interval(found)})."
    )


def at_the_end(averages: Sequence[float], found: NoiseScale, last: NoiseScale, update: int) -> str:
    """Says what the noise scale was in training.

    Args:
        averages: All averages of the training.
        found: The last of them. It lags behind where the noise scale grows.
        last: The last measurement alone.
        update: The update at which it was made.
    """
    text = f"at the last update, {update}, the noise scale is {_known(last)}."
    if len(averages) > 1:
        text += f" Averaged over the measurements it is {_known(found)}"
        known = [value for value in averages if math.isfinite(value)]
        if len(known) > 1:
            text += f", and was {_rounded(min(known))} to {_rounded(max(known))} in this training"
        text += "."
    return text


def say(text: str, verbose: Verbose) -> None:
    """Prints the text on lines of its own, with a note that the noise scale grows."""
    if verbose == "auto":
        verbose = 1 if keras.config.is_interactive_logging_enabled() else 0
    if verbose:
        text = f"GradientNoiseScale: {text} It usually grows as the loss falls."
        # The progress bar of `fit` may not have ended its line.
        print("\n" + textwrap.fill(text, 80))


def _known(found: NoiseScale) -> str:
    low, _ = found.interval
    if math.isnan(low):
        return "unknown, as gradients were not finite"
    if math.isnan(found.value):
        return f"{_rounded(low)} samples or more"
    return f"about {_rounded(found.value)} samples ({_interval(found)})"


def _interval(found: NoiseScale) -> str:
    low, high = found.interval
    return f"95 % interval {_rounded(low)} to {_rounded(high)}"


def _rounded(samples: float) -> str:
    """Rounds to two digits, since more are not known."""
    rounded = float(f"{samples:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"
