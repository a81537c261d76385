"""The gradient noise scale that SGD sees and the one that Adam sees, along one training."""

import time

import jax
import jax.numpy as jnp
import keras
import numpy as np

from reproduction.runs import Case, six_digits

CHUNK = 50  # samples whose gradients are kept at a time


class GradientMoments:
    """The mean and the variance over the samples of each weight's gradient.

    In inference mode: with stored statistics a sample's gradient is its own.

    Args:
        model: A compiled model, on JAX.
    """

    def __init__(self, model):
        self.model = model

        def loss_of(weights, state, x, y):
            outputs, _ = model.stateless_call(weights, state, x[None], training=False)
            return model.loss(y[None], outputs)

        @jax.jit
        def sums(weights, state, x, y):
            each_sample = jax.vmap(jax.grad(loss_of), (None, None, 0, 0))
            gradients = each_sample(weights, state, x, y)
            return [(jnp.sum(each, 0), jnp.sum(each**2, 0)) for each in gradients]

        self._sums = sums

    def __call__(self, x, y):
        """Two lists with an array a weight: means and variances.

        Args:
            x: The samples.
            y: Their classes.
        """
        weights = [variable.value for variable in self.model.trainable_variables]
        state = [variable.value for variable in self.model.non_trainable_variables]
        total = [(0.0, 0.0)] * len(weights)
        for start in range(0, len(x), CHUNK):
            chunk = slice(start, start + CHUNK)
            found = self._sums(weights, state, x[chunk], y[chunk])
            total = [
                (a + np.asarray(b, "float64"), c + np.asarray(d, "float64"))
                for (a, c), (b, d) in zip(total, found, strict=True)
            ]
        means = [a / len(x) for a, _ in total]
        return means, [b / len(x) - mean**2 for mean, (_, b) in zip(means, total, strict=True)]


def noise_scale(means, variances, preconditioner):
    """`tr(P S) / (g' P g)`, in samples, for a diagonal `P`, as an array for each weight."""
    triples = list(zip(means, variances, preconditioner, strict=True))
    noise = sum(float(np.sum(p * variance)) for _, variance, p in triples)
    return noise / sum(float(np.sum(p * mean**2)) for mean, _, p in triples)


def preconditioner(optimizer):
    """Adam's `1 / (sqrt(v) + epsilon)` with `v` corrected for its start, an array for each weight.

    Args:
        optimizer: An AdamW that has made updates.
    """
    config, updates = optimizer.get_config(), int(optimizer.iterations)
    correction = 1 - config["beta_2"] ** updates
    velocities = [each for each in optimizer.variables if each.path.endswith("_velocity")]
    arrays = [keras.ops.convert_to_numpy(each).astype("float64") for each in velocities]
    return [1 / (np.sqrt(each / correction) + config["epsilon"]) for each in arrays]


class NoiseAlong(keras.callbacks.Callback):
    """Measures both scales after some updates.

    Args:
        data: Whose training samples are measured.
        updates: After how many.
    """

    def __init__(self, data, updates):
        super().__init__()
        self.data, self.updates = data, updates
        self.moments = None
        self.found, self.done = [], 0

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        self.done += 1
        if self.done not in self.updates:
            return
        model = self.model  # which brings the weights up to date, on JAX
        self.moments = self.moments or GradientMoments(model)
        means, variances = self.moments(self.data.x_train, self.data.y_train)
        adam = preconditioner(model.optimizer)
        plain = [np.ones_like(each) for each in adam]
        self.found.append(
            {
                "updates": self.done,
                "SGD": six_digits(noise_scale(means, variances, plain)),
                "Adam": six_digits(noise_scale(means, variances, adam)),
            }
        )


def case(arms, arm, shares):
    """The measurement, for `Runs`.

    Args:
        arms: The maker of trainings.
        arm: The small batch's.
        shares: Of the training, where it is measured.
    """
    trained = arms.case(arm)
    whole = arms.updates(arm.batch, trained.epochs)
    updates = [round(share * whole) for share in shares]

    def run(seed, progress):
        start, along = time.perf_counter(), NoiseAlong(arms.data, updates)
        trained.run(seed, keras.callbacks.CallbackList([along, progress]))
        return {"seconds": time.perf_counter() - start, "points": along.found}

    return Case("noise", {**trained.recipe, "measured_after": updates}, trained.epochs, run)
