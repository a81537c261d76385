# %% [markdown]
# # AdamW and a transformer
#
# **With 16 times the batch and 4 times the epochs, the result depends on the weight decay: one way
# to adapt it gives about 88 % test accuracy, the other about 84 %. The small batch reaches about 83
# %.**
#
# Most of these tutorials train convolutional networks with batch norm and SGD. This one trains a
# small transformer with layer norm and AdamW, with a cosine schedule, weight decay and clipping.
# Ghost batches, which change only batch norm, have no effect on it. Only the optimizer can be
# adapted, and this page adapts all of its hyperparameters.

# %% tags=["notebook"]
# In a notebook of your own, install the package from a clone, as Getting started says.
# %pip install -q mnist1d matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"

from functools import partial

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from mnist1d.data import get_dataset_args, make_dataset

import keras_bigbatch as kbb

seeds, epochs, longer = [1, 2, 3], 15, 4  # quick: [1], 1, 2

data = make_dataset(get_dataset_args())
x, y = data["x"][..., None].astype("float32"), data["y"]
test_x, test_y = data["x_test"][..., None].astype("float32"), data["y_test"]

# %% [markdown]
# ## The recipe
#
# Each signal of 40 values is split into eight tokens of five values. Each position has an
# embedding.


# %%
class Position(layers.Layer):
    """Adds to each token the embedding of its position."""

    def build(self, shape):
        start = keras.initializers.RandomNormal(stddev=0.02)
        self.embeddings = self.add_weight(shape=shape[1:], initializer=start)

    def call(self, tokens):
        return tokens + self.embeddings


