"""The papers' networks: sizes against sums written here, order of layers, norms, first weights."""

import functools
import itertools
import math
from functools import partial
from unittest import mock

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from reproduction.networks import plain as plain_networks
from reproduction.networks import residual as residual_networks

if keras.backend.backend() != "torch":
    pytest.skip(
        "sizes are the same on every backend; torch builds fastest", allow_module_level=True
    )

MNIST, CIFAR, IMAGENET = (28, 28, 1), (32, 32, 3), (224, 224, 3)


def dense(*widths, bias=True):
    return sum(i * o + bias * o for i, o in itertools.pairwise(widths))


def convolutions(kernel, *widths, bias=True):
    return sum(kernel**2 * i * o + bias * o for i, o in itertools.pairwise(widths))


def norms(*widths):
    """Gamma and beta."""
    return 2 * sum(widths)


VGG = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
ALEXNET = (64, 192, 384, 256, 256)
# What ResNet44's and WRN16-4's norms normalize: the stem, each stage, and shortcuts.
RESNET44 = (16, *14 * [16], *14 * [32], *14 * [64], 32, 64)
WRN16_4 = (64, *4 * [64], *4 * [128], *4 * [256], 128, 256)


SHALLOW_NORMS = (64, 64, 384, 192)
F1_NORMS, ALEXNET_NORMS = 5 * (512,), (*ALEXNET, 4096, 4096)


def shallow(positions, classes, bias):
    hidden = dense(positions * 64, 384, 192, bias=bias) + dense(192, classes)
    return convolutions(5, 3, 64, 64, bias=bias) + hidden + norms(*SHALLOW_NORMS)


def alexnet():
    first = convolutions(11, 3, 64, bias=False) + convolutions(5, 64, 192, bias=False)
    hidden = dense(6 * 6 * 256, 4096, 4096, bias=False) + dense(4096, 1000)
    return first + convolutions(3, *ALEXNET[1:], bias=False) + hidden + norms(*ALEXNET_NORMS)


def residual(norm_widths, stages, convolutions_in_stage, classes):
    widths = [norm_widths[0] * 2**stage for stage in range(stages)]
    chain = [3, widths[0], *(width for width in widths for _ in range(convolutions_in_stage))]
    shortcuts = convolutions(1, *widths, bias=False)
    weights = convolutions(3, *chain, bias=False) + shortcuts + dense(widths[-1], classes)
    return weights + norms(*norm_widths)


VGG_COUNT = convolutions(3, 3, *VGG, bias=False) + norms(*VGG) + dense(512, 10)
# network: shape, classes, what the norms normalize, parameters
NETWORKS = {
    "f1": (MNIST, 10, F1_NORMS, dense(28 * 28, *F1_NORMS, 10) + norms(*F1_NORMS)),
    "c1": (CIFAR, 10, SHALLOW_NORMS, shallow(8 * 8, 10, True)),
    "c3": (CIFAR, 100, SHALLOW_NORMS, shallow(8 * 8, 100, True)),
    "shallow_bigbatch": (CIFAR, 100, SHALLOW_NORMS, shallow(7 * 7, 100, False)),
    "vgg": (CIFAR, 10, VGG, VGG_COUNT),
    "alexnet": (IMAGENET, 1000, ALEXNET_NORMS, alexnet()),
    "resnet44": (CIFAR, 10, RESNET44, residual(RESNET44, 3, 14, 10)),
    "wrn16_4": (CIFAR, 100, WRN16_4, residual(WRN16_4, 3, 4, 100)),
}


def network(name):
    return getattr(plain_networks, name, None) or getattr(residual_networks, name)


def outline(name, norm):
    """The network with weights that are all zero: drawing them is what takes long."""
    shape, classes, _, _ = NETWORKS[name]

    def zeros(initializer, shape, dtype=None):
        return keras.ops.zeros(shape, dtype)

    with mock.patch.object(keras.initializers.VarianceScaling, "__call__", zeros):
        return network(name)(shape, classes, norm)


@functools.cache
def built(name):
    """One outline a session, for the tests that only look."""
    return outline(name, keras.layers.BatchNormalization)


