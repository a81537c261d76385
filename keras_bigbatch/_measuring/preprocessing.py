"""The preprocessing that a model applies to data in `fit`."""

import keras

from keras_bigbatch._measuring.batches import Batch


def preprocessed(model: keras.Model, batch: Batch) -> Batch:
    """Returns the batch as `fit` and `predict` pass it to the model.

    KerasHub tasks have a preprocessor, which `model(x)` does not apply: raw images of another size
    or scale would go through the network without an error.
    """
    prepare = getattr(model, "preprocess_samples", None)
    if prepare is None:
        return batch
    prepared: Batch = keras.utils.unpack_x_y_sample_weight(prepare(*batch))
    return prepared
