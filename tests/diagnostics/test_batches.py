"""The data that a measurement takes, and those that it refuses."""

import importlib.util

import keras
import pytest

from tests.diagnostics.data_sets import WEIGHTS, Sequence, dataset_of, loader_of
from tests.diagnostics.models import (
    X,
    Y,
    dataset_loss,
    dense,
    normalized,
)


def streams():
    batches = [(X[i : i + 16], Y[i : i + 16], WEIGHTS[i : i + 16]) for i in range(0, 50, 16)]
    yield "list-like", Sequence(batches)
    # The oldest Keras is tested beside JAX alone.
    if importlib.util.find_spec("tensorflow"):
        yield "dataset", dataset_of(X, Y, WEIGHTS)
    if importlib.util.find_spec("torch"):
        yield "loader", loader_of(X, Y, WEIGHTS)
        yield "shuffled loader", loader_of(X, Y, WEIGHTS, shuffle=True)


def test_data_sets_are_as_arrays():
    model = normalized()
    expected = dataset_loss(model, X, Y, sample_weight=WEIGHTS, batch_size=16).loss()
    for name, data in streams():
        assert dataset_loss(model, data).loss() == pytest.approx(expected, rel=1e-5), name


def test_tensors_and_wide_arrays():
    model = dense()
    expected = dataset_loss(model, X, Y).loss()
    tensors = (keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(Y))
    for x, y in (tensors, (X.astype("float64"), Y.astype("float64"))):
        assert dataset_loss(model, x, y, batch_size=16).loss() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "options", "says"),
    [
        ((X, Y[:-1]), {}, r"same number.*\[49, 50\]"),
        ((X[:0], Y[:0]), {}, "one or more"),
        ((X, Y.tolist()), {}, "np.asarray"),
        ((X, Y), {"batch_size": 0}, "batch_size"),
        ((X, Y), {"mode": "train"}, "'inference', 'training'"),
        ((iter([(X, Y)]),), {}, "only once"),
        ((Sequence([(X, Y)]), Y), {}, "`y` must not be passed"),
        ((Sequence([(X, Y)]),), {"batch_size": 8}, "`batch_size` must not be passed"),
        ((Sequence([]),), {}, "no batches"),
        ((3.0, Y), {}, "must be arrays"),
    ],
)
def test_bad_arguments(arguments, options, says):
    with pytest.raises(ValueError, match=says):
        dataset_loss(dense(), *arguments, **options)


def test_endless_data_is_refused():
    pytest.importorskip("tensorflow")
    with pytest.raises(ValueError, match="never ends"):
        dataset_loss(dense(), dataset_of(X, Y).repeat())
