"""What the frameworks leave to you when many devices train one model."""

from keras_bigbatch.distribution._average_statistics import average_statistics

__all__ = ["average_statistics"]
