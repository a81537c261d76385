# %% [markdown]
# # On many devices
#
# A large batch is mostly there to be shared by devices. Each takes a part of it, and the gradients
# are averaged. This page shows why batch norm makes the result depend on the number of devices, why
# ghost batch norm need not, and checks it on devices that any computer can pretend to have.

# %% tags=["notebook"]
# In a notebook of your own: the package comes from a clone, as Getting started says.
# %pip install -q scikit-learn matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"
flags = os.environ.get("XLA_FLAGS", "")
# JAX reads this when it makes its first array, not later. Of two such flags the last one holds.
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=4 {flags}"

import contextlib
import textwrap
import warnings

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

import keras_bigbatch as kbb

quick = "KBB_QUICK" in os.environ  # our tests run this page in seconds
batch, part = 256, 64  # of all devices together, and of one of four

# %% [markdown]
# ## Four devices on one CPU
#
# JAX and TensorFlow can split a CPU into several devices. They are no faster than one, but the
# arithmetic is that of four GPUs: each has its own part of the batch. Both have to be told before
# they start. torch has one process for each device instead, so here it has one; more about that
# below.

# %%
backend = keras.backend.backend()
if backend == "jax":
    devices = keras.distribution.list_devices()
elif backend == "tensorflow":
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # it runs already: take what there is
        cpu = tf.config.list_physical_devices("CPU")[0]
        four = [tf.config.LogicalDeviceConfiguration()] * 4
        tf.config.set_logical_device_configuration(cpu, four)
    logical = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    devices = [device.name for device in logical]
else:
    devices = ["this process"]
devices = devices[:4] if len(devices) >= 4 else devices[:1]
if backend == "tensorflow":
    # One for the whole page: with a new one for each training, their all-reduces got mixed up.
    strategy = tf.distribute.MirroredStrategy(devices)
print(backend, devices)


def sharing():
    """A scope in which a model is made and trained on all devices."""
    if backend == "jax":
        return keras.distribution.DataParallel(devices=devices).scope()
    if backend == "tensorflow":
        return strategy.scope()
    return contextlib.nullcontext()


# %% [markdown]
# ## What averaging needs
#
# With a batch of $B$ samples on $D$ devices, the average of the devices' gradients is
#
# $$\frac{1}{D} \sum_{d=1}^{D} \frac{D}{B} \sum_{i \in d} g_i = \frac{1}{B} \sum_{i=1}^{B} g_i ,$$
#
# the gradient of the whole batch, if a sample's gradient $g_i$ is the same wherever it is computed.
# Batch norm breaks that: in training, $g_i$ depends on all samples that share statistics with $i$.
# On a device of 64 they are 64, on a single one they are 256. In ghost batch norm they are the
# sample's ghost batch. As long as no ghost batch crosses from one device to the next, nothing
# changes.

# %% alt="Two rows of blocks over the samples of a batch. Ghost batches of 32 end where the four devices' parts end; ghost batches of 48 cross the borders between devices"
figure, axes = plt.subplots(figsize=(9, 2.2), layout="constrained")
for row, size in enumerate((32, 48)):
    starts = range(0, batch - size + 1, size)
    for number, start in enumerate(starts):
        end = batch if start == starts[-1] else start + size  # the tail joins the last group
        hatch = ("", "///")[number % 2]
        axes.broken_barh(
            [(start, end - start)], (row - 0.3, 0.6), fc="C1", alpha=0.6, hatch=hatch, ec="black"
        )
for border in range(0, batch + 1, part):
    axes.axvline(border, color="C0", linestyle="--", linewidth=2)
axes.set(
    yticks=(0, 1),
    yticklabels=("ghost batches of 32", "ghost batches of 48"),
    xticks=range(0, batch + 1, part),
    xlabel="sample of the global batch; dashed: the borders between four devices",
    xlim=(-4, batch + 4),
)
plt.show()

