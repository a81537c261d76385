"""The augmentations of bigBatch, the code of Hoffer et al. (2017), as TensorFlow ops on raw pixels.

The paper names none; what is here is what its code does to the samples that it trains on. Keskar et
al. (2017) and Gao & Zhong (2020) train without. Scoring is never augmented.

All chance comes from one number a sample, its `draw`: uniform on 0 .. 2**32 - 1, from the pipeline.
So what happens to a sample does not depend on the batch, or the process, that it falls into.
"""

# The data sets that each is for: a size, a number of channels and a fill value belong together.
AUGMENTATIONS = {
    "none": ("mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet2012"),
    "mnist_crop_flip": ("mnist", "fashion_mnist"),
    "cifar_crop_flip": ("cifar10", "cifar100"),
    "imagenet": ("imagenet2012",),
}
# Of ImageNet's images: the random window's part of the area, and its width by its height.
AREA_RANGE = (0.08, 1.0)
ASPECT_RANGE = (3 / 4, 4 / 3)
CENTRE = 224 / 256  # the centre crop's part of the shorter side


def check(name, data_set):
    """Raise unless the augmentation exists, and is for the data set."""
    if name not in AUGMENTATIONS or data_set not in AUGMENTATIONS[name]:
        allowed = [key for key, data_sets in AUGMENTATIONS.items() if data_set in data_sets]
        raise ValueError(f"augmentation={name!r} is not for {data_set}: pass one of {allowed}")


def augment(name, images, draws):
    """What an augmentation does to a batch of images of one size.

    `"imagenet"` does nothing here: its images have many sizes, and are cropped one by one.
    """
    if name == "mnist_crop_flip":
        return mnist_crop_flip(images, draws)
    if name == "cifar_crop_flip":
        return cifar_crop_flip(images, draws)
    return images


def mnist_crop_flip(images, draws):
    """Pad 28x28 digits by 2 black pixels, crop 28x28 at random, and mirror every other one.

    bigBatch's loader does so (`preprocess.py`, "mnist"), and the paper does not say it. A mirrored
    digit is hardly a digit: whoever wants F1 as the paper describes it, takes `"none"`.
    """
    return crop_flip(images, draws, padding=2, fill=0)


def cifar_crop_flip(images, draws):
    """Pad 32x32 images by 4 grey pixels, crop 32x32 at random, and mirror every other one.

    The usual augmentation of CIFAR. bigBatch pads with 127 (`preprocess.py`, "cifar"), where others
    pad with 0 or, after standardising, with the mean.
    """
    return crop_flip(images, draws, padding=4, fill=127)


def crop_flip(images, draws, padding, fill):
    """A random window of each padded image, of the image's own size, or its mirror image.

    Args:
        images: a batch, channels last.
        draws: int64, one a sample.
        padding: pixels at each edge.
        fill: their value.
    """
    import tensorflow as tf

    height, width = images.shape[1:3]
    # The digits of the draw in a mixed base; 2**32 is so large that the remainder is no bias.
    places = 2 * padding + 1
    top, left = draws % places, draws // places % places
    mirrored = draws // places**2 % 2 == 1
    rows = top[:, None] + tf.range(height, dtype=draws.dtype)
    columns = left[:, None] + tf.range(width, dtype=draws.dtype)
    columns = tf.where(mirrored[:, None], columns[:, ::-1], columns)
    edge = (padding, padding)
    padded = tf.pad(images, ((0, 0), edge, edge, (0, 0)), constant_values=fill)
    return tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def random_resized_crop(jpeg, draw, size):
    """The `"imagenet"` augmentation of one encoded image: a random window, resized, then mirrored.

    bigBatch's default for ImageNet (`preprocess.py`, "imagenet"), after Szegedy et al. (2015): the
    window has 8 to 100 % of the area and an aspect ratio of 3/4 to 4/3; after ten failures it is
    the whole image. Half of the images are mirrored. The window alone is decoded.
    """
    import tensorflow as tf

    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.image.extract_jpeg_shape(jpeg),
        bounding_boxes=tf.zeros((1, 0, 4)),
        seed=tf.stack([draw, 0]),
        min_object_covered=0.0,
        aspect_ratio_range=ASPECT_RANGE,
        area_range=AREA_RANGE,
        max_attempts=10,
        use_image_if_no_bounding_boxes=True,
    )
    image = _window(jpeg, begin[:2], extent[:2], size)
    return tf.image.stateless_random_flip_left_right(image, seed=tf.stack([draw, 1]))


def centre_crop(jpeg, size):
    """What ImageNet is scored on: the central square of one encoded image, resized.

    bigBatch resizes the shorter side to 256 and crops 224x224 in the centre. This crops 224/256 of
    the shorter side first, and resizes once: the same window for any `size`, and less to decode.
    """
    import tensorflow as tf

    extent = tf.image.extract_jpeg_shape(jpeg)[:2]
    shorter = tf.cast(tf.reduce_min(extent), "float32")
    side = tf.maximum(tf.cast(tf.round(shorter * CENTRE), "int32"), 1)
    return _window(jpeg, (extent - side) // 2, tf.stack([side, side]), size)


def _window(jpeg, begin, extent, size):
    """Decode a window of a JPEG, and resize it as PIL does: bilinear, smoothed when it shrinks."""
    import tensorflow as tf

    image = tf.image.decode_and_crop_jpeg(jpeg, tf.concat([begin, extent], 0), channels=3)
    return tf.ensure_shape(tf.image.resize(image, (size, size), antialias=True), (size, size, 3))
