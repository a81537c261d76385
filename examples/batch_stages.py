"""A small batch first, then a large one, in a single run.

    python batch_stages.py

Needs keras_bigbatch with a backend, and scikit-learn for the data. Half a minute on a CPU.
"""

import keras
from sklearn.datasets import load_digits

import keras_bigbatch as kbb
from keras_bigbatch.training import BatchStage, fit_stages

SMALL, LARGE, EPOCHS, RATE = 30, 300, 12, 0.05

x, y = load_digits(return_X_y=True)
x, y = x.reshape(-1, 8, 8, 1).astype("float32") / 16, y.astype("int32")
x, y, test_x, test_y = x[:1200], y[:1200], x[1200:], y[1200:]


def compiled():
    """Returns a compiled model, with the same initial weights each time."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1))])
    for _ in range(2):
        model.add(keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False))
        model.add(keras.layers.BatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE, momentum=0.9), loss, metrics=["accuracy"])
    return model


# Scaled by the square-root rule, as in `Regime.at`.
large_rate = kbb.schedules.scale_learning_rate(RATE, SMALL, LARGE)
trainings = {
    "small batch": [BatchStage(SMALL, EPOCHS, RATE)],
    "large batch": [BatchStage(LARGE, EPOCHS, large_rate)],
    "small, then large": [
        BatchStage(SMALL, EPOCHS // 4, RATE),
        BatchStage(LARGE, EPOCHS - EPOCHS // 4, large_rate),
    ],
}
for name, stages in trainings.items():
    model, distance = compiled(), kbb.WeightDistance()
    # One history, one update count, momenta that carry over, and callbacks that begin and end once.
    history = fit_stages(model, x, y, stages, callbacks=[distance], verbose=0)
    updates, accuracy = distance.history["update"][-1], model.evaluate(test_x, test_y, verbose=0)[1]
    print(
        f"{name:18} {len(history.epoch)} epochs, {updates:4} updates: test accuracy {accuracy:.3f}"
    )
print("All runs see the same number of samples. To find out whether the start or only the updates")
print("help, give the large batch as many updates: raise EPOCHS for it alone.")