# %% [markdown]
# ## By hand, in one process
#
# No device is needed to see this. One update of plain SGD for each part, each from the same start,
# and then the average of the four results: that is what a data-parallel step does. It is compared
# with one update of the whole batch.

# %%
x, y = load_digits(return_X_y=True)
x = x.astype("float32") / 16
x, y, test_x, test_y = x[:1536], y[:1536], x[1536:1792], y[1536:1792]
if quick:
    x, y = x[:512], y[:512]

norms = {
    "ghost 32": lambda: kbb.GhostBatchNormalization(virtual_batch=32, momentum=0.9),
    "ghost 48": lambda: kbb.GhostBatchNormalization(virtual_batch=48, momentum=0.9),
    "Keras's": lambda: layers.BatchNormalization(momentum=0.9),
}


def make(norm, optimizer):
    model = keras.Sequential([keras.Input((64,))])
    for _ in range(1 if quick else 2):
        model.add(layers.Dense(64, use_bias=False))
        model.add(norm())
        model.add(layers.ReLU())
    model.add(layers.Dense(10))
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def flat(variables):
    return np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in variables])


def one_update(model, start, size):
    """The trainable weights after one update of each part of the batch, averaged."""
    ends = []
    for first in range(0, batch, size):
        model.set_weights(start)
        model.train_on_batch(x[first : first + size], y[first : first + size])
        ends.append(flat(model.trainable_variables))
    return np.mean(ends, axis=0)


print("    norm   |update of four parts - update of the batch| / |update of the batch|")
for name, norm in norms.items():
    keras.utils.set_random_seed(0)
    model = make(norm, keras.optimizers.SGD(0.1))
    start, origin = model.get_weights(), flat(model.trainable_variables)
    whole, parts = one_update(model, start, batch), one_update(model, start, part)
    relative = np.linalg.norm(parts - whole) / np.linalg.norm(whole - origin)
    print(f"{name:>8}   {relative:.1e}")

# %% [markdown]
# With 32, which divides the 64 of a device, the two updates are the same up to rounding. With 48, a
# device cuts its own 64 otherwise than one device cuts 256; and Keras's batch norm normalizes 64
# samples instead of 256. Those updates are different ones. They need not be *worse*: per-device
# batch norm is ghost batch norm by accident, with a size that the number of devices chose.
#
# ## The plan is for the global batch
#
# The recipe, too, must not know the number of devices. `Regime.at` takes the samples of one update,
# all devices together, and `fit` takes the same number on JAX and TensorFlow.

# %%
epochs = 1 if quick else 10
regime = kbb.Regime(batch=32, epochs=epochs, examples=len(x), learning_rate=0.05)
plan = regime.at(batch, stretch=1)

print(f"global batch {plan.batch}, {plan.updates} updates")
print("devices  samples on each  ghost batches of 32 on each  in all")
for count in (1, 2, 4, 8):
    own = plan.batch // count
    print(f"{count:>7} {own:>16} {own // 32:>28} {count * own // 32:>7}")

# %% [markdown]
# ## One device against four
#
# Now with the engine itself: `keras.distribution.DataParallel` on JAX, `MirroredStrategy` on
# TensorFlow. The model is made, compiled and trained in the scope; nothing else changes. After each
# epoch all weights, moving statistics included, are compared with those of one device.


# %%
def train(norm, scope, order=slice(None)):
    keras.utils.set_random_seed(0)
    history = []
    with scope:
        model = make(norm, keras.optimizers.SGD(plan.learning_rate, momentum=0.9))
        record = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_: history.append(flat(model.weights))
        )
        distance = kbb.WeightDistance()
        model.fit(
            x[order],
            y[order],
            shuffle=False,
            verbose=0,
            **plan.fit_arguments(x, callbacks=[record, distance]),
        )
        outputs = keras.ops.convert_to_numpy(model(test_x, training=False))
    accuracy = 100 * np.mean(outputs.argmax(-1) == test_y)
    return np.array(history), distance.history["distance"][-1], accuracy


