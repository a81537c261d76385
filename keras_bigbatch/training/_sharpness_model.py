"""The class of a model that trains sharpness-aware, made of the class that it had."""

from functools import cache
from typing import Any

from keras_bigbatch import _backend
from keras_bigbatch._model_class import made_again, named_after, plain_config
from keras_bigbatch._private_api import forget_functions
from keras_bigbatch._private_step import make_global_seed
from keras_bigbatch.layers._ghost_model import ghost_class, plain_class
from keras_bigbatch.training._perturbation import Perturbation
from keras_bigbatch.training._two_gradients import check_trainable, two_gradients

# By a class of `sharpness_class`: the one that it was made of.
_ORIGINALS: dict[Any, Any] = {}


@cache
def sharpness_class(original: Any, perturbation: Perturbation) -> Any:
    """The class of a model with a training step of two gradients.

    What the step needs to know is the class's, and not the model's: so a clone has it.
    """

    class SharpnessAwareModel(original):
        """As the class that it is of; a training step takes its gradient near the weights."""

        def train_step(self, *arguments: Any) -> Any:
            step = two_gradients(self, perturbation)
            return _backend.active().training.train_step(self, step, *arguments)

        def make_train_function(self, force: bool = False) -> None:
            """Where every `fit` begins: what cannot be trained is refused here."""
            check_trainable(self, perturbation)
            make_global_seed()
            super().make_train_function(force)

        def get_config(self) -> dict[str, Any]:
            return {
                "plain": plain_config(self, original),
                "radius": perturbation.radius,
                "adaptive": perturbation.adaptive,
                "virtual_batch": perturbation.virtual_batch,
            }

        @classmethod
        def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
            config = dict(config)
            model = made_again(config.pop("plain"), original, custom_objects)
            become_sharpness_aware(model, Perturbation(**config))
            return model

    made = named_after(SharpnessAwareModel, original, "SharpnessAwareModel")
    _ORIGINALS[made] = original
    return made


def original_class(kind: Any) -> Any:
    """The class without what `sharpness_class` made of it, also inside a ghost model's."""
    if kind in _ORIGINALS:
        return _ORIGINALS[kind]
    inner = plain_class(kind)
    return kind if inner is kind else ghost_class(original_class(inner))


def become_sharpness_aware(model: Any, perturbation: Perturbation | None) -> None:
    """Makes a model train so where it stands, or with None as it did before.

    Args:
        model: A model.
        perturbation: From the weights to the point of the gradient.
    """
    original = original_class(type(model))
    model.__class__ = original if perturbation is None else sharpness_class(original, perturbation)
    forget_functions(model)
