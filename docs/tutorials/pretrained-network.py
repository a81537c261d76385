# %% [markdown]
# # Converting a pretrained network
#
# A network that exists already has batch norm in it, and weights that were expensive. It can be
# converted without a rewrite: the copy predicts the same, and only *trains* otherwise. This page
# converts one, fine-tunes it at a large batch, and shows what plain batch norm does wrong there.

# %% tags=["notebook"]
# In a notebook of your own: the package comes from a clone, as Getting started says.
# %pip install -q scikit-learn matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"

import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

import keras_bigbatch as kbb

quick = "KBB_QUICK" in os.environ  # our tests run this page in seconds
seeds, epochs, stretch = ([0], 1, 1) if quick else ([0, 1, 2], 10, 4)

# %% [markdown]
# ## Something pretrained, with no download
#
# The digits 0 to 4 of scikit-learn's 8 by 8 pictures stand for the large data set that somebody
# trained on. The digits 5 to 9 are our own task, with 256 pictures kept for testing. (At 90 %, an
# accuracy on 256 pictures has a standard error of about 2 points.)

# %%
x, y = load_digits(return_X_y=True)
x = x.reshape(-1, 8, 8, 1).astype("float32") / 16
first_x, first_y = x[y < 5], y[y < 5]
x, y = x[y >= 5], y[y >= 5] - 5
x, y, test_x, test_y = x[:640], y[:640], x[640:], y[640:]
if quick:
    first_x, first_y, x, y = first_x[:64], first_y[:64], x[:320], y[:320]
print(f"pretraining {len(first_x)}, fine-tuning {len(x)}, test {len(test_x)}")

# %% [markdown]
# The backbone is a Functional model inside another model, as the networks of `keras.applications`
# often are. It is small, since MobileNetV2's 52 batch norms take a while to compile; nothing below
# depends on which network it is.


# %%
def make_backbone():
    # With a download: return keras.applications.MobileNetV2(
    #     input_shape=(96, 96, 3), include_top=False, pooling="avg", weights="imagenet")
    inputs = keras.Input((8, 8, 1))
    stem = layers.Conv2D(32, 3, padding="same", use_bias=False, name="stem_conv")(inputs)
    stem = layers.ReLU()(layers.BatchNormalization(name="stem_norm")(stem))
    block = layers.Conv2D(32, 3, padding="same", use_bias=False, name="block_conv_1")(stem)
    block = layers.ReLU()(layers.BatchNormalization(name="block_norm_1")(block))
    block = layers.Conv2D(32, 3, padding="same", use_bias=False, name="block_conv_2")(block)
    block = layers.BatchNormalization(name="block_norm_2")(block)
    outputs = layers.ReLU()(layers.Add()([stem, block]))
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(outputs), name="backbone")


def with_head(backbone):
    return keras.Sequential([keras.Input((8, 8, 1)), backbone, layers.Dense(5)])


def compile(model, learning_rate):
    model.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )


keras.utils.set_random_seed(0)
pretrained = with_head(make_backbone())
compile(pretrained, 0.1)
log = pretrained.fit(first_x, first_y, batch_size=32, epochs=1 if quick else 20, verbose=0)
print(f"training accuracy on its own digits: {100 * log.history['accuracy'][-1]:.1f} %")
folder = tempfile.TemporaryDirectory()
pretrained.save(f"{folder.name}/pretrained.keras")

# %% [markdown]
# ## Convert
#
# From here on there is only the file. The head is new, and the stem is frozen, as one does with few
# data. [`to_ghost`][keras_bigbatch.layers.to_ghost] then copies the model, nested parts included,
# and leaves the original alone.


# %%
def load():
    # Not compiled: the optimizer and its momenta belong to the training that is over.
    loaded = keras.saving.load_model(f"{folder.name}/pretrained.keras", compile=False)
    backbone = loaded.get_layer("backbone")
    for name in ("stem_conv", "stem_norm"):
        backbone.get_layer(name).trainable = False
    return with_head(backbone)


plain = load()
ghost = kbb.layers.to_ghost(plain, virtual_batch=32)


def predictions(model):
    return keras.ops.convert_to_numpy(model(test_x, training=False))


difference = np.abs(predictions(ghost) - predictions(plain)).max()
print(f"largest difference of a prediction: {difference:.1e}\n")
print("       layer   before               after                   trainable  same weights")
for old, new in zip(
    plain.get_layer("backbone").layers, ghost.get_layer("backbone").layers, strict=True
):
    if old.weights:
        same = all(map(np.array_equal, old.get_weights(), new.get_weights()))
        kinds = f"{type(old).__name__:<20} {type(new).__name__:<24}"
        print(f"{old.name:>12}   {kinds} {new.trainable!s:<9}  {same}")

# %% [markdown]
# The weights of a batch norm are gamma, beta and the *moving* mean and variance, and all four came
# along. Names, regularizers and `trainable` flags do as well. Other layers are copied as they are.
#
# ## A recipe for the large batch
#
# Say that the fine-tuning was tuned at a batch of 32. At 320, with four times the epochs, the plan
# is this.

