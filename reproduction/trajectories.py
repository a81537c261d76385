"""An optimizer of Keras on a quadratic whose gradient is nearly all noise, at very many weights.

The weights do not feel each other, so that a run of many weights is many runs of one. What they do
is described by the deviation over the weights, and by the drift of their mean from the start.
"""

import math

import keras
import numpy as np

START = 0.3  # of every weight; the minimum is at 0 and the curvature is 1
CHUNK = 256  # updates in a compiled loop, and rows of noise in memory


def follow(optimizers, batch, updates, noises, weights, seed, parts=(0.25, 0.5, 1)):
    """Deviation and drift, by the optimizer's name: arrays of a row a part and a column a noise.

    Args:
        optimizers: New optimizers by name; all are given the same noise.
        batch: Samples of an update. A gradient's noise falls with the square root of it.
        updates: Length of the training, of which a sixteenth is whole.
        noises: Standard deviations of one sample's gradient: each is a training of its own.
        weights: How many weights each training has.
        seed: Of the noise.
        parts: Where to look, in sixteenths of the training.
    """
    chunk = min(CHUNK, updates // 16)
    ends = [round(part * updates) for part in parts]
    if not chunk or any(end % chunk for end in (updates, *ends)):
        raise ValueError(f"{updates} updates, to the parts {parts}, are not whole chunks.")
    scale = np.array(noises, "float32")[:, None] / math.sqrt(batch)
    start = np.full((len(noises), weights), START, "float32")
    advances = {name: _advance(optimizer, start, scale) for name, optimizer in optimizers.items()}
    draw, seen = np.random.default_rng(seed), {name: [] for name in optimizers}
    for done in range(chunk, updates + 1, chunk):
        noise = draw.standard_normal((chunk, weights), "float32")
        for name, advance in advances.items():
            now = advance(noise)
            if done in ends:
                seen[name].append(keras.ops.convert_to_numpy(now).astype("float64"))
    return {
        name: {"deviation": np.std(looks, axis=-1), "drift": START - np.mean(looks, axis=-1)}
        for name, looks in seen.items()
    }


def _advance(optimizer, start, scale):
    """A function that makes an update for each row of noise, and returns the weights."""
    variable = keras.Variable(start)
    optimizer.build([variable])
    compiled = {"jax": _on_jax, "tensorflow": _on_tensorflow, "torch": _on_torch}
    return compiled[keras.backend.backend()](optimizer, variable, scale)


def _on_jax(optimizer, variable, scale):
    import jax

    def update(state, noise):
        held, (weights,) = state
        changed, held = optimizer.stateless_apply(held, [weights + scale * noise], [weights])
        return (held, changed), None

    loop = jax.jit(lambda state, rows: jax.lax.scan(update, state, rows)[0])
    state = [each.value for each in optimizer.variables], [variable.value]

    def advance(rows):
        nonlocal state
        state = loop(state, rows)
        return state[1][0]

    return advance


def _on_tensorflow(optimizer, variable, scale):
    import tensorflow as tf

    def loop(rows):
        for noise in rows:
            optimizer.apply([variable.value + scale * noise], [variable])

    # Traced here: TensorFlow warns of many functions that are traced when they are called.
    rows = tf.TensorSpec((None, variable.shape[-1]))
    traced = tf.function(loop).get_concrete_function(rows)

    def advance(rows):
        traced(tf.constant(rows))
        return variable.value

    return advance


def _on_torch(optimizer, variable, scale):
    import torch

    scale = keras.ops.convert_to_tensor(scale)

    @torch.no_grad()
    def advance(rows):
        for noise in keras.ops.convert_to_tensor(rows):
            optimizer.apply([variable.value + scale * noise], [variable])
        return variable.value

    return advance
