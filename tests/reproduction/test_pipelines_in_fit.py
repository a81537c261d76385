"""The pipelines in Keras, on the backend that runs: `fit` takes them as it takes arrays."""

import keras
import numpy as np
import pytest

from reproduction.data import pipelines
from tests.reproduction.helpers import whole

pytestmark = pytest.mark.usefixtures("mnist1d_builder")


def network(shape, classes):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def test_fit_takes_a_pipeline_as_it_takes_arrays(folder):
    pipeline = pipelines.load("mnist1d", examples=60, data_dir=folder)
    x, y = whole(pipeline.scoring("train"))
    models = [network(pipeline.shape, pipeline.classes) for _ in range(2)]
    models[0].fit(**pipeline.training(batch=60, seed=0), epochs=3, verbose=0)
    models[1].fit(x, y, batch_size=60, epochs=3, verbose=0)  # a full batch has no order
    for streamed, array in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(streamed, array, rtol=1e-4, atol=1e-5)
    scores = models[0].evaluate(**pipeline.scoring("train"), verbose=0)
    assert scores == pytest.approx(models[0].evaluate(x, y, batch_size=60, verbose=0), rel=1e-4)


@pytest.mark.usefixtures("mock")
def test_an_epoch_of_augmented_images():
    pipeline = pipelines.load("cifar10", "cifar_crop_flip")
    model = network(pipeline.shape, pipeline.classes)
    history = model.fit(**pipeline.training(batch=10, seed=0), epochs=2, verbose=0).history
    assert int(model.optimizer.iterations) == 6  # the partial batches too
    assert np.isfinite(history["loss"]).all()
