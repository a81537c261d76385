"""Why a model cannot take the data: one sentence, the same on every backend."""

import re
from collections.abc import Callable
from typing import Any

import keras

from keras_bigbatch._measuring.batches import Batch, described


def unfit_data(
    model: keras.Model,
    sample: Batch,
    is_arrays: bool,
    error: Exception,
    outputs: Callable[[], Any],
) -> ValueError:
    """Returns the error to raise for data on which the model's loss failed.

    A backend's own error names neither a forgotten `y` nor a batch of another structure.

    Args:
        model: The model.
        sample: The batch of the first samples, which was tried.
        is_arrays: Whether the data are arrays rather than a data set.
        error: What was raised.
        outputs: Returns the model's outputs for the sample, or raises as the loss did.
    """
    x, y, sample_weight = sample
    try:
        of_model = described(outputs())
    except Exception as own:
        return ValueError(
            "The model cannot take a batch of `x`. Received: x of shape "
            f"{described(x)}{_text_in(x)}. {_inputs_of(model)} The error was: {_said(own)}"
        )
    lacks_targets = all(leaf is None for leaf in keras.tree.flatten(y))
    if lacks_targets and model.loss is not None:
        if is_arrays:
            return ValueError(
                "`y` is missing, but the loss of the model needs targets. Received: y=None. Pass "
                "the targets of `x`, as you do to `fit`."
            )
        return ValueError(
            "The targets are missing, but the loss of the model needs them. Received: a data set "
            f"whose batches are x alone, of shape {described(x)}. Make it yield `(x, y)`."
        )
    received = "no y" if lacks_targets else f"y of shape {described(y)}{_text_in(y)}"
    if sample_weight is not None:
        received += f" and sample_weight of shape {described(sample_weight)}"
    return ValueError(
        f"The loss of the model cannot be computed on a batch of the data. Received: {received}; "
        f"the outputs of the model are of shape {of_model}. The error was: {_said(error)}"
    )


def _inputs_of(model: keras.Model) -> str:
    inputs = getattr(model, "inputs", None) or []
    shapes = {tensor.name: tuple(tensor.shape) for tensor in inputs}
    if not shapes:
        return "Check it with `model(x[:1])`."
    if len(shapes) == 1:
        return f"Its input is of shape {next(iter(shapes.values()))}."
    return f"Its inputs are {shapes}."


def _text_in(structure: Any) -> str:
    """Returns what to add to a description for arrays of text or of Python objects."""
    types = {str(getattr(leaf, "dtype", "")) for leaf in keras.tree.flatten(structure)}
    found = sorted(name for name in types if name in ("object", "string") or name[:2] in _TEXT)
    return f" and of dtype {found[0]}, which is not numeric" if found else ""


# NumPy's types for text: `<U5`, `|S5`.
_TEXT = ("<U", ">U", "|S")


def _said(error: Exception) -> str:
    """Returns the informative line of a message, without colors and names of operations.

    Keras's messages begin with the name of the layer.
    """
    lines = [re.sub(r"\x1b\[\d*m|{{.*?}}", "", line).strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith("Exception encountered")]
    return (telling or [type(error).__name__])[0][:300]
