# %% [markdown]
# # Sharp or flat
#
# Keskar et al. (2017) find that a large batch ends in a sharp minimum and a small one in a flat
# minimum, and say that this is why the large batch generalizes worse. This page measures both, goes
# the straight way from one to the other, and then changes the sharpness of a network without
# changing the network.

# %% tags=["notebook"]
# In a notebook of your own: the package comes from a clone, as Getting started says.
# %pip install -q mnist1d matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"

import keras
import matplotlib.pyplot as plt
import numpy as np
from mnist1d.data import get_dataset_args, make_dataset

import keras_bigbatch as kbb

quick = "KBB_QUICK" in os.environ  # our tests run this page in seconds
seeds, samples = ([0], 80) if quick else ([0, 1, 2], 4000)

data = make_dataset(get_dataset_args())
x, y = data["x"][:samples, :, None].astype("float32"), data["y"][:samples]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]

# %% [markdown]
# ## Two minima from one start
#
# The network is that of [the generalization gap](generalization-gap.md). A seed fixes the start, so
# both batches begin at the same weights. The curvature of the cross-entropy falls with the loss, so
# the one that is trained further looks flatter for that reason alone. Therefore the epochs are such
# that both end at about the same training loss.


# %%
def network(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((40, 1))])
    for kernel in (5, 3, 3):
        model.add(keras.layers.Conv1D(32, kernel, strides=2, padding="same", use_bias=False))
        model.add(keras.layers.BatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    return model


def train(batch, epochs, seed):
    model, updates = network(seed), epochs * len(x) // batch
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(
        [updates // 2, updates * 3 // 4], [0.05, 0.005, 0.0005]
    )
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0)
    return model


recipes = {"SB": (40, 1), "LB": (80, 1)} if quick else {"SB": (40, 15), "LB": (1000, 100)}
models = {name: [train(*recipe, seed) for seed in seeds] for name, recipe in recipes.items()}

# %% [markdown]
# ## Two measures
#
# Keskar's sharpness is how high the loss rises in a small box around the weights, in percent:
#
# $$\phi = 100 \cdot \frac{\max_{y} L(w + y) - L(w)}{1 + L(w)}, \qquad |y_i| \leq \epsilon \left( |w_i| + 1 \right)$$
#
# The maximum has to be searched for, so the value is a lower bound. To keep the page short the search
# is a short one. With `adaptive=True` the box is $|y_i| \leq \epsilon |w_i|$, relative to each
# weight (Kwon et al., 2021). The third measure is the largest eigenvalue of the Hessian: the
# curvature in the steepest direction.

# %%
search = {"batch_size": 1000, "maximizer": "ascent", "starts": 1}
search["max_iterations"] = 2 if quick else 10


def sharpnesses(model):
    plain = kbb.diagnostics.sharpness(model, x, y, 1e-3, **search)
    adaptive = kbb.diagnostics.sharpness(model, x, y, 1e-2, adaptive=True, **search)
    return plain.value, adaptive.value


def eigenvalue(model):
    tolerance = 1 if quick else 0.1
    return kbb.diagnostics.hessian_eigenvalues(
        model, x, y, batch_size=1000, tolerance=tolerance
    ).values[0]


def norm_of_kernels(model):
    kernels = [layer.get_weights()[0] for layer in model.layers if hasattr(layer, "kernel")]
    return np.sqrt(sum(np.sum(kernel**2) for kernel in kernels))


quantities = (
    "training loss", "training accuracy, %", "test accuracy, %", "sharpness, %",
    "adaptive sharpness, %", "top eigenvalue", "norm of the kernels",
)  # fmt: skip
found = {}
for name in models:
    found[name] = []
    for model in models[name]:
        loss, accuracy = model.evaluate(x, y, batch_size=1000, verbose=0)
        test_accuracy = model.evaluate(test_x, test_y, batch_size=1000, verbose=0)[1]
        measured = (*sharpnesses(model), eigenvalue(model), norm_of_kernels(model))
        found[name].append((loss, 100 * accuracy, 100 * test_accuracy, *measured))
print(" " * 24 + "".join(f"{name + ', each seed':>30}" for name in found))
for row, quantity in enumerate(quantities):
    cells = ["".join(f"{one[row]:>10.3g}" for one in ones) for ones in found.values()]
    print(f"{quantity:24}" + "".join(f"{cell:>30}" for cell in cells))

# %% [markdown]
# At the same training loss, the large batch ends where the loss rises some twenty times as high, and
# its test accuracy is lower, in every seed: Keskar et al.'s finding. But look at the last row. The
# kernels of the large batch are smaller, and the box hardly is. Relative to each weight the factor is
# about six instead of twenty: a good part of "sharp" was scale.
#
# ## From one to the other
#
# [`linear_path`][keras_bigbatch.diagnostics.linear_path.linear_path] takes the loss at
#
# $$w(\alpha) = (1 - \alpha) \, w_{\mathrm{SB}} + \alpha \, w_{\mathrm{LB}}$$
#
# The statistics of batch norm do not mix like weights do. So there are two curves: one mixes the
# moving statistics of the ends, the other estimates those that belong to the mixed weights.

# %%
ends = [models[name][0].get_weights() for name in models]
alphas = np.linspace(-1, 2, 4 if quick else 25)
paths = {
    statistics: kbb.diagnostics.linear_path(
        models["SB"][0], *ends, x, y, alphas, batch_size=1000, statistics=statistics
    )
    for statistics in ("interpolated", "estimated")
}
shown = [k for k, alpha in enumerate(alphas) if -0.5 <= alpha <= 1.5][::2]
print("alpha       " + "".join(f"{alphas[k]:>9.2f}" for k in shown))
for statistics, path in paths.items():
    print(f"{statistics:12}" + "".join(f"{path.loss[k]:>9.3g}" for k in shown))

# %% alt="Training loss from SB at 0 to LB at 1: a wall between them, lower with estimated statistics"
figure, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
for (statistics, path), style in zip(paths.items(), ("o-", "s--"), strict=True):
    ax.plot(path.alphas, path.loss, style, markersize=4, label=f"statistics {statistics}")
for end, name in enumerate(models):
    ax.axvline(end, color="gray", linewidth=0.8, linestyle=":")
    ax.annotate(name, (end, 0.97), xycoords=("data", "axes fraction"), va="top")
ax.set(yscale="log", xlabel="alpha: 0 is SB, 1 is LB", ylabel="training loss")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Around LB the loss rises steeply to both sides, around SB it is gentle: the picture of Keskar et al.,
# here with a wall between the two. How high the wall is depends on the statistics. With those that fit
# the mixed weights it is less than half as high, and so is the rise beyond LB less steep. A part of such walls
# is in the bookkeeping of batch norm and not in the weights. It is one line in a space of thousands of
# directions, and one seed.
#
# ## The same network, sharper or flatter
#
# Batch norm divides by the deviation of what comes in. Multiply the weights before it by $c$, and
# the moving mean and deviation with them, and every output is what it was. Only the scale of the
# weights has changed, and with it the size of the box relative to them. (A power of 2 for $c$ keeps
# even the rounding.)


# %%
def rescaled(model, c):
    """The same function with `c` times the weights before each batch norm."""
    twin = network(0)
    twin.set_weights(model.get_weights())
    for layer, norm in zip(twin.layers, twin.layers[1:], strict=False):
        if isinstance(norm, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = norm.get_weights()
            variance = (variance + norm.epsilon) * c**2 - norm.epsilon
            norm.set_weights([gamma, beta, mean * c, variance])
            layer.set_weights([layer.get_weights()[0] * c])
    twin.compile(loss=model.loss)
    return twin


table = {}
print("         c   largest change of an output   sharpness, %   adaptive sharpness, %")
for name, c in (("SB", 1 / 8), ("LB", 8)):
    model = models[name][0]
    twin = rescaled(model, c)
    outputs = [each.predict(x, batch_size=1000, verbose=0) for each in (model, twin)]
    change = np.abs(outputs[1] - outputs[0]).max()
    table[name] = np.array([found[name][0][3:5], sharpnesses(twin)])
    for scale, moved, values in zip((1, c), (0, change), table[name], strict=True):
        print("{}{:>8}{:>30.1e}{:>15.3g}{:>24.3g}".format(name, scale, moved, *values))

# %% alt="Sharpness: SB far below LB as trained, far above it when rescaled; adaptive sharpness stays"
figure, ax = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
for number, (name, values) in enumerate(table.items()):
    ax.plot(values[:, 0], "o-", color=f"C{number}", label=f"{name}, sharpness")
    ax.plot(values[:, 1], "s--", color=f"C{number}", label=f"{name}, adaptive sharpness")
ax.set(yscale="log", ylabel="sharpness, %", xlim=(-0.3, 1.3), xticks=[0, 1])
ax.set_xticklabels(["as trained", "the same networks, rescaled:\nSB by 1/8, LB by 8"])
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# Every output is the same to the last bit, and so are both test accuracies. Yet SB is now the sharp one,
# sharper than LB ever was, and LB is as flat as SB used to be. Dinh et al. (2017) say it in general: where
# weights can be rescaled without a change of the function, this sharpness can be made anything. The
# adaptive one does not move.
#
# ## What to take away
#
# - The observation holds on this network: larger batch, sharper minimum, lower test accuracy, also by
#   the adaptive measure and at the same training loss.
# - That sharpness is the *cause* does not follow. The plain measure can be reversed without touching the
#   function. Compare the norms of the weights, or use `adaptive=True`, before you compare minima.
# - Train to the same loss, use the same search for all, and call the result what it is, a lower bound.
#   The searches on this page were short.
#
# [Instruments](../instruments.md) has the five arms of the demo side by side, with longer searches, and
# what each measure costs; [Evidence](../evidence/keskar.md) has Keskar et al.'s figures over six batch
# sizes. API: [sharpness][keras_bigbatch.diagnostics.sharpness.sharpness],
# [hessian_eigenvalues][keras_bigbatch.diagnostics.hessian_eigenvalues.hessian_eigenvalues]. Next:
# [how large is large?](how-large-is-large.md)
