"""The papers' data through TensorFlow Datasets: read, shuffled, augmented, standardised, batched.

A `Pipeline` takes the place of `_data.Data` in the runner. It streams batches through `tf.data`,
which Keras takes on every backend: ImageNet need not fit in memory, and samples can be augmented.
"""

import contextlib

import keras
import numpy as np

from reproduction.data.augmentation import augment, centre_crop, check, random_resized_crop

IMAGENET = "imagenet2012"  # the only one that is not kept in memory
DATA_SETS = ("mnist", "fashion_mnist", "cifar10", "cifar100", IMAGENET)
IMAGENET_SIZE = 224
# ImageNet's published statistics, of pixels from 0 to 255.
IMAGENET_MEAN = 255 * np.array([0.485, 0.456, 0.406])
IMAGENET_DEVIATION = 255 * np.array([0.229, 0.224, 0.225])
# Samples to choose the next from. Of ImageNet's encoded images they take about a gigabyte, and the
# files are shuffled too; the others are shuffled whole.
IMAGENET_BUFFER = 10_000
SCORING_BATCH = 500


class Pipeline:
    """A classification data set as batches of `tf.data`; made by `load`.

    Attributes:
        name: the data set's.
        split: what is scored on: `"test"`, ImageNet's `"validation"`, or `"held-out"`.
        augmentation: of the samples trained on; see `augmentation.py`.
        shape: of one sample, channels last.
        classes: the number of classes.
        examples: samples to train on.
        scored: samples that the accuracies are measured on.
        mean: of the samples trained on, by channel.
        deviation: their standard deviation, by channel.
    """

    def __init__(self, name, augmentation, slices, split, data_dir, image_size):
        self.name, self.augmentation, self.split = name, augmentation, split
        self._slices, self._data_dir, self._size = slices, data_dir, image_size
        self._train, info = self._read("train")
        self._test, _ = self._read("test")
        self.examples, self.scored = len(self._train), len(self._test)
        self.classes = info.features["label"].num_classes
        if name == IMAGENET:
            self.shape = (image_size, image_size, 3)
            self.mean, self.deviation = IMAGENET_MEAN, IMAGENET_DEVIATION
        else:
            self.shape = info.features[info.supervised_keys[0]].shape
            self._train, self._test = self._train.cache(), self._test.cache()
            self.mean, self.deviation = _statistics(self._train)

    @property
    def scored_on(self):
        """What the accuracies are measured on."""
        return f"{self.scored:,} {self.split} samples"

    def training(self, batch, seed, num_shards=1, index=0):
        """What `fit` takes: batches in an order that is new in every epoch, the last one partial.

        Order and augmentation follow from `seed` alone. With several processes, each gets its part
        of every batch that one process would get. All parts are of one size: up to
        `num_shards - 1` samples, others in each epoch, are left out of the last batch.

        TensorFlow's global seed is set as well, because the seeds of `tf.data` depend on it.

        Args:
            batch: samples a batch, over all processes.
            seed: the training's; the same in all processes.
            num_shards: processes.
            index: this process, from 0.
        """
        if num_shards < 1 or not 0 <= index < num_shards:
            raise ValueError(
                f"there is no part {index} of {num_shards}: "
                "pass num_shards >= 1 and an index from 0 to num_shards - 1"
            )
        if batch < 1 or batch % num_shards:
            raise ValueError(
                f"batch={batch} cannot be shared by {num_shards} processes: pass a multiple"
            )
        tf = _tensorflow()
        tf.random.set_seed(seed)
        if self.name == IMAGENET:
            samples, buffer = self._read("train", seed)[0], IMAGENET_BUFFER
        else:
            samples, buffer = self._train, self.examples
        samples = samples.shuffle(buffer, seed, reshuffle_each_iteration=True)
        draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True)
        # A sample has its draw before the processes part, which then agree on both.
        samples = tf.data.Dataset.zip((samples, draws))
        samples = samples.take(self.examples - self.examples % num_shards)
        samples = samples.shard(num_shards, index)
        if self.name == IMAGENET:
            samples = samples.map(self._cropped, tf.data.AUTOTUNE)
        batches = samples.batch(batch // num_shards).map(self._augmented, tf.data.AUTOTUNE)
        options = tf.data.Options()
        if num_shards > 1:  # a second sharding, by tf.distribute, would leave most samples out
            options.experimental_distribute.auto_shard_policy = (
                tf.data.experimental.AutoShardPolicy.OFF
            )
        batches = batches.with_options(options).prefetch(tf.data.AUTOTUNE)
        return {"x": batches, "shuffle": False}  # they are shuffled, or Keras would warn

    def scoring(self, part):
        """What `evaluate` takes for the `"train"` or the `"test"` part, as they are in the set."""
        if part not in self._slices:
            raise ValueError(f"part={part!r} is unknown: pass 'train' or 'test'")
        tf = _tensorflow()
        samples = self._train if part == "train" else self._test
        if self.name == IMAGENET:
            samples = samples.map(
                lambda jpeg, y: (centre_crop(jpeg, self._size), y), tf.data.AUTOTUNE
            )
        batches = samples.batch(SCORING_BATCH).map(self._standardised, tf.data.AUTOTUNE)
        return {"x": batches.prefetch(tf.data.AUTOTUNE)}

    def _cropped(self, sample, draw):
        """One of ImageNet's encoded images, at the network's size."""
        jpeg, y = sample
        if self.augmentation == "imagenet":
            return (random_resized_crop(jpeg, draw, self._size), y), draw
        return (centre_crop(jpeg, self._size), y), draw

    def _augmented(self, samples, draws):
        x, y = samples
        return self._standardised(augment(self.augmentation, x, draws), y)

    def _standardised(self, x, y):
        import tensorflow as tf

        mean, deviation = self.mean.astype("float32"), self.deviation.astype("float32")
        return (tf.cast(x, "float32") - mean) / deviation, tf.cast(y, "int32")

    def _read(self, part, seed=None):
        """The samples and what is known of them; with a seed, the files in another order."""
        return _read(self.name, self._slices[part], self._data_dir, seed)


def load(name, augmentation="none", hold_out=0, examples=None, data_dir=None, image_size=None):
    """Load a data set; TensorFlow Datasets downloads it on first use, or says what to do.

    ImageNet must be downloaded by hand. Samples are standardised with the
    mean and deviation of the samples trained on, one each a channel; ImageNet's are the published
    ones. (bigBatch takes ImageNet's for CIFAR as well, and 0.5 for digits.)

    Args:
        name: one of `DATA_SETS`.
        augmentation: of the samples trained on, one of `augmentation.AUGMENTATIONS`.
        hold_out: training samples to set aside and score on *in place of* the test set: the first
            ones, which is a fixed random choice, as the sets are stored in random order.
        examples: training samples to use, before the hold-out; all of them by default.
        data_dir: TensorFlow Datasets' folder; its own default if not given.
        image_size: height and width of ImageNet's images after cropping, 224 by default.
    """
    if name not in DATA_SETS:
        raise ValueError(f"data set {name!r} is unknown: pass one of {list(DATA_SETS)}")
    check(augmentation, name)
    if image_size is not None and (name != IMAGENET or image_size < 1):
        raise ValueError(
            f"image_size={image_size} is not for {name}: pass a positive size for {IMAGENET} only"
        )
    total = len(_read(name, "train", data_dir)[0])
    if examples is not None and examples < 1:
        raise ValueError(f"examples={examples} leaves nothing to train on: pass 1 to {total}")
    kept = min(examples or total, total)
    if not 0 <= hold_out < kept:
        raise ValueError(
            f"cannot hold out {hold_out} of {kept} training samples: "
            "pass a number between 0 and one less than there are"
        )
    test = "validation" if name == IMAGENET else "test"  # the labels of its test set are not public
    slices = {
        "train": f"train[{hold_out}:{kept}]",
        "test": f"train[:{hold_out}]" if hold_out else test,
    }
    size = (image_size or IMAGENET_SIZE) if name == IMAGENET else None
    split = "held-out" if hold_out else test
    return Pipeline(name, augmentation, slices, split, data_dir, size)


def _read(name, split, data_dir, seed=None):
    tfds = _tensorflow_datasets(name)
    options = {}
    if name == IMAGENET:  # decoded when it is known which window is wanted
        options["decoders"] = {"image": tfds.decode.SkipDecoding()}
    return tfds.load(
        name,
        split=split,
        data_dir=data_dir,
        shuffle_files=seed is not None,
        read_config=tfds.ReadConfig(shuffle_seed=seed, try_autocache=False),
        as_supervised=True,
        with_info=True,
        **options,
    )


def _statistics(samples):
    """The mean and the deviation of each channel, in double precision."""
    count, total, squares = 0, 0.0, 0.0
    for x, _ in samples.batch(SCORING_BATCH).as_numpy_iterator():
        x = x.reshape(-1, x.shape[-1]).astype("float64")
        count, total, squares = count + len(x), total + x.sum(0), squares + (x**2).sum(0)
    mean = total / count
    return mean, np.sqrt(squares / count - mean**2)


def _tensorflow_datasets(name):
    _tensorflow()
    try:
        # 4.9.10 needs it and does not ask for it: github.com/tensorflow/datasets/issues/11212.
        import importlib_resources  # noqa: F401
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise SystemExit(
            f"the data set {name!r} comes through TensorFlow Datasets, and {error.name} is not "
            "installed: pip install tensorflow-datasets importlib-resources"
        ) from error
    return tfds


def _tensorflow():
    try:
        import tensorflow as tf
    except ImportError as error:
        raise SystemExit(
            "the papers' pipelines are made of tf.data, on every backend, and TensorFlow is not "
            "installed: pip install tensorflow"
        ) from error
    if keras.backend.backend() != "tensorflow":
        # Else TensorFlow would take the GPU's memory from the backend. It refuses once it has.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    return tf
