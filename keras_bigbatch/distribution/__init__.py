"""What the frameworks leave undone when many devices train one model."""

from keras_bigbatch.distribution._average_statistics import average_statistics

__all__ = ["average_statistics"]