apart, alone = {}, {}
print(f"one device against {len(devices)}")
print("    norm   largest difference   weight distance      test accuracy, %")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name, norm in norms.items():
        one, many = train(norm, contextlib.nullcontext()), train(norm, sharing())
        alone[name] = one[0]
        apart[name] = np.abs(many[0] - one[0]).max(axis=1)
        print(
            f"{name:>8}   {apart[name][-1]:>18.1e}   {one[1]:.5f}  {many[1]:.5f}"
            f"   {one[2]:.1f}  {many[2]:.1f}"
        )

# %% [markdown]
# As a scale: ghost batches of 32 on one device again, with the samples in another order.

# %%
order = np.random.default_rng(0).permutation(len(x))
other = train(norms["ghost 32"], contextlib.nullcontext(), order)
apart["another order"] = np.abs(other[0] - alone["ghost 32"]).max(axis=1)

# %% alt="Largest difference of any weight from the one-device training over epochs, on a log axis: on JAX all three norms stay at rounding, several orders of magnitude below a training with the samples in another order"
figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
for (name, differences), style in zip(apart.items(), ("o-", "s--", "^:", "k-."), strict=True):
    epoch = range(1, len(differences) + 1)
    axes.plot(epoch, np.maximum(differences, 1e-9), style, label=name)  # 0 has no logarithm
axes.set(yscale="log", xlabel="epoch", ylabel="largest difference of a weight")
axes.legend(frameon=False, ncols=2)
plt.show()

# %% [markdown]
# On JAX the program is one, and every layer sees the global batch: XLA cuts the arithmetic, and the
# result is the one device's, up to rounding, whatever the norm. What a bad size costs there is
# communication, and the layer says so, once in a process.

# %%
for warning in caught:
    if "Ghost batches" in str(warning.message):
        print(textwrap.fill(str(warning.message), 92))

# %% [markdown]
# On TensorFlow and torch a layer sees its own device's part. There only the first row of the table
# stays at rounding, and Keras's batch norm also keeps separate moving statistics on each replica.
# Ghost batch norm exchanges one small row a layer and step, so that its moving statistics are one
# device's too.
#
# ## torch
#
# `DistributedDataParallel` (DDP) is one process for each device, started by `torchrun`, so a page
# in one process cannot run it. (On torch, the comparison above is of one process with itself.) What
# the processes do together is the average by hand from above: each calls `fit` with
# `batch_size=plan.batch // devices` on its own samples. Keras's `fit` does not go through DDP by
# itself; the repository's `examples/distributed/torch_ddp.py` is complete, and runs on a CPU as
# well:
#
# ```sh
# torchrun --nproc-per-node 4 examples/distributed/torch_ddp.py
# ```
#
# ## Put things back
#
# A notebook goes on after this page. The scopes have ended with their `with`; these lines make sure
# of it, and take the flag from processes that are started later.

# %%
keras.distribution.set_distribution(None)
os.environ["XLA_FLAGS"] = flags
print("distribution:", keras.distribution.distribution())

# %% [markdown]
# ## What to take away
#
# - Let `virtual_batch` divide the samples of one device. Then the number of devices is a matter of
#   speed, and of nothing else.
# - Plan for the global batch. Only torch wants the batch of one device, in `fit` and nowhere else.
# - Plain batch norm means a different thing on each engine: the global batch on JAX, a device's part
#   on TensorFlow and torch.
#
# All of this ran on CPUs. [On many devices](../many-devices.md) says what was tested and how, what
# Keras cannot do under each engine, and has the scripts for several processes. This is the last
# tutorial; the [method cards](../methods/index.md) have what the tutorials left out. API:
# [`GhostBatchNormalization`][keras_bigbatch.layers.GhostBatchNormalization],
# [`average_statistics`][keras_bigbatch.distribution.average_statistics].
