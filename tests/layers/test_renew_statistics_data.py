"""What renew_statistics takes, what it leaves as it was, and what it refuses."""

import keras
import numpy as np
import pytest

from keras_bigbatch import GhostBatchNormalization
from keras_bigbatch.layers import renew_statistics
from tests.diagnostics.data_sets import Sequence, dataset_of, loader_of
from tests.diagnostics.models import everything_of
from tests.user_warnings import assert_said_once, recorded

PLAIN = keras.layers.BatchNormalization
X = np.random.default_rng(4).normal(size=(22, 3)).astype("float32") + 1
Y = np.zeros((22, 1), "float32")
BATCHES = [(X[start : start + 8], Y[start : start + 8]) for start in (0, 8, 16)]


def single(**options):
    """A batch norm alone, whose statistics are the moments of the data."""
    return keras.Sequential([keras.Input((3,)), PLAIN(name="norm")], **options)


def statistics(model):
    weights = model.layers[-1].non_trainable_weights
    return np.stack([keras.ops.convert_to_numpy(each.value) for each in weights])


@pytest.mark.parametrize(
    "make",
    [
        lambda: X.astype("float64"),
        lambda: keras.ops.convert_to_tensor(X),
        lambda: dataset_of(X, Y, size=8),
        lambda: dataset_of(X, size=8),
        lambda: loader_of(X, Y, size=8, shuffle=True),
        lambda: Sequence(BATCHES),
        lambda: iter(BATCHES),
        lambda: ((x, y, y[:, 0]) for x, y in BATCHES),
    ],
    ids=["float64", "tensor", "tf.data", "of x", "DataLoader", "PyDataset", "iterator", "weighted"],
)
def test_every_kind_of_data(make):
    model = single()
    try:
        data = make()
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    renew_statistics(model, data, verbose=0)
    np.testing.assert_allclose(statistics(model), [X.mean(axis=0), X.var(axis=0)], rtol=1e-5)


def compiled():
    stack = [keras.layers.Dense(3), keras.layers.Dropout(0.3), PLAIN(), GhostBatchNormalization(4)]
    model = keras.Sequential([keras.Input((3,)), *stack, PLAIN(trainable=False)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


def test_nothing_else_of_the_model_changes():
    """Not even the methods that were watched, nor the numbers of the training that goes on."""
    model = compiled()
    attributes = [set(vars(layer)) for layer in model.layers]
    renewed = [weight for norm in model.layers[2:4] for weight in norm.non_trainable_weights]
    before, old = everything_of(model), [keras.ops.convert_to_numpy(v.value) for v in renewed]
    data = loader_of(X, shuffle=True) if keras.backend.backend() == "torch" else X
    renew_statistics(model, data, verbose=0)
    assert all(
        np.any(keras.ops.convert_to_numpy(v.value) != o) for v, o in zip(renewed, old, strict=True)
    )
    assert [set(vars(layer)) for layer in model.layers] == attributes
    for variable, value in zip(renewed, old, strict=True):
        variable.assign(value)
    assert everything_of(model) == before


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_pass_that_fails_half_way_leaves_the_old_statistics(error):
    def failing():
        yield BATCHES[0]
        raise error

    model = single()
    model.compile("sgd", "mse")
    before, call = everything_of(model), model.layers[0]._moments
    with pytest.raises(error):
        renew_statistics(model, failing(), verbose=0)
    assert everything_of(model) == before
    assert model.layers[0]._moments == call


def test_moments_that_are_not_finite_are_refused():
    model = single()
    before = statistics(model)
    with pytest.raises(ValueError, match="batch norm 'norm' are not all finite"):
        renew_statistics(model, np.where(X > 2, np.nan, X), verbose=0)
    np.testing.assert_array_equal(statistics(model), before)


def test_channels_without_an_element_keep_their_statistics():
    x = np.stack([X[:8], np.zeros_like(X[:8])], axis=1)
    stack = [keras.layers.Masking(), PLAIN(axis=1)]  # whose mask is then one of channels
    model = keras.Sequential([keras.Input((2, 3)), *stack])
    with recorded() as said:
        renew_statistics(model, x, verbose=0)
    assert_said_once(said, "mask leaves nothing", __file__)
    wanted = [[X[:8].mean(), 0], [X[:8].var(), 1]]
    np.testing.assert_allclose(statistics(model), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: keras.Sequential([PLAIN()]), {}, "must be built.*not built.*model\\(x"),
        (lambda: PLAIN(), {}, "must be a `keras.Model`.*BatchNormalization"),
        (single, {"x": X[:0]}, "one or more. Received: \\[0\\] rows"),
        (single, {"x": iter([])}, "has no batches"),
        (single, {"x": "data.csv"}, "Load the data"),
        (single, {"x": X[:, :2]}, "cannot take a batch of `x`. Received: x of shape \\(None, 2\\)"),
        (single, {"batch_size": 0}, "`batch_size` must be a positive integer"),
        (single, {"x": iter(BATCHES), "batch_size": 8}, "`batch_size` must not be passed"),
        (single, {"verbose": 3}, "`verbose` must be"),
    ],
)
def test_bad_input_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        renew_statistics(make(), **{"x": X, "verbose": 0, **options})


@pytest.mark.skipif(not hasattr(PLAIN(), "renorm"), reason="Keras has no renormalization")
def test_renormalization_is_refused():
    model = keras.Sequential([keras.Input((3,)), PLAIN(renorm=True, name="again")])
    with pytest.raises(ValueError, match=r"renorm=True.*Received: again"):
        renew_statistics(model, X, verbose=0)


@pytest.mark.parametrize(
    ("stack", "why"),
    [([keras.layers.Dense(2)], "it has no batch norm"), ([PLAIN(trainable=False)], "trainable")],
)
def test_nothing_to_renew_is_warned_of(stack, why):
    model = keras.Sequential([keras.Input((3,)), *stack])
    with recorded() as said:
        renew_statistics(model, X, verbose=0)
    assert_said_once(said, why, __file__)


@pytest.mark.parametrize("known", [True, False])
def test_progress_is_shown(known, capsys):
    renew_statistics(single(), Sequence(BATCHES) if known else iter(BATCHES), verbose=1)
    assert ("3/3" if known else "3/Unknown") in capsys.readouterr().out
