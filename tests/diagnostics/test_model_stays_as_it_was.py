"""That a measurement leaves the model, and a training, as they were."""

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from tests.diagnostics.data_sets import Sequence, loader_of
from tests.diagnostics.models import (
    X,
    Y,
    dataset_loss,
    dense,
    everything_of,
    flat_weights,
    normalized,
    numpy_gradient,
)


class Interrupted(Sequence):
    """Raises in the middle of a reading, once it is told to."""

    error = None

    def __getitem__(self, index):
        if self.error is not None and index == 1:
            raise self.error("in the middle")
        return super().__getitem__(index)


def exercise(loss):
    loss.loss(loss.weights * 1.5)
    loss.gradient(loss.weights + 1)
    list(loss.batch_gradients())
    loss.hessian_vector_product(np.ones(loss.size))


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("inference", None),
        ("training", None),
        ("training", OSError),
        ("training", KeyboardInterrupt),
    ],
)
def test_model_stays_as_it_was(mode, error):
    model = normalized()
    model.fit(X, Y, epochs=2, verbose=0)
    model.layers[0].trainable = False
    before = everything_of(model)
    data = Interrupted([(X[:25], Y[:25]), (X[25:], Y[25:])])
    loss = dataset_loss(model, data, mode=mode)
    data.error = error
    if error is None:
        exercise(loss)
    else:
        with pytest.raises(error):
            loss.gradient()
    assert everything_of(model) == before


def test_training_goes_on_as_if_nothing_was_measured():
    """With Dropout, momenta and metrics, to the last bit."""
    results = []
    for measured in (False, True):
        model = normalized()
        weights = []
        for _ in range(2):
            model.fit(X, Y, epochs=1, verbose=0, shuffle=False, batch_size=25)
            if measured:
                loss = dataset_loss(model, X, Y, mode="training", batch_size=25)
                loss.hessian_vector_product(loss.gradient()[1])
                if keras.backend.backend() == "torch":  # whose global random state it draws from
                    dataset_loss(model, loader_of(X, Y, shuffle=True)).loss()
            weights.append(np.concatenate([w.ravel() for w in model.get_weights()]))
        results.append(np.concatenate(weights))
    np.testing.assert_array_equal(*results)


def test_measures_in_the_middle_of_training():
    """As callbacks do: what is compiled is kept, the weights are those of the moment."""

    class Measure(keras.callbacks.Callback):
        losses = []

        def on_train_begin(self, logs=None):
            self.measured = dataset_loss(self.model, X, Y)

        def on_train_batch_end(self, batch, logs=None):
            self.model  # noqa: B018  On JAX this fills the variables with the trainer's values.
            self.losses.append((self.measured.gradient()[0], flat_weights(self.model)))

    model = dense()
    model.fit(X, Y, batch_size=10, epochs=1, verbose=0, callbacks=[Measure()])
    assert len(Measure.losses) == 5
    for value, weights in Measure.losses:
        assert value == pytest.approx(numpy_gradient(weights)[0], rel=1e-5)


def test_large_batch_model():
    plain = dense()
    model = kbb.training.LargeBatchModel(plain.inputs, plain.outputs, gradient_noise=2.0, seed=1)
    model.compile("sgd", "mse")
    before = everything_of(model)
    clean = dataset_loss(model, X, Y)
    noisy = dataset_loss(model, X, Y, mode="training")
    assert clean.loss() == pytest.approx(numpy_gradient(flat_weights(model))[0], rel=1e-5)
    assert noisy.loss() == noisy.loss() != clean.loss()
    assert everything_of(model) == before
