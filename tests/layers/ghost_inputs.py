"""Inputs, masks, layers and their calls for the tests of GhostBatchNormalization."""

import keras
import numpy as np

# Channels are 3 everywhere but in the batch. Ranks 2 to 5, channels last and first.
SHAPES = [((3,), -1), ((5, 3), -1), ((3, 5), 1), ((4, 5, 3), -1), ((3, 4, 5), 1)]
SHAPES += [((2, 3, 2, 3), -1), ((3, 2, 3, 2), 1), ((4, 3, 5), 2)]


def inputs(batch, shape, seed=0):
    """Groups of different means and scales, and an upstream gradient."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, *shape)) * rng.uniform(0.3, 3, (batch, *[1] * len(shape)))
    x += rng.normal(size=(batch, *[1] * len(shape)))
    return x.astype("float32"), rng.normal(size=x.shape).astype("float32")


def built(layer, x, seed=1):
    """The layer with weights that are not their initial ones."""
    layer.build(x.shape)
    rng = np.random.default_rng(seed)
    channels = x.shape[layer.axis]
    values = [rng.uniform(0.5, 2, channels), rng.normal(size=channels)]
    values += [rng.normal(size=channels), rng.uniform(0.5, 2, channels)]
    layer.set_weights(values)
    return layer


def called(layer, x, mask=None):
    """The output of a layer in training, as an array.

    On JAX one program makes it, as in `fit`; else each of its operations is compiled by itself.
    """
    x = keras.ops.convert_to_tensor(x)
    mask = None if mask is None else keras.ops.convert_to_tensor(mask)
    if keras.backend.backend() == "jax":
        import jax

        if not layer.built:
            layer.build(x.shape)
        trainable, moving = (
            [v.value for v in each]
            for each in (layer.trainable_variables, layer.non_trainable_variables)
        )
        run = jax.jit(lambda *given: layer.stateless_call(*given, training=True, mask=mask))
        y, moved = run(trainable, moving, x)
        for variable, value in zip(layer.non_trainable_variables, moved, strict=True):
            variable.assign(value)
    else:
        y = layer(x, training=True, mask=mask)
    return keras.ops.convert_to_numpy(y)


def relative(actual, expected):
    return np.abs(np.asarray(actual, np.float64) - expected).max() / np.abs(expected).max()


def mask_for(x, axis, virtual_batch):
    """Drops about a third of the positions, and one whole group if there are several."""
    shape = list(x.shape)
    del shape[axis]
    mask = np.random.default_rng(7).uniform(size=shape) > 0.3
    if len(x) >= 2 * virtual_batch:
        mask[virtual_batch : 2 * virtual_batch] = False
    return mask
