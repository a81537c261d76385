"""Sharpness-aware minimization, on JAX: the gradient at the worst point near the weights.

Foret et al. (2020), arXiv 2010.01412, equation 2: the weights w move by the gradient at

    w + radius * g / norm(g),    g the gradient at w

and in the adaptive form of Kwon et al. (2021), arXiv 2102.11600, equation 3, at

    w + radius * |w|^2 g / norm(|w| g).
"""

import keras
from keras import ops

TINY = 1e-12  # a gradient of 0 has no direction


def ascent(weights, gradient, radius, adaptive=False):
    """The worst point near the weights, to first order.

    Args:
        weights: Tensors.
        gradient: Theirs, of the same shapes.
        radius: How far; adaptive: relative to each weight.
        adaptive: Whether to take ASAM's norm.
    """
    scales = [ops.abs(weight) if adaptive else 1.0 for weight in weights]
    scaled = [scale * each for scale, each in zip(scales, gradient, strict=True)]
    norm = ops.sqrt(sum(ops.sum(ops.square(each)) for each in scaled))
    factor = radius / ops.maximum(norm, TINY)
    return [
        weight + factor * scale * each
        for weight, scale, each in zip(weights, scales, scaled, strict=True)
    ]


class SharpnessAwareModel(keras.Model):
    """A functional model that trains so; the statistics of batch norm move in the first pass.

    Args:
        inputs: Of the model.
        outputs: Of the model.
        radius: As in `ascent`.
        adaptive: As in `ascent`.
        group: Samples that share a perturbation, which divide the batch; None for the whole batch.
            Each group then is a batch of its own for the layers too.
    """

    def __init__(self, inputs, outputs, radius, adaptive=False, group=None):
        super().__init__(inputs, outputs)
        self.radius, self.adaptive, self.group = radius, adaptive, group

    def train_step(self, state, data):
        """Keras's step on JAX, with two gradients."""
        import jax

        weights, others, optimizer_state, metrics = state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        gradient_of = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)

        def two_passes(x, y):
            def at(point):
                return gradient_of(
                    point,
                    others,
                    metrics,
                    x,
                    y,
                    sample_weight,
                    training=True,
                    optimizer_variables=optimizer_state,
                )

            (_, (loss, y_pred, moved, _)), gradient = at(weights)
            _, gradient = at(ascent(weights, gradient, self.radius, self.adaptive))
            return loss, y_pred, moved, gradient

        if self.group is None:
            loss, y_pred, moved, gradient = two_passes(x, y)
        else:
            grouped = [part.reshape(-1, self.group, *part.shape[1:]) for part in (x, y)]
            loss, y_pred, moved, gradient = jax.vmap(two_passes)(*grouped)
            y_pred = y_pred.reshape(-1, *y_pred.shape[2:])
            # Each group moved the statistics from where they were: the mean of where they came to.
            loss, moved, gradient = jax.tree.map(
                lambda each: each.mean(0).astype(each.dtype), (loss, moved, gradient)
            )
        weights, optimizer_state = self.optimizer.stateless_apply(
            optimizer_state, gradient, weights
        )
        logs, metrics = self._update_metrics_variables(metrics, loss, x, y, y_pred, sample_weight)
        return logs, (weights, moved, optimizer_state, metrics)
