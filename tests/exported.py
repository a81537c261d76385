"""What a model predicts after Keras's or torch's export."""

import keras
import pytest
from keras import ops


def program(model, x):
    """Torch's program of the model."""
    import torch

    return torch.export.export(model, (ops.convert_to_tensor(x),))


def served(model, x, folder):
    """The predictions of the exported model, on the backend that it was made on."""
    if keras.backend.backend() == "torch":
        return ops.convert_to_numpy(program(model, x).module()(ops.convert_to_tensor(x)))
    tf = pytest.importorskip("tensorflow", reason="Keras exports JAX by TensorFlow too")

    model.export(folder / "model", verbose=False)
    # The loaded model must live as long as its function.
    loaded = tf.saved_model.load(folder / "model")
    return loaded.serve(x)
