"""What a model does to data in `fit` before it is called."""

import keras

from keras_bigbatch._measuring.batches import Batch


def preprocessed(model: keras.Model, batch: Batch) -> Batch:
    """The batch as `fit` and `predict` hand it to the model.

    The tasks of KerasHub hold a preprocessor, which `model(x)` does not apply: raw pictures of
    another size or scale would go through the network without an error.
    """
    prepare = getattr(model, "preprocess_samples", None)
    if prepare is None:
        return batch
    prepared: Batch = keras.utils.unpack_x_y_sample_weight(prepare(*batch))
    return prepared