def network(width=32):
    signal = keras.Input((40, 1))
    tokens = Position()(layers.Conv1D(width, 5, strides=5)(signal))
    normed = layers.LayerNormalization()(tokens)
    tokens = tokens + layers.MultiHeadAttention(4, width // 4)(normed, normed)
    normed = layers.LayerNormalization()(tokens)
    hidden = layers.Dense(2 * width, activation="gelu")(normed)
    tokens = layers.LayerNormalization()(tokens + layers.Dense(width)(hidden))
    return keras.Model(signal, layers.Dense(10)(layers.GlobalAveragePooling1D()(tokens)))


small, large = 25, 400


def adamw(rate, updates):
    """The recipe: warm-up for a twentieth, cosine to zero, weight decay, clipping."""
    warmup = -(-updates // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, updates - warmup, warmup_target=rate, warmup_steps=warmup
    )
    return keras.optimizers.AdamW(schedule, weight_decay=0.1, global_clipnorm=1.0)


def compiled(optimizer):
    model = network()
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def accuracy(model, x, y):
    return 100 * float(np.mean(np.argmax(keras.ops.convert_to_numpy(model(x)), 1) == y))


# %% [markdown]
# We tune the learning rate only at the small batch, with three values, one seed, and the last
# quarter of the training samples held out. The weight decay, the clipping and the number of epochs
# were not tuned.

# %%
rates = (0.002, 0.004, 0.008)  # quick: (0.004,)
held_out = {}
split = len(x) * 3 // 4
for rate in rates:
    keras.utils.set_random_seed(0)
    model = compiled(adamw(rate, epochs * split // small))
    model.fit(x[:split], y[:split], batch_size=small, epochs=epochs, verbose=0)
    held_out[rate] = accuracy(model, x[split:], y[split:])
    print(f"rate {rate:g}: {held_out[rate]:.1f} % of the held-out samples")
rate = max(held_out, key=held_out.get)

# %% [markdown]
# ## The same recipe at 16 times the batch
#
# [`Regime.from_compiled`][keras_bigbatch.schedules.Regime] reads the recipe from a model compiled
# for the small batch. `at` converts it into a plan for another batch size, here with four times the
# epochs (a *stretch* of 4). The table shows how each number changed and why.

# %%
updates = epochs * len(x) // small
model = compiled(adamw(rate, updates))
regime = kbb.Regime.from_compiled(model, batch=small, epochs=epochs, examples=len(x))
plan = regime.at(large, stretch=longer)
print(plan)

# %% [markdown]
# `plan.optimizer()` returns a new AdamW with these numbers. Look at the rows "its time in ...".
# With weight decay, the weights are an average over about the last `1 / (rate * decay)` updates
# (optimizer steps). By default this time covers as many samples as before. But the run now
# processes four times as many samples, so the time is only a quarter as large a fraction of the
# run. `decay="training"` keeps the fraction constant instead:

# %%
same_part = regime.at(large, stretch=longer, decay="training")
for each in (regime.at(small), plan, same_part):
    part = 1 / (rate * each.learning_rate.factor * each.optimizer().weight_decay) / each.updates
    print(f"decay {each.optimizer().weight_decay:.3f}: {part:.2f} trainings")

# %% [markdown]
# With a stretch of 1 the two options are the same.
#
# ## Measured
#
# How much does this help? We compare with a recipe in which only the batch size changed: the same
# AdamW, with a cosine that ends when training does. Each row of the table is one arm (training
# setting).


# %%
def train(make, fit_arguments):
    """Training and test accuracy, and the loss of each epoch, for each seed."""
    model = compiled(make())
    for seed in seeds:
        # One compilation for all seeds: new weights, and an optimizer that starts over.
        keras.utils.set_random_seed(seed)
        model.set_weights(network().get_weights())
        for variable in model.optimizer.variables:
            variable.assign(np.zeros(variable.shape))
        history = model.fit(x, y, verbose=0, **fit_arguments)
        yield accuracy(model, x, y), accuracy(model, test_x, test_y), history.history["loss"]


def measure(name, plan, make):
    """Prints a row of the table, and returns the test accuracies and the mean losses."""
    arguments = {"batch_size": plan.micro_batch, "epochs": plan.epochs}
    training, test, losses = zip(*train(make, arguments), strict=True)
    spread, mean = np.std(test, ddof=1), np.mean(test)
    print(f"{name:<30}{plan.updates:>7}{np.mean(training):>10.1f}{mean:>9.1f} ± {spread:.1f}")
    return test, np.mean(losses, 0)


arms = {f"batch {small}": (regime.at(small), partial(adamw, rate, updates))}
for stretch in (1, longer):
    moved = regime.at(large, stretch=stretch)
    arms[f"batch changed, stretch {stretch}"] = moved, partial(adamw, rate, moved.updates)
    arms[f"adapted, stretch {stretch}"] = moved, moved.optimizer
arms[f"adapted, stretch {longer}, same part"] = same_part, same_part.optimizer

compared = list(arms)  # quick: list(arms)[-1:]
print("                              updates  training     test")
results = {name: measure(name, *arms[name]) for name in compared}

# %% alt="Test accuracy of each arm, mean and each seed: both arms of stretch 1 far below the small batch; at stretch 4 the adapted recipe with the decay as the same part of the training is highest"
figure, ax = plt.subplots(layout="constrained")
for place, (scores, _) in enumerate(results.values()):
    (dot,) = ax.plot(np.mean(scores), place, "o", markersize=8)
    ax.plot(scores, [place] * len(scores), "|", color=dot.get_color(), markersize=12)
ax.set_yticks(range(len(results)), results)
ax.invert_yaxis()
ax.set(xlabel="test accuracy, %: mean, and each seed")
plt.show()

# %% alt="Training loss over the samples processed, on a log axis, for the small batch and the arms of stretch 4: the adapted recipe with the same part ends lowest"
figure, ax = plt.subplots()
styles = {f"batch {small}": ":", "batch changed": "--", "adapted": "-"}
for number, (name, (_, losses)) in enumerate(results.items()):
    if "stretch 1" not in name:
        samples, style = len(x) * np.arange(1, len(losses) + 1), styles[name.partition(",")[0]]
        ax.plot(samples / 1000, losses, style, color=f"C{number}", label=name)
ax.set(xlabel="thousands of samples processed", ylabel="training loss", yscale="log")
ax.legend()
plt.show()

# %% [markdown]
# - **No rule replaces updates.** With a stretch of 1 there are only 150. That is enough to fit
#   about two thirds of the training set, with or without adaptation.
# - **Most of the gain comes from the longer training.** With a stretch of 4, the large batch makes
#   a quarter of the small batch's updates. Even the recipe that was not adapted is then on a par
#   with the small batch. However, it has processed four times as many samples as the small batch.
# - **Adapting the recipe does not always help; it depends on the decay.** With the default option,
#   the adapted recipe ends below the one that was not adapted. If the decay's time stays the same
#   fraction of the run, it ends about three points above it, outside the spread. The two adapted
#   recipes differ only in the decay, 0.4 and 0.1.
#
# This is one small network with three seeds and 1000 test samples, and the decay was not tuned. We
# saw on the test set that the second option does better and did not choose it beforehand, so this
# finding needs to be checked.
#
# ## What to take away
#
# - Compile the model as usual. `from_compiled`, `at` and `plan.optimizer()` do the rest.
# - First check the number of updates. If there are too few, use a larger `stretch`.
# - If you stretch the training, look at the row "its time in trainings", and try both values of
#   `decay`.
#
# ## Next
#
# - [My recipe uses Adam or AdamW](../adamw.md#weight-decay) describes both options for the decay,
#   their sources, and more measurements.
# - [Layer-wise optimizers](layer-wise-optimizers.md) give each layer its own learning rate.
