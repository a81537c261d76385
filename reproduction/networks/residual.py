"""The papers' residual networks, all of basic blocks: two 3x3 convolutions beside a shortcut.

All take `(shape, classes, norm)` and return an uncompiled model, channels last, that gives logits.
`norm()` makes one fresh normalization layer. Counts of parameters include gamma and beta, and not
the moving statistics.

As in bigBatch, the code of Hoffer et al. (https://github.com/eladhoffer/bigBatch): a shortcut to
another shape is a 1x1 convolution and a norm, convolutions have no bias and start from He's normal
distribution by fan-out, and the last layer from PyTorch's default (its bias from zero, our choice).
"""

import keras
from keras import layers

from reproduction.networks.plain import fan_in_uniform, image_input


def resnet44(shape, classes, norm):
    """ResNet44: three stages of seven blocks, 16 to 64 channels.

    He et al. (2016), section 4.2; as in bigBatch, models/resnet.py. 661,338 parameters on CIFAR-10.
    Differs from He et al., whose shortcuts have none: 658,586. Their Table 6 says 0.66 million,
    which is true of both.
    """
    return _residual_network("ResNet44", image_input(shape, "ResNet44"), classes, norm, 16, 7)


def wrn16_4(shape, classes, norm):
    """WRN16-4: three stages of two blocks, 64 to 256 channels.

    Zagoruyko & Komodakis (2016), cited by Hoffer et al.; as in bigBatch, models/wide_resnet.py,
    which is ResNet16 with four times the channels everywhere. 2,800,804 parameters on CIFAR-100.
    Differs from Zagoruyko & Komodakis, whose first convolution has 16 channels, and whose blocks
    have the norm and the ReLU before the convolution: 2,772,020.
    """
    return _residual_network("WRN16-4", image_input(shape, "WRN16-4"), classes, norm, 64, 2)


def _residual_network(name, inputs, classes, norm, width, blocks):
    """A 3x3 convolution, then three stages; each later one halves the image, doubles the width."""
    x = _convolution(inputs, width, 3, 1)
    x = layers.ReLU()(norm()(x))
    for stage in range(3):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            x = _block(x, width * 2**stage, stride, norm)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(classes, kernel_initializer=fan_in_uniform())(x)
    return keras.Model(inputs, outputs, name=name)


def _block(x, width, stride, norm):
    shortcut = x
    if stride != 1:
        shortcut = norm()(_convolution(x, width, 1, stride))
    x = layers.ReLU()(norm()(_convolution(x, width, 3, stride)))
    x = norm()(_convolution(x, width, 3, 1))
    return layers.ReLU()(layers.Add()([x, shortcut]))


def _convolution(x, width, kernel, stride):
    padding = "same"
    if stride != 1 and kernel != 1:
        # Windows around positions 0, 2, 4, ..., those that the shortcut takes, as in PyTorch. With
        # "same" Keras would put them around 1, 3, 5, ...
        x, padding = layers.ZeroPadding2D(kernel // 2)(x), "valid"
    # A new initializer for each layer: one draws the same numbers each time it is called.
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return layers.Conv2D(
        width, kernel, stride, padding, use_bias=False, kernel_initializer=initializer
    )(x)
