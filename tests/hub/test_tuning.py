"""KerasTuner, and Keras's wrappers for scikit-learn, with our layer, schedules and callbacks."""

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")


def network(virtual_batch, plan):
    layers = [
        keras.Input((4,)),
        keras.layers.Dense(8, use_bias=False),
        kbb.GhostBatchNormalization(virtual_batch=virtual_batch, momentum=0.9),
        keras.layers.ReLU(),
        keras.layers.Dense(2),
    ]
    model = keras.Sequential(layers)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(plan.learning_rate), loss, metrics=["accuracy"])
    return model


def plan_at(batch):
    rates = {0: 0.2, 6: 0.02}
    return kbb.Regime(batch=8, epochs=8, examples=64, learning_rate=rates).at(batch)


def test_keras_tuner(tmp_path):
    tuners = pytest.importorskip("keras_tuner", reason="`make test-hub` installs it")

    def build(chosen):
        return network(chosen.Choice("virtual_batch", [4, 8]), plan_at(32))

    tuner = tuners.GridSearch(build, "accuracy", directory=tmp_path, project_name="search")
    distance = kbb.callbacks.WeightDistance()
    options = {"callbacks": [distance], "batch_size": 32, "epochs": plan_at(32).epochs}
    targets = np.eye(2)[Y]  # as scikit-learn's wrapper makes them of labels
    tuner.search(X, targets, verbose=0, **options)
    assert {each.values["virtual_batch"] for each in tuner.get_best_hyperparameters(2)} == {4, 8}
    # It trains with copies of the callback, and reads the best weights from their files.
    assert distance.history["distance"] == []
    if keras.backend.backend() == "tensorflow":
        return  # KerasTuner 1.4.8 does not find its weights there, of plain batch norm either
    best = tuner.get_best_models(1)[0]
    assert best.layers[1].virtual_batch == tuner.get_best_hyperparameters()[0]["virtual_batch"]
    assert best.evaluate(X, targets, verbose=0)[1] > 0.6


def test_wrappers_for_scikit_learn():
    selection = pytest.importorskip("sklearn.model_selection")

    def build(X, y, virtual_batch=4):  # noqa: N803  # as the wrapper calls it
        return network(virtual_batch, plan_at(32))

    distance = kbb.callbacks.WeightDistance()
    options = {"batch_size": 32, "epochs": plan_at(32).epochs, "verbose": 0}
    options["callbacks"] = [distance]
    classifier = keras.wrappers.SKLearnClassifier(build, model_kwargs={"virtual_batch": 8})
    # Not by `fit_kwargs=`: scikit-learn's clones of the wrapper lose them.
    scores = selection.cross_val_score(classifier, X, Y, cv=2, params=options, error_score="raise")
    assert scores.mean() > 0.6
    classifier.fit(X, Y, **options)
    assert classifier.model_.layers[1].virtual_batch == 8
    assert distance.history["update"][-1] == plan_at(32).updates
