"""Training at a large batch: changes to the training loss, and stages with different batches."""

from keras_bigbatch.training._batch_stage import BatchStage
from keras_bigbatch.training._fit_stages import fit_stages
from keras_bigbatch.training._increase_on_noise import increase_on_noise
from keras_bigbatch.training._increase_on_plateau import increase_on_plateau
from keras_bigbatch.training._large_batch_model import LargeBatchModel
from keras_bigbatch.training._noise_limit import NoiseLimit
from keras_bigbatch.training._sharpness_aware import sharpness_aware
from keras_bigbatch.training._small_first_epoch import small_first_epoch
from keras_bigbatch.training._warm_start import warm_start

__all__ = [
    "BatchStage",
    "LargeBatchModel",
    "NoiseLimit",
    "fit_stages",
    "increase_on_noise",
    "increase_on_plateau",
    "sharpness_aware",
    "small_first_epoch",
    "warm_start",
]
