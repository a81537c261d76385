"""Data in batches, of each kind that measurements take."""

import keras

from tests.diagnostics.models import RNG, X

# A weight a sample of `X`.
WEIGHTS = RNG.uniform(0.2, 3, len(X)).astype("float32")


class Sequence(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def loader_of(*parts, size=16, **options):
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(*(torch.as_tensor(part) for part in parts))
    return DataLoader(data, batch_size=size, **options)


def dataset_of(*parts, size=16):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(parts).batch(size)
