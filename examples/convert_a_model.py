"""An existing model, trained at ten times its batch.

    python convert_a_model.py

Needs keras_bigbatch with a backend, and scikit-learn for the data. Half a minute on a CPU.
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_bigbatch as kbb

x, y = load_digits(return_X_y=True)
x, y = x.reshape(-1, 8, 8, 1).astype("float32") / 16, y.astype("int32")
x, y, test_x, test_y = x[:1200], y[:1200], x[1200:], y[1200:]


def your_model():
    """Stands for your existing model, with batch norm and a shortcut."""
    inputs = keras.Input((8, 8, 1))
    features = keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(inputs)
    features = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(features))
    branch = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(features)
    branch = keras.layers.BatchNormalization(momentum=0.9)(branch)
    features = keras.layers.ReLU()(keras.layers.Add()([features, branch]))
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(features)))


def score(model, plan):
    """Trains with the plan, and returns the test accuracy."""
    model.compile(
        keras.optimizers.SGD(plan.learning_rate, momentum=0.9, global_clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    keras.utils.set_random_seed(0)  # the same order of the samples
    model.fit(x, y, verbose=0, **plan.fit_arguments(x))
    return model.evaluate(test_x, test_y, verbose=0)[1]


keras.utils.set_random_seed(0)
original = your_model()

# 1. A copy with ghost batch norm has the same weights, so it makes the same predictions.
converted = kbb.layers.to_ghost(original, virtual_batch=30)
before, after = (model.predict(test_x, verbose=0) for model in (original, converted))
print(f"predictions differ by {np.abs(after - before).max():.1e} at most")

# 2. Convert before you compile, and train the copy with the plan for the large batch.
recipe = kbb.Regime(batch=30, epochs=6, examples=1200, learning_rate={0: 0.05, 4: 0.005})
as_it_is = recipe.at(batch=300, rule="none", stretch=1)
adapted = recipe.at(batch=300, rule="sqrt", stretch=3)
print(f"batch 300, recipe and model as they are: {score(original, as_it_is):.3f}")
print(f"batch 300, recipe and model adapted:     {score(converted, adapted):.3f}")

# 3. To deploy without this package, convert back to plain batch norm with the trained weights.
plain = kbb.layers.to_plain(converted)
before, after = (model.predict(test_x, verbose=0) for model in (converted, plain))
print(f"predictions differ by {np.abs(after - before).max():.1e} at most")
plain.save("converted.keras")
print("saved as converted.keras, which loads without keras_bigbatch")
