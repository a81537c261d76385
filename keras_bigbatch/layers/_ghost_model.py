"""Models whose config records which batch norms are ghost ones, where their code does not."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_bigbatch._model_class import made_again, named_after, of_class, plain_config
from keras_bigbatch._private_api import models
from keras_bigbatch.layers._class_change import (
    MadeAgain,
    become_ghost,
    become_plain,
    convertible,
    ghost_of,
    is_ghost,
)
from keras_bigbatch.layers._ghost_summary import ghost_summary

# From the class of a model whose code creates batch norms to its ghost class, and back.
_GHOST_CLASSES: dict[Any, Any] = {}
_PLAIN_CLASSES: dict[Any, Any] = {}


def ghost_class(plain: Any) -> Any:
    """Returns the model class whose files record which batch norms are ghost ones."""
    if plain in _PLAIN_CLASSES:
        return plain
    if plain not in _GHOST_CLASSES:
        _GHOST_CLASSES[plain] = made = _made(plain)
        _PLAIN_CLASSES[made] = plain
    return _GHOST_CLASSES[plain]


def plain_class(ghost: Any) -> Any:
    """Returns the class that `ghost_class` was given; any other class is returned unchanged."""
    return _PLAIN_CLASSES.get(ghost, ghost)


def _made(plain: Any) -> Any:
    class GhostModel(plain):
        """The class that it extends, but its batch norms stay ghost ones after loading."""

        def get_config(self) -> dict[str, Any]:
            ghosts = [_saved(layer) for layer in convertible(self)]
            return {"plain": plain_config(self, plain), "ghosts": ghosts}

        @classmethod
        def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
            model = made_again(config["plain"], plain, custom_objects)
            for layer, ghost in zip(convertible(model), config["ghosts"], strict=True):
                if ghost:
                    become_ghost(layer, ghost_of(layer, **ghost), MadeAgain)
            model.__class__ = ghost_class(type(model))
            return model

        def summary(self, *args: Any, **kwargs: Any) -> Any:
            """Prints Keras's summary, with the original layer classes, then the ghost ones."""
            super().summary(*args, **kwargs)
            ghost_summary(self, kwargs.get("print_fn") or print)

    if hasattr(plain, "save_to_preset"):

        def save_to_preset(self: Any, preset_dir: str, **options: Any) -> None:
            """Saves the plain model, since presets are loaded by class name."""
            with _plain_for_now(self):
                self.save_to_preset(preset_dir, **options)

        GhostModel.save_to_preset = save_to_preset

    return named_after(GhostModel, plain, "GhostModel")


def _saved(layer: Any) -> dict[str, Any] | None:
    if type(layer) is not MadeAgain:
        return None  # its own config says it
    return {name: getattr(layer, name) for name in ("virtual_batch", "statistics", "momentum")}


@contextlib.contextmanager
def _plain_for_now(model: Any) -> Iterator[None]:
    """Makes a model, its submodels and their batch norms plain for the time being."""
    ghosts = [layer for layer in convertible(model) if is_ghost(layer)]
    held = [(type(each), ghost_of(each, each.virtual_batch)) for each in ghosts]
    try:
        with contextlib.ExitStack() as stack:
            for part in models(model):
                stack.enter_context(of_class(part, plain_class(type(part))))
            for layer in ghosts:
                become_plain(layer)
            yield
    finally:
        for layer, (kind, ghost) in zip(ghosts, held, strict=True):
            become_ghost(layer, ghost, kind)


# So that files can be loaded before any model has been converted.
ghost_class(keras.Model)
