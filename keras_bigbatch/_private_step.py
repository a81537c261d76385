"""What the package's training step needs of Keras and Keras does not promise, as `_private_api`."""

import sys
from typing import Any

import keras


def loss_tracker(model: keras.Model) -> Any:
    """The metric behind the `loss` that `fit` reports: `Trainer._loss_tracker`.

    Keras's training step moves it, so a step that takes its place must do so.
    """
    return model._loss_tracker


def build_metrics(model: keras.Model, data: Any) -> None:
    """Makes the variables of the compiled metrics and losses: `Trainer._symbolic_build`.

    `fit` does it on JAX and torch. On TensorFlow the first call makes them, which a scope in which
    nothing is assigned would not see.
    """
    model._symbolic_build(data_batch=data)


def make_global_seed() -> None:
    """Makes what random numbers without a seed come from, if there is none yet.

    Keras makes it when it is first asked for, by `global_seed_generator` in the module of
    `keras.random.SeedGenerator`. Inside a training step that is too late.
    """
    sys.modules[keras.random.SeedGenerator.__module__].global_seed_generator()


def global_seed_state() -> Any:
    """The variable of what `make_global_seed` made, which belongs to no model; None if none.

    Keras keeps it for each thread, and TensorFlow's replicas have threads of their own. On JAX it
    refuses numbers without a seed in a training step.
    """
    state = sys.modules[keras.random.SeedGenerator.__module__].global_state
    generator = state.get_global_attribute("global_seed_generator")
    return None if generator is None else generator.state


def mask_of(tensor: Any) -> Any:
    """The mask that a layer has given its output, or None: `_keras_mask`.

    Losses and metrics look for it on the prediction.
    """
    return getattr(tensor, "_keras_mask", None)


def set_mask(tensor: Any, mask: Any) -> Any:
    """The tensor, with the mask on it if there is one."""
    if mask is not None:
        tensor._keras_mask = mask
    return tensor
