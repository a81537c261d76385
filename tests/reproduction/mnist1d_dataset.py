"""MNIST-1D as a TensorFlow Datasets builder: the papers' pipelines run without a network."""

import numpy as np
import tensorflow_datasets as tfds

from reproduction.data import arrays


class MNIST1D(tfds.core.GeneratorBasedBuilder):
    """MNIST-1D (Greydanus, 2020): 4000 training and 10 000 test samples, drawn by `arrays.mnist1d`.

    Importing this module registers it: `tfds.load("mnist1d", data_dir=folder)` draws the samples on
    first use and writes them to the folder. They are not standardised.
    """

    name = "mnist1d"  # tfds would make mnist1_d of the class's name
    # A folder keeps what it has: raise this with every change of what `arrays.mnist1d` draws.
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "4000 official training samples, 10 000 fresh test samples."}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description="Ten one-dimensional templates, shifted, scaled and disturbed.",
            features=tfds.features.FeaturesDict(
                {
                    "signal": tfds.features.Tensor(shape=(40, 1), dtype=np.float32),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("signal", "label"),
            homepage="https://github.com/greydanus/mnist1d",
            disable_shuffling=True,  # they are drawn in random order
        )

    def _split_generators(self, dl_manager):
        train, test = arrays.mnist1d()
        return {
            "train": self._generate_examples(*train),
            "test": self._generate_examples(*test),
        }

    def _generate_examples(self, x, y):
        for index, (signal, label) in enumerate(zip(x.astype("float32"), y, strict=True)):
            yield index, {"signal": signal, "label": int(label)}
