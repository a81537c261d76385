"""The papers' augmentations against NumPy: which window of which image, and mirrored or not."""

import keras
import numpy as np
import pytest

from reproduction.data import augmentation

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data's operations, whatever trains", allow_module_level=True)


def images(count, size, channels):
    """Every pixel has a value of its own among its neighbours, so that windows can be told."""
    return np.random.default_rng(1).integers(0, 256, (count, size, size, channels)).astype("uint8")


def window(image, draw, padding, fill):
    """The oracle, one image at a time: the draw's digits are top, left, and whether mirrored."""
    places, size = 2 * padding + 1, len(image)
    top, left, mirrored = draw % places, draw // places % places, draw // places**2 % 2
    padded = np.full((size + 2 * padding, size + 2 * padding, image.shape[-1]), fill, image.dtype)
    padded[padding : padding + size, padding : padding + size] = image
    crop = padded[top : top + size, left : left + size]
    return crop[:, ::-1] if mirrored else crop


@pytest.mark.parametrize(
    ("name", "size", "channels", "padding", "fill"),
    [("mnist_crop_flip", 28, 1, 2, 0), ("cifar_crop_flip", 32, 3, 4, 127)],
)
def test_every_crop_is_a_window_of_the_padded_image_or_its_mirror_image(
    name, size, channels, padding, fill
):
    places = (2 * padding + 1) ** 2 * 2
    draws = np.concatenate([np.arange(places), [2**32 - 1, 123_456_789]])
    (image,) = images(1, size, channels)
    batch = np.stack([image] * len(draws))
    crops = augmentation.augment(name, tf.constant(batch), tf.constant(draws)).numpy()
    assert crops.dtype == np.uint8
    np.testing.assert_array_equal(crops, [window(image, draw, padding, fill) for draw in draws])
    # All windows, and the mirror image of each.
    assert len({crop.tobytes() for crop in crops}) == places


def test_each_image_of_a_batch_has_its_own_window():
    batch, draws = images(6, 32, 3), np.array([0, 40, 81, 121, 161, 999])
    crops = augmentation.cifar_crop_flip(tf.constant(batch), tf.constant(draws)).numpy()
    expected = [window(image, draw, 4, 127) for image, draw in zip(batch, draws, strict=True)]
    np.testing.assert_array_equal(crops, expected)
    np.testing.assert_array_equal(crops[1], batch[1])  # 4 + 9 * 4: the image itself


def test_none_leaves_the_batch_alone():
    batch = tf.constant(images(3, 28, 1))
    assert augmentation.augment("none", batch, tf.constant([1, 2, 3])) is batch


@pytest.mark.parametrize(
    ("name", "data_set"),
    [("flip", "mnist"), ("cifar_crop_flip", "mnist"), ("imagenet", "cifar10")],
)
def test_an_augmentation_of_another_data_set_is_refused(name, data_set):
    with pytest.raises(ValueError, match=rf"'{name}' is not for {data_set}: pass one of \['none'"):
        augmentation.check(name, data_set)


# --- ImageNet's, of encoded images


def jpeg(height, width):
    """An image whose red tells the column and whose green tells the row; its decoded pixels too."""
    rows, columns = np.mgrid[:height, :width]
    red, green = columns * 255 / (width - 1), rows * 255 / (height - 1)
    pixels = np.rint(np.stack([red, green, np.zeros_like(red)], -1)).astype("uint8")
    # Colours at full resolution, or they would be smeared over two pixels.
    encoded = tf.io.encode_jpeg(pixels, quality=100, chroma_downsampling=False)
    return encoded, tf.io.decode_jpeg(encoded).numpy()


@pytest.mark.parametrize(("height", "width"), [(256, 300), (320, 256)])
def test_centre_crop_of_a_shorter_side_of_256_is_a_window(height, width):
    encoded, pixels = jpeg(height, width)
    top, left = (height - 224) // 2, (width - 224) // 2
    crop = augmentation.centre_crop(encoded, 224).numpy()
    np.testing.assert_array_equal(crop, pixels[top : top + 224, left : left + 224])


def test_centre_crop_keeps_the_middle_at_any_size():
    encoded, _ = jpeg(200, 400)
    crop = augmentation.centre_crop(encoded, 64).numpy()
    assert crop.shape == (64, 64, 3)
    # 175 of 400 columns and of 200 rows: 0.4375 and 0.875 of the range, about its middle.
    for channel, axis, part in ((0, 0, 175 / 400), (1, 1, 175 / 200)):
        line = crop[..., channel].mean(axis)
        assert line.mean() == pytest.approx(127.5, abs=2)
        assert line[-1] - line[0] == pytest.approx(255 * part, rel=0.04)


def test_random_resized_crops_have_the_areas_and_shapes_that_the_code_asks_for():
    encoded, _ = jpeg(128, 192)
    size, corners = 24, []
    for draw in np.random.default_rng(0).integers(0, 2**32, 150):
        crop = augmentation.random_resized_crop(encoded, tf.constant(draw), size).numpy()
        assert crop.shape == (size, size, 3)
        red, green = crop[..., 0].mean(0), crop[..., 1].mean(1)
        # Slopes away from the edges, where the smoothing sees half of its neighbours.
        across, down = ((line[-5] - line[4]) / (size - 9) * size for line in (red, green))
        corners.append((across / 255, down / 255, red.mean(), green.mean()))
    across, down, column, row = np.transpose(corners)
    width, height = np.abs(across), down
    assert (height > 0).all()  # never upside down
    assert 0.35 < (across < 0).mean() < 0.65  # mirrored: a half
    area, aspect = width * height, width * 192 / (height * 128)
    assert 0.07 < area.min() < 0.15
    assert 0.75 < area.max() < 1.02
    assert (aspect > 0.75 * 0.93).all()
    assert (aspect < 4 / 3 * 1.07).all()
    # Anywhere in the image, and never outside.
    assert (np.abs(column - 127.5) / 255 + width / 2 < 0.52).all()
    assert (np.abs(row - 127.5) / 255 + height / 2 < 0.52).all()
    assert column.std() > 10
    assert row.std() > 10


def test_a_draw_decides_the_random_crop():
    encoded, _ = jpeg(64, 64)
    first, again, other = (
        augmentation.random_resized_crop(encoded, tf.constant(draw, "int64"), 16).numpy()
        for draw in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 5