# %%
regime = kbb.Regime(
    batch=32,
    epochs=epochs,
    examples=len(x),
    learning_rate={0: 0.05, epochs * 3 // 5: 0.005},
)
small = regime.at(32)
large = regime.at(320, stretch=stretch)
print(large)

# %% [markdown]
# Each training starts from the file, and is compiled *after* the conversion: an optimizer belongs to
# the variables that it was built for. The small batch is the reference.


# %%
def fine_tune(plan, convert, seed):
    keras.utils.set_random_seed(seed)
    model = load()  # the seed draws the new head and the order of the pictures
    if convert:
        model = kbb.layers.to_ghost(model, virtual_batch=32)
    compile(model, plan.learning_rate)
    distance = kbb.WeightDistance()
    log = model.fit(
        x,
        y,
        validation_data=(test_x, test_y),
        validation_batch_size=256,
        verbose=0,
        **plan.fit_arguments(x, callbacks=[distance]),
    )
    return model, log.history, distance.history


runs = {"32, plain": [fine_tune(small, False, seed) for seed in seeds]}

# %% [markdown]
# The large batch, first with the network as it came, then with the converted one:

# %%
runs["320, plain"] = [fine_tune(large, False, seed) for seed in seeds]

# %%
runs["320, ghost"] = [fine_tune(large, True, seed) for seed in seeds]


def row(name, *columns):
    spread = np.std(columns[-1], ddof=1) if len(seeds) > 1 else 0
    numbers = " ".join(f"{np.mean(column):>9.2f}" for column in columns[:-1])
    print(f"{name:>22} {numbers} {np.mean(columns[-1]):>7.1f} ± {spread:.1f}")


print(f"{'batch, norm':>22}  distance  training    test")
for name, results in runs.items():
    distances = [distance["distance"][-1] for _, _, distance in results]
    training = [100 * log["accuracy"][-1] for _, log, _ in results]
    row(name, distances, training, [100 * log["val_accuracy"][-1] for _, log, _ in results])

# %% alt="Left: test accuracy over epochs at batch 320; ghost batch norm rises, plain batch norm stays far below. Right: the weight distance over updates, where both curves are the same"
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for name, style, color in (("320, plain", "--", "C0"), ("320, ghost", "-", "C1")):
    for place, (_, log, distance) in enumerate(runs[name]):
        label = name if place == 0 else None
        accuracy = 100 * np.array(log["val_accuracy"])
        epochs = range(1, len(accuracy) + 1)
        left.plot(epochs, accuracy, style, color=color, label=label)
        right.plot(distance["update"], distance["distance"], style, color=color, label=label)
left.set(xlabel="epoch of fine-tuning", ylabel="test accuracy, %")
right.set(xlabel="update", ylabel="distance of the weights from their start", xscale="log")
left.legend(title="batch, norm", frameon=False)
plt.show()

# %% [markdown]
# ## It is not the weights
#
# The two large-batch runs go equally far and fit the training set equally well. What differs is what
# inference uses: the moving statistics. Keras's batch norm moves them once an update, with a
# momentum of $\mu = 0.99$. Ghost batch norm moves them once a *group*, so with $K$ groups in a batch
#
# $$m \leftarrow \mu^{K} m + (1 - \mu) \sum_{l=1}^{K} \mu^{K-l} m_l .$$
#
# After $T$ updates, the share of the moving mean that is still that of the digits 0 to 4 is
# $\mu^{KT}$.

# %%
for name, (plan, groups) in {
    "32, plain": (small, 1),
    "320, plain": (large, 1),
    "320, ghost": (large, 320 // 32),
}.items():
    print(
        f"{name:>12}: {plan.updates} updates, old share {100 * 0.99 ** (groups * plan.updates):.1f} %"
    )

# %% [markdown]
# If that is the reason, the weights of the plain run must do well as soon as the statistics are
# those of the new data. One pass over the training set at a momentum of 0 sets them. The frozen
# `stem_norm` is left out: its statistics are frozen as well, and its input is what it was made for.

# %%
renewed = []
for model, _, _ in runs["320, plain"]:
    for layer in model.get_layer("backbone").layers:
        if isinstance(layer, layers.BatchNormalization) and layer.trainable:
            layer.momentum = 0.0
    model(x, training=True)
    renewed.append(100 * np.mean(predictions(model).argmax(-1) == test_y))
row("320, plain, renewed", renewed)

# %% [markdown]
# ## Save, load, and back
#
# The converted model is saved as any other. A script that loads it has to import `keras_bigbatch`
# first, so that Keras knows the layer and the schedule. [`to_plain`][keras_bigbatch.layers.to_plain]
# gives a model for a place where this package is not installed.

# %%
model = runs["320, ghost"][0][0]
model.save(f"{folder.name}/tuned.keras")
loaded = keras.saving.load_model(f"{folder.name}/tuned.keras")
back = kbb.layers.to_plain(loaded)

print("updates in the loaded optimizer:", int(loaded.optimizer.iterations))
print("norm of `back`:", type(back.get_layer("backbone").get_layer("stem_norm")).__name__)
for name, other in (("loaded", loaded), ("back", back)):
    difference = np.abs(predictions(other) - predictions(model)).max()
    print(f"{name}: largest difference of a prediction {difference:.1e}")
stem = model.get_layer("backbone").get_layer("stem_norm").get_weights()
stem_before = plain.get_layer("backbone").get_layer("stem_norm").get_weights()
print("the frozen layer is what it was:", all(map(np.array_equal, stem, stem_before)))
folder.cleanup()

# %% [markdown]
# ## What to take away
#
# - Convert, then freeze or unfreeze, then compile. The copy predicts the same until it is trained.
# - A short training at a large batch may leave batch norm's moving statistics behind. Before anything
#   else is blamed for a low test accuracy, renew them and look again.
# - So ghost batch norm's gain on this page is not that of noisy statistics. With its statistics
#   renewed the plain network is within a point, and three seeds on 256 pictures do not tell the two
#   apart. A lower `momentum` would have done as well.
#
# [Getting started](../getting-started.md) has the conversion in short,
# [GhostBatchNormalization][keras_bigbatch.layers.GhostBatchNormalization] what it does with its
# moving statistics, and [to_ghost][keras_bigbatch.layers.to_ghost] what it converts and what it
# refuses. Next: [on many devices](many-devices.md).
