"""How to train the demo's network from many seeds on one core: by `fit`, or compiled as a whole.

- fit: an ordinary `fit`.
- step: a compiled update, called in a loop.
- scan: all updates in one compiled loop.
- seeds: the compiled update over several seeds at once (`jax.vmap`), called in a loop.
- scan of seeds: both.

It prints milliseconds an update and seed, compilation left out. JAX only.

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python benchmarks/seeds_at_once.py
"""

import os
import time

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np

from reproduction import training
from reproduction.networks.small import network

SEEDS = 10
UPDATES = {40: 50, 1000: 2}  # by batch; few, as a compiled loop takes seconds an update
SHAPE, CLASSES = (40, 1), 10  # MNIST-1D's


class Contenders:
    """The ways to make the same updates.

    Args:
        batch: Samples of an update.
        norm: Makes a normalization layer.
    """

    def __init__(self, batch, norm):
        draw, self.updates = np.random.default_rng(0), UPDATES[batch]
        self.x = draw.normal(size=(self.updates, batch, *SHAPE)).astype("float32")
        self.y = draw.integers(0, CLASSES, (self.updates, batch))
        self.batch = batch
        model = training.compiled(network(SHAPE, CLASSES, norm), keras.optimizers.AdamW(1e-3))
        model.optimizer.build(model.trainable_variables)
        self.model = model
        parts = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables
        self.state = tuple([jnp.array(variable.value) for variable in part] for part in parts)
        self.states = jax.tree.map(lambda value: jnp.stack([value] * SEEDS), self.state)

    def update(self, state, samples):
        """One update, as a function of all that it changes."""
        weights, others, optimizer = state
        x, y = samples

        def loss_of(weights, others):
            outputs, others = self.model.stateless_call(weights, others, x, training=True)
            return self.model.loss(y, outputs), others

        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights, others)
        weights, optimizer = self.model.optimizer.stateless_apply(optimizer, gradients, weights)
        return (weights, others, optimizer), loss

    def fit(self):
        """An epoch of `fit`."""
        x, y = self.x.reshape(-1, *SHAPE), self.y.reshape(-1)
        self.model.fit(x, y, batch_size=self.batch, verbose=0)

    def looped(self, function, state):
        """Calls a compiled update for each batch."""
        update = jax.jit(function)

        def run():
            now = state
            for samples in zip(self.x, self.y, strict=True):
                now, _ = update(now, samples)
            jax.block_until_ready(now)

        return run

    def scanned(self, function, state):
        """All updates in one compiled loop."""
        whole = jax.jit(lambda state: jax.lax.scan(function, state, (self.x, self.y)))
        return lambda: jax.block_until_ready(whole(state))

    def each(self):
        """By name, what makes all updates, and for how many seeds."""
        of_seeds = jax.vmap(self.update, (0, None))
        return {
            "fit": (self.fit, 1),
            "step": (self.looped(self.update, self.state), 1),
            "scan": (self.scanned(self.update, self.state), 1),
            "seeds": (self.looped(of_seeds, self.states), SEEDS),
            "scan of seeds": (self.scanned(of_seeds, self.states), SEEDS),
        }


def main():
    """Prints a line a batch and normalization layer."""
    norms = {"plain": training.plain_norm(), "ghosts of 8": training.ghost_norm(8)}
    for batch in UPDATES:
        for label, norm in norms.items():
            contenders = Contenders(batch, norm)
            cells = []
            for name, (run, seeds) in contenders.each().items():
                run()  # compiles
                start = time.perf_counter()
                run()
                seconds = (time.perf_counter() - start) / contenders.updates / seeds
                cells.append(f"{name} {1e3 * seconds:.3g}")
            print(f"batch {batch:4d}, {label:11}  ms an update and seed: {', '.join(cells)}")


if __name__ == "__main__":
    main()
