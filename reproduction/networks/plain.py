"""The papers' networks without shortcuts: fully connected, and in the manner of AlexNet and VGG.

All take `(shape, classes, norm)` and return an uncompiled model, channels last, that gives logits.
`norm()` makes one fresh normalization layer; `keras.layers.Identity` leaves normalization out.

Counts of parameters include gamma and beta, and not the moving statistics. Biases start at zero,
gamma and beta as `norm` says. (PyTorch of 2017 drew biases, and drew gamma from U(0, 1).)

"bigBatch" is the code of Hoffer et al. (https://github.com/eladhoffer/bigBatch), "network_zoo.py"
that of Keskar et al. (https://github.com/keskarnitish/large-batch-training).
"""

import keras
from keras import layers


def image_input(shape, network):
    """The input of a network that convolves in two dimensions."""
    if len(shape) != 3:
        raise ValueError(
            f"{network} takes images: `shape` must be (height, width, channels). "
            f"Received: shape={tuple(shape)}. F1 takes samples of any shape."
        )
    return keras.Input(shape)


def fan_in_uniform():
    """U(-1, 1) / sqrt(fan-in), PyTorch's default, which bigBatch leaves as it is.

    Made afresh for each layer: one initializer draws the same numbers each time it is called.
    """
    return keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")


def f1(shape, classes, norm):
    """F1: five fully connected layers of 512 units.

    Keskar et al., appendix B; as in bigBatch, models/mnist_f1.py: biases, and PyTorch's default
    initialization. 1,462,794 parameters on MNIST.
    """
    model = keras.Sequential([keras.Input(shape), layers.Flatten()], name="F1")
    for _ in range(5):
        model.add(layers.Dense(512, kernel_initializer=fan_in_uniform()))
        model.add(norm())
        model.add(layers.ReLU())
    model.add(layers.Dense(classes, kernel_initializer=fan_in_uniform()))
    return model


def c1(shape, classes, norm):
    """C1: a shallow AlexNet, two convolutions and two hidden layers.

    Keskar et al., appendix B; as in network_zoo.py, `shallownet`: norm -> ReLU -> pool, biases, and
    Keras's default (Glorot) initialization. 1,757,834 parameters on CIFAR-10. Hoffer et al. cite
    it, and run another one: `shallow_bigbatch`.
    """
    model = keras.Sequential([image_input(shape, "C1")], name="C1")
    for _ in range(2):
        model.add(layers.Conv2D(64, 5, padding="same"))
        model.add(norm())
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D(3, 2, padding="same"))
    model.add(layers.Flatten())
    for width in (384, 192):
        model.add(layers.Dense(width))
        model.add(norm())
        model.add(layers.ReLU())
        model.add(layers.Dropout(0.5))
    model.add(layers.Dense(classes))
    return model


def c3(shape, classes, norm):
    """C3: C1 on CIFAR-100, where it has 1,775,204 parameters. Keskar et al., appendix B."""
    return c1(shape, classes, norm)


def shallow_bigbatch(shape, classes, norm):
    """C1 and C3 as in bigBatch, models/cifar_shallow.py.

    Differs from Keskar's: pool -> norm -> ReLU, pools that do not pad (7x7 positions are left of
    32x32, not 8x8), no biases before a norm, and PyTorch's default initialization. 1,388,490
    parameters on CIFAR-10, 1,405,860 on CIFAR-100.
    """
    model = keras.Sequential([image_input(shape, "C1 of bigBatch")], name="shallow_bigbatch")
    for _ in range(2):
        model.add(_convolution(64, 5))
        model.add(layers.MaxPooling2D(3, 2))
        model.add(norm())
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    for width in (384, 192):
        _add_hidden(model, width, norm)
    model.add(layers.Dense(classes, kernel_initializer=fan_in_uniform()))
    return model


def vgg(shape, classes, norm):
    """VGG, of which Hoffer et al., Table 1, give the name only; it is not in bigBatch.

    Our choice: configuration D (16 layers) of Simonyan & Zisserman (2014), Table 1, for 32x32
    images: a norm after each convolution and no bias there, no hidden layers after the
    convolutions, which leave one position, no dropout, He's initialization. 14,724,042 parameters
    on CIFAR-10.
    """
    model = keras.Sequential([image_input(shape, "VGG")], name="VGG")
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            model.add(
                layers.Conv2D(
                    width, 3, padding="same", use_bias=False, kernel_initializer="he_normal"
                )
            )
            model.add(norm())
            model.add(layers.ReLU())
        model.add(layers.MaxPooling2D(2, padding="same"))
    model.add(layers.Flatten())
    model.add(layers.Dense(classes))
    return model


def alexnet(shape, classes, norm):
    """AlexNet for ImageNet, with one column of convolutions ("one weird trick") and norms.

    Krizhevsky (2014), cited by Hoffer et al., Table 2; as in convNet.pytorch, models/alexnet.py,
    which bigBatch builds on (https://github.com/eladhoffer/convNet.pytorch). Its order is kept: the
    norm comes before the first and the last two ReLUs and after the four between, and after the
    pools. 61,110,184 parameters at 224x224 and 1000 classes, where torchvision's AlexNet, which has
    biases in place of norms, has 61,100,840.
    """
    model = keras.Sequential([image_input(shape, "AlexNet")], name="AlexNet")
    model.add(layers.ZeroPadding2D(2))
    model.add(_convolution(64, 11, strides=4, padding="valid"))
    model.add(layers.MaxPooling2D(3, 2))
    model.add(norm())
    model.add(layers.ReLU())
    for width, kernel, pooled in ((192, 5, True), (384, 3, False), (256, 3, False), (256, 3, True)):
        model.add(_convolution(width, kernel))
        if pooled:
            model.add(layers.MaxPooling2D(3, 2))
        model.add(layers.ReLU())
        model.add(norm())
    model.add(layers.Flatten())
    for _ in range(2):
        _add_hidden(model, 4096, norm)
    model.add(layers.Dense(classes, kernel_initializer=fan_in_uniform()))
    return model


def _convolution(width, kernel, strides=1, padding="same"):
    return layers.Conv2D(
        width, kernel, strides, padding, use_bias=False, kernel_initializer=fan_in_uniform()
    )


def _add_hidden(model, width, norm):
    model.add(layers.Dense(width, use_bias=False, kernel_initializer=fan_in_uniform()))
    model.add(norm())
    model.add(layers.ReLU())
    model.add(layers.Dropout(0.5))
