"""Does a small batch find a flatter minimum than a large one?

    python sharpness.py

Needs keras_bigbatch with a backend, scipy, and scikit-learn for the data. Half a minute on a CPU.
"""

import keras
from sklearn.datasets import load_digits

from keras_bigbatch import diagnostics

SMALL, LARGE = 30, 300
EPOCHS, RATE = 60, 0.05

x, y = load_digits(return_X_y=True)
x, y = x.astype("float32") / 16, y.astype("int32")
x, y, test_x, test_y = x[:1200], y[:1200], x[1200:], y[1200:]


def trained(batch):
    """Returns a model trained from the same weights, for as many epochs, at the same rate."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(32, "relu"), keras.layers.Dense(32, "relu")]
    model = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE, momentum=0.9), loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=batch, epochs=EPOCHS, verbose=0)
    return model


print("batch  training loss  test accuracy  sharpness, %  top eigenvalue")
models = {}
for batch in (SMALL, LARGE):
    model = models[batch] = trained(batch)
    # How much the loss can rise in a box around the weights. It is a search, so a lower bound.
    quiet = {"batch_size": 600, "verbose": 0}
    sharp = diagnostics.sharpness(model, x, y, starts=1, max_iterations=20, **quiet)
    curvature = diagnostics.hessian_eigenvalues(model, x, y, **quiet)
    accuracy = model.evaluate(test_x, test_y, verbose=0)[1]
    print(
        f"{batch:5}  {sharp.loss:13.4f}  {accuracy:13.3f}  {sharp.value:12.3g}"
        f"  {curvature.values[0]:14.3g}"
    )

# Is there a barrier between the two minima?
ends = [models[batch].get_weights() for batch in (SMALL, LARGE)]
path = diagnostics.linear_path(model, *ends, x, y, [0, 0.25, 0.5, 0.75, 1], verbose=0)
print(f"loss on the line from {SMALL} to {LARGE}:", "  ".join(f"{loss:.3f}" for loss in path.loss))
print(
    "Sharpness also depends on the scale of the weights and the loss level. Only compare runs that"
)
print("have both fitted, and do not use sharpness to predict accuracy.")
