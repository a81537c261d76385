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
    """Makes a model train with the gradient at the worst point near its weights (SAM).

    Use it when a large batch fits the training set but ends in a sharp minimum. Each step computes
    two gradients. The first one, g at the weights w, points to the worst point within the radius.
    The second one is the gradient at that point, and the optimizer gets it:

        plain:     w + radius * g / norm(g)
        adaptive:  w + radius * |w|^2 g / norm(|w| g)

    With `virtual_batch`, each group of that many samples has its own worst point, and the second
    gradients are averaged over all samples. The tail of a batch joins its last group. Batch norm
    sees each group as a batch. Accumulated micro-batches have their own worst points, too.

    The function changes the class of the model in place and returns the model. It takes any model
    that trains with Keras's own `train_step`, before or after `compile`. `evaluate` and `predict`
    stay as they are. Loss and metrics are those of the first pass, which also updates batch norm's
    statistics. Random layers draw the same values in both passes. Regularization losses count in
    both passes, an optimizer's `weight_decay` in neither. A `LossScaleOptimizer` skips a step whose
    first gradient overflows.

    On TensorFlow each replica has its own worst point, as in the paper. On JAX the batch of all
    devices has one. `.keras` files and clones stay sharpness-aware, except clones of `Sequential`
    models.

    Args:
        model: Any model, which need not be built.
        radius: The norm of the step from the weights, rho in the papers. 0 turns the model back
            into a plain one. An adaptive radius is usually about ten times as large.
        adaptive: Whether steps are relative to the weights, so that the scale of a layer does not
            matter (ASAM).
        virtual_batch: Samples that share a worst point, m in the paper; None for the whole batch.

    Returns:
        The model.

    Raises:
        ValueError: If an argument is not as above, or if the model has its own `train_step` or
            contains a torch module. In `fit`: for a `virtual_batch` on several devices.

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
        "It is the norm of the step from the weights, for instance 0.05; 0 makes the model plain.",
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
            "`model` must train with Keras's own `train_step`, which is replaced. Received: the "
            f"model {model.name!r}, whose class {owner.__name__} has its own `train_step`. Move "
            "what it does into `compute_loss` or `call`, or compute the two gradients in it."
        )
    _backend.active().gradients.check_differentiable(model)
