"""Sharpness-aware minimization for a model that you already have."""

from typing import Any

import keras

from keras_bigbatch import _backend
from keras_bigbatch._arguments import boolean, positive_integer, positive_number
from keras_bigbatch._serialization import is_keras
from keras_bigbatch.training._perturbation import Perturbation
from keras_bigbatch.training._sharpness_model import become_sharpness_aware, original_class


def sharpness_aware(
    model: keras.Model,
    radius: float = 0.05,
    adaptive: bool = False,
    virtual_batch: int | None = None,
) -> keras.Model:
    """Makes a model train by the gradient at the worst point near its weights (SAM).

    Use it where a large batch fits its training set and ends in a sharp minimum. A step takes two
    gradients. The first, g at the weights w, points to the worst point within the radius; the
    optimizer gets the second one, which is the gradient there:

        plain:     w + radius * g / norm(g)
        adaptive:  w + radius * |w|^2 g / norm(|w| g)

    `virtual_batch` gives each group of so many samples a point of its own, and averages the second
    gradients by samples; the tail of a batch joins its last group. Each group is a batch of its own
    for batch norm too. `gradient_accumulation_steps` does the same with micro-batches.

    The model itself changes, by its class, and is returned: any model whose `train_step` is Keras's
    own, before or after `compile`. `evaluate` and `predict` stay as they are. Loss and metrics are
    those of the first pass, which also moves batch norm's statistics. Random layers draw the same
    in both passes. Regularization losses count in both, an optimizer's `weight_decay` in neither.
    Under a `LossScaleOptimizer` a step whose first gradient overflows is skipped.

    On TensorFlow each replica has a point of its own, as in the paper; on JAX there is one for the
    whole batch of all devices. `.keras` files come back with all this, and so do clones,
    except of `Sequential` models.

    Args:
        model: Any model, which need not be built.
        radius: The norm of the step from the weights, rho in the papers; 0 makes the model train as
            it did before. An adaptive radius is some ten times as large.
        adaptive: Whether steps are relative to the weights, which makes them independent of a
            layer's scale (ASAM).
        virtual_batch: Samples that share a point, m in the paper; None for the whole batch.

    Returns:
        The model.

    Raises:
        ValueError: If an argument is not as above, or if the model has a `train_step` of its own or
            a torch module. In `fit`: with a `virtual_batch` on several devices.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model = kbb.training.sharpness_aware(model, radius=0.05, virtual_batch=128)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.fit(np.random.rand(1024, 8), np.random.rand(1024, 1), batch_size=512, verbose=0)
    ```

    References:
        - [Foret et al., 2020](https://arxiv.org/abs/2010.01412), equation 2; section 4.1 (groups)
        - [Kwon et al., 2021](https://arxiv.org/abs/2102.11600), equation 3 (adaptive)
    """
    radius = positive_number(
        "radius",
        radius,
        "It is the norm of the step from the weights, for instance 0.05; 0 takes it back.",
        zero_allowed=True,
    )
    boolean("adaptive", adaptive)
    if virtual_batch is not None:
        virtual_batch = positive_integer(
            "virtual_batch", virtual_batch, "It is the number of samples that share a perturbation."
        )
    _check(model)
    become_sharpness_aware(model, Perturbation(radius, adaptive, virtual_batch) if radius else None)
    return model


def _check(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a `keras.Model`. Received: {model!r}.")
    original = original_class(type(model))
    owner = next(kind for kind in original.__mro__ if "train_step" in vars(kind))
    if not is_keras(owner):
        raise ValueError(
            f"`model` must train by Keras's `train_step`, which two gradients replace. Received: "
            f"the model {model.name!r}, with a `train_step` of its own in class {owner.__name__}. "
            "Put what it does into `compute_loss` or `call`, or take the two gradients there."
        )
    _backend.active().gradients.check_differentiable(model)
