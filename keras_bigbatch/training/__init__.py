"""Training at a large batch: what changes the training loss."""

from keras_bigbatch.training.large_batch_model import LargeBatchModel

__all__ = ["LargeBatchModel"]
