"""What the layer-wise optimizers are made with, where methods are compared."""

import warnings

import keras


def layerwise(optimizer, weight_decay=1e-4):
    """With a trust coefficient of 1 the rate is the relative step of the kernels.

    Biases, gamma and beta get the rate as it is, as from SGD. Weight decay bounds the growth of
    weights whose steps are relative to themselves.
    """

    def make(rate):
        with warnings.catch_warnings():
            # Without decay it warns of what `collapse` shows; these are too short.
            warnings.filterwarnings("ignore", ".*without weight decay")
            return optimizer(
                rate, trust_coefficient=1.0, weight_decay=weight_decay, global_clipnorm=5.0
            )

    return make


def lamb(rate):
    """Keras's LAMB, clipped as the others."""
    return keras.optimizers.Lamb(rate, global_clipnorm=5.0)