def parameters(model):
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def of_type(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_the_sum_over_layers(name):
    count = NETWORKS[name][3]
    assert parameters(built(name)) == count
    assert f"{count:,}" in network(name).__doc__


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_for_images_of_the_data_set(name):
    shape, classes, _, _ = NETWORKS[name]
    model = built(name)
    assert model.compiled is False
    assert tuple(model.compute_output_shape((None, *shape))) == (None, classes)
    assert model.layers[-1].activation is keras.activations.linear


@pytest.mark.parametrize("name", NETWORKS)
def test_each_hidden_layer_has_a_norm_over_its_channels(name):
    normalized = of_type(built(name), keras.layers.BatchNormalization)
    assert sorted(layer.gamma.shape[0] for layer in normalized) == sorted(NETWORKS[name][2])
    kernels = of_type(built(name), (keras.layers.Conv2D, keras.layers.Dense))
    assert len(normalized) == len(kernels) - 1


def test_numbers_given_elsewhere():
    # He et al., Table 6: 0.66 million, with shortcuts that have no parameters.
    shortcuts = 16 * 32 + 32 * 64 + norms(32, 64)
    assert round(parameters(built("resnet44")) / 1e6, 2) == 0.66
    assert round((parameters(built("resnet44")) - shortcuts) / 1e6, 2) == 0.66
    # torchvision's AlexNet has a bias where ours has gamma and beta.
    assert parameters(built("alexnet")) - sum(ALEXNET_NORMS) == 61_100_840


POOL, FLATTEN, DROPOUT, NORM = "MaxPooling2D", "Flatten", "Dropout", "BatchNormalization"
HIDDEN, CONVOLUTION = ["Dense", NORM, "ReLU"], ["Conv2D", NORM, "ReLU"]
POOLED_FIRST, NORM_LAST = ["Conv2D", POOL, NORM, "ReLU"], ["Conv2D", "ReLU", NORM]
POOLED_LAST = ["Conv2D", POOL, "ReLU", NORM]
CLASSIFIER = [FLATTEN, *2 * [*HIDDEN, DROPOUT], "Dense"]
ORDER = {
    "f1": [FLATTEN, *5 * HIDDEN, "Dense"],
    "c1": [*2 * [*CONVOLUTION, POOL], *CLASSIFIER],
    "shallow_bigbatch": [*2 * POOLED_FIRST, *CLASSIFIER],
    "alexnet": ["ZeroPadding2D", *POOLED_FIRST, *POOLED_LAST, *2 * NORM_LAST, *POOLED_LAST],
}
ORDER["alexnet"] += CLASSIFIER


@pytest.mark.parametrize("name", ORDER)
def test_order_of_layers_is_the_authors(name):
    assert [type(layer).__name__ for layer in built(name).layers] == ORDER[name]


@pytest.mark.parametrize(("name", "halvings"), [("resnet44", 2), ("wrn16_4", 2)])
def test_strided_windows_lie_around_the_positions_of_the_shortcut(name, halvings):
    layers = of_type(built(name), keras.layers.Conv2D)
    strided = [c.padding for c in layers if c.strides == (2, 2) and c.kernel_size == (3, 3)]
    pads = of_type(built(name), keras.layers.ZeroPadding2D)
    assert strided == halvings * ["valid"]
    assert [layer.padding for layer in pads] == halvings * [((1, 1), (1, 1))]


@pytest.mark.parametrize("name", ["f1", "c1", "shallow_bigbatch", "resnet44"])
def test_norm_argument_makes_every_norm(name):
    normalized = NETWORKS[name][2]
    model = outline(name, partial(kbb.GhostBatchNormalization, 7))
    layers = of_type(model, keras.layers.BatchNormalization)
    assert [getattr(layer, "virtual_batch", None) for layer in layers] == len(normalized) * [7]
    assert len({id(layer) for layer in layers}) == len(normalized)


def test_all_arms_of_a_seed_start_from_the_same_weights():
    kernels = []
    for norm in (keras.layers.BatchNormalization, partial(kbb.GhostBatchNormalization, 4)):
        keras.utils.set_random_seed(3)
        model = plain_networks.f1((8,), 3, norm)
        kernels.append([keras.ops.convert_to_numpy(w) for w in model.trainable_weights])
    for plain, ghost in zip(*kernels, strict=True):
        np.testing.assert_array_equal(plain, ghost)


def variance(kind, kernel):
    fan_in, fan_out = math.prod(kernel[:-1]), math.prod(kernel[:-2]) * kernel[-1]
    return {
        "pytorch": 1 / (3 * fan_in),  # uniform within 1 / sqrt(fan-in), a third of its square
        "glorot": 2 / (fan_in + fan_out),
        "he": 2 / fan_in,
        "he_fan_out": 2 / fan_out,
    }[kind]


# of a hidden layer, of the last one
FIRST_WEIGHTS = {
    **dict.fromkeys(("f1", "shallow_bigbatch", "alexnet"), 2 * ("pytorch",)),
    **dict.fromkeys(("c1",), 2 * ("glorot",)),
    **dict.fromkeys(("resnet44", "wrn16_4"), ("he_fan_out", "pytorch")),
    "vgg": ("he", "glorot"),
}


@pytest.mark.parametrize("name", FIRST_WEIGHTS)
def test_first_weights_have_the_deviation_of_the_authors(name):
    layers = of_type(built(name), (keras.layers.Conv2D, keras.layers.Dense))
    # Drawn in another shape of the same kind, 3x3x40x80 or 120x60: one compilation for all.
    for kind, layer in zip(FIRST_WEIGHTS[name], (layers[1], layers[-1]), strict=True):
        shape = (3, 3, 40, 80) if len(layer.kernel.shape) == 4 else (120, 60)
        drawn = keras.ops.convert_to_numpy(layer.kernel_initializer(shape))
        # The deviation of n draws is off by at most 1 / sqrt(2 n), under 1 % here.
        assert np.std(drawn) == pytest.approx(math.sqrt(variance(kind, shape)), rel=0.04)
    # With a seed in common, layers of a shape would start alike.
    assert len({layer.kernel_initializer.seed for layer in layers}) == len(layers)


@pytest.mark.parametrize("name", ["f1", "shallow_bigbatch"])
def test_a_training_step_reaches_every_layer(name):
    shape, classes, _, _ = NETWORKS[name]
    generator, model = np.random.default_rng(0), outline(name, keras.layers.BatchNormalization)
    for weight in model.trainable_weights:
        if len(weight.shape) > 1:
            weight.assign(generator.normal(0, 0.05, weight.shape))
    before = [np.array(keras.ops.convert_to_numpy(w)) for w in model.trainable_weights]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss)
    x = generator.normal(size=(8, *shape)).astype("float32")
    assert np.isfinite(model.train_on_batch(x, np.arange(8) % classes))
    for weight, old in zip(model.trainable_weights, before, strict=True):
        if weight.name != "bias":  # the gradient of a bias before a norm is zero
            assert np.abs(keras.ops.convert_to_numpy(weight) - old).max() > 1e-6, weight.path


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "f1"])
def test_samples_that_are_not_images_are_refused(name):
    with pytest.raises(ValueError, match=r"\(height, width, channels\).*shape=\(40, 1\).*F1"):
        network(name)((40, 1), 10, keras.layers.BatchNormalization)
