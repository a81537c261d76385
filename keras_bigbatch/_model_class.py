"""A class that is made of a model's class, goes by its name, and is written to files with it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_bigbatch._serialization import PACKAGE, is_keras


def named_after(made: Any, plain: Any, registered: str) -> Any:
    """Gives a class the name of the one that it is made of, and registers it under another.

    Keras names the entries of a file's weights by the name of the class. In `.keras` files the
    class is found by `registered`, whatever it was made of: its `from_config` reads the plain one.
    """
    if hasattr(plain, "save_to_preset"):

        def save_to_preset(self: Any, preset_dir: str, **options: Any) -> None:
            """Writes the plain model: presets are read by the name of the class."""
            with of_class(self, plain):
                self.save_to_preset(preset_dir, **options)

        if "save_to_preset" not in vars(made):
            made.save_to_preset = save_to_preset
    made.__name__, made.__qualname__ = plain.__name__, plain.__qualname__
    made.__module__ = plain.__module__
    register = keras.saving.register_keras_serializable(package=PACKAGE, name=registered)
    return register(made)


def plain_config(model: Any, plain: Any) -> dict[str, Any]:
    """What Keras writes of the model, if it were one of the plain class."""
    registered = keras.saving.get_registered_name(plain)
    # Keras asks the class whether there is a config, and whether it is the default one.
    with of_class(model, plain):
        config = model.get_config()
    return {
        "module": plain.__module__,
        "class_name": plain.__name__,
        "config": config,
        # As Keras writes it: an unregistered class is found by it in `custom_objects`. The classes
        # of this module stand in Keras's too where the plain one does.
        "registered_name": None if is_keras(plain) and ">" not in registered else registered,
    }


def made_again(config: dict[str, Any], plain: Any, custom_objects: Any = None) -> Any:
    """The model that `plain_config` described, which may be of another class than `plain`."""
    known = {plain.__name__: plain, **(custom_objects or {})}
    return keras.saving.deserialize_keras_object(config, custom_objects=known)


@contextlib.contextmanager
def of_class(model: Any, cls: Any) -> Iterator[None]:
    """Lets the model be one of the class."""
    before, model.__class__ = type(model), cls
    try:
        yield
    finally:
        model.__class__ = before
