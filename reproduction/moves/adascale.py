"""AdaScale (Johnson et al. 2020, arXiv 2007.05105): the rate and the length by measured noise."""

import time

import jax
import jax.numpy as jnp
import keras
import numpy as np

from reproduction import training
from reproduction.networks.small import network
from reproduction.runs import Case, six_digits

SMALLEST_VARIANCE = 1e-6  # their bound, for gradients without noise


class Gain:
    """What an update of `parts` small batches is worth in updates of one, 1 to `parts`.

    With the variance of a small batch's gradient and the square of its mean (section 3),
    `gain = (variance + mean^2) / (variance / parts + mean^2)`. Both are unbiased estimates from the
    parts' gradients, averaged over updates as theirs are (section 3.4).

    Args:
        parts: Small batches in an update.
    """

    def __init__(self, parts):
        self.parts = parts
        self.kept = max(1 - parts / 1000, 0)
        self.variance = self.mean = None

    def __call__(self, squares, square_of_mean):
        """The gain.

        Args:
            squares: The sum of the parts' squared gradient norms.
            square_of_mean: The squared norm of the parts' mean gradient.
        """
        if self.parts == 1:
            return 1.0
        variance = (squares - self.parts * square_of_mean) / (self.parts - 1)
        mean = square_of_mean - variance / self.parts
        self.variance = self._averaged(self.variance, variance)
        self.mean = self._averaged(self.mean, mean)
        variance, mean = max(self.variance, SMALLEST_VARIANCE), max(self.mean, 0.0)
        return (variance + mean) / (variance / self.parts + mean)

    def _averaged(self, before, value):
        return value if before is None else self.kept * before + (1 - self.kept) * value


class AdaScaleTraining:
    """SGD at the large batch: rate times gain, until the gains are the small batch's updates.

    The schedule is read at the sum of the gains so far (their algorithm 1). The parts are the small
    batches in the large one, each with its own statistics of the normalization layers.

    Args:
        data: To train and to score on.
        sizes: The data set's entry of the criteria.
        norm: Makes a normalization layer.
        rate: The small batch's rate.
        momentum: SGD's.
    """

    def __init__(self, data, sizes, norm, rate, momentum):
        self.data, self.batch, self.part = data, sizes["large_batch"], sizes["small_batch"]
        self.norm, self.momentum = norm, momentum
        self.small_updates = -(-data.examples // self.part) * sizes["epochs"]
        self.schedule = training.warmed_cosine(rate, self.small_updates)
        self.model = None

    def __call__(self, seed, progress):
        """The training of a seed: its scores, updates, seconds, and gains along the way."""
        keras.utils.set_random_seed(seed)
        fresh = network(self.data.shape, self.data.classes, self.norm)
        if self.model is None:
            self.model = training.compiled(fresh, "sgd")
            self._compile()
        self.model.set_weights(fresh.get_weights())
        start = time.perf_counter()
        gains = self._fit(np.random.default_rng(seed), progress)
        seconds, updates = time.perf_counter() - start, len(gains)
        return {
            "updates": updates,
            "samples": updates * self.batch,
            "seconds": seconds,
            **training.all_scores(self.model, self.data),
            "mean_gain": six_digits(float(np.mean(gains))),
            "gains": [six_digits(gains[updates * i // 20]) for i in range(20)],
        }

    def _fit(self, draw, progress):
        model, parts = self.model, self.batch // self.part
        weights = [variable.value for variable in model.trainable_variables]
        state = [variable.value for variable in model.non_trainable_variables]
        velocity = [jnp.zeros_like(weight) for weight in weights]
        nothing = [jnp.zeros_like(weight) for weight in weights]
        gain, gains, done = Gain(parts), [], 0.0
        while done < self.small_updates:
            order = draw.permutation(self.data.examples)
            for batch in np.split(
                order[: len(order) // self.batch * self.batch], len(order) // self.batch
            ):
                total, squares = nothing, 0.0
                for part in np.split(batch, parts):
                    given = self.data.x_train[part], self.data.y_train[part]
                    total, squares, state, loss = self._add(weights, state, total, squares, *given)
                square_of_mean = self._square(total) / parts**2
                gains.append(gain(float(squares), float(square_of_mean)))
                weights, velocity = self._step(
                    weights, velocity, total, gains[-1] / parts, np.float32(done)
                )
                done += gains[-1]
                if done >= self.small_updates:
                    break
            progress.on_epoch_end(
                len(gains) * self.batch // self.data.examples, {"loss": float(loss)}
            )
        for variables, values in (
            (model.trainable_variables, weights),
            (model.non_trainable_variables, state),
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return gains

    def _compile(self):
        model = self.model

        def loss_of(weights, state, x, y):
            outputs, state = model.stateless_call(weights, state, x, training=True)
            return model.loss(y, outputs), state

        def square(gradients):
            return sum(jnp.sum(gradient**2) for gradient in gradients)

        @jax.jit
        def add(weights, state, total, squares, x, y):
            given = weights, state, x, y
            (loss, state), gradients = jax.value_and_grad(loss_of, has_aux=True)(*given)
            total = [a + b for a, b in zip(total, gradients, strict=True)]
            return total, squares + square(gradients), state, loss

        @jax.jit
        def step(weights, velocity, total, factor, done):
            rate = factor * self.schedule(done)  # `factor` divides the sum of the gradients too
            pairs = zip(velocity, total, strict=True)
            velocity = [self.momentum * v - rate * g for v, g in pairs]
            return [w + v for w, v in zip(weights, velocity, strict=True)], velocity

        self._add, self._step, self._square = add, step, jax.jit(square)


def case(arms, arm):
    """AdaScale for `Runs`.

    Args:
        arms: The maker of the other trainings.
        arm: The criteria's.
    """
    momentum = arms.arguments[arm.optimizer]["momentum"]
    given = arms.sizes, arms.norm(arm), arms.rates[arm.optimizer], momentum
    recipe = {
        "optimizer": "AdaScale",
        "batch": arm.batch,
        "part": arms.sizes["small_batch"],
        "rate": arms.rates[arm.optimizer],
        "momentum": momentum,
        "virtual_batch": arm.virtual_batch,
        "small_epochs": arms.sizes["epochs"],
    }
    return Case(arm.name, recipe, arms.sizes["epochs"], AdaScaleTraining(arms.data, *given))


def as_many_updates(arms, arm, updates):
    """A training that gets as many updates as AdaScale made with the same seed.

    Args:
        arms: The maker of the trainings.
        arm: The criteria's.
        updates: By seed, AdaScale's.
    """
    an_epoch = arms.updates(arm.batch, 1)
    epochs = {seed: max(1, round(count / an_epoch)) for seed, count in updates.items()}
    longest = arms.case(arm, max(epochs.values()))

    def run(seed, progress):
        return arms.case(arm, epochs[seed]).run(seed, progress)

    recipe = {
        **longest.recipe,
        "epochs": None,
        "epochs_by_seed": {str(s): e for s, e in epochs.items()},
    }
    return Case(arm.name, recipe, longest.epochs, run)
