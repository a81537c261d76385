# %% [markdown]
# # Many devices, simulated
#
# **If the ghost batches fit into each device's share of the batch, four devices make the same
# update as one, up to rounding. With Keras's batch norm, the averaged update of four shares differs
# by about 16 %.**
#
# Large batches are usually split over several devices. Each device computes the gradient of its
# part, and the gradients are averaged. With batch norm, the result then depends on the number of
# devices. Ghost batch norm normalizes small groups of samples (*ghost batches*) separately, and
# this page shows how it avoids the problem. It uses four simulated devices, which any computer can
# run.

# %% tags=["notebook"]
# In a notebook of your own, install the package from a clone, as Getting started says.
# %pip install -q scikit-learn matplotlib

# %%
import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # or "tensorflow", or "torch"
flags = os.environ.get("XLA_FLAGS", "")
# JAX reads this when it makes its first array. If a flag is there twice, the last one holds.
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=4 {flags}"

import contextlib
import textwrap
import warnings
from functools import partial

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

import keras_bigbatch as kbb

batch, part = 256, 64  # of all devices together, and of one of four
samples, epochs, depth = 1536, 10, 2  # quick: 512, 1, 1

# %% [markdown]
# ## Four devices on one CPU
#
# JAX and TensorFlow can split a CPU into several devices, if you request this before they start.
# The work is divided as on four GPUs: each device has its own part of the batch. On torch each
# device needs its own process, so this page uses only one device there.

# %%
backend = keras.backend.backend()
if backend == "jax":
    devices = keras.distribution.list_devices()
elif backend == "tensorflow":
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # it runs already: take what there is
        four = [tf.config.LogicalDeviceConfiguration()] * 4
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], four)
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
# which is the gradient of the whole batch if a sample's gradient $g_i$ does not depend on where it
# is computed. Batch norm breaks this assumption: in training, $g_i$ depends on all samples that are
# normalized together with sample $i$. These are 64 samples on each of four devices, but 256 on a
# single device. With ghost batch norm, they are the samples of one ghost batch. As long as no ghost
# batch is split between two devices, the number of devices makes no difference.

# %% alt="Two rows of blocks over the samples of a batch. Ghost batches of 32 end where the four devices' parts end; ghost batches of 48 cross the borders between devices"
figure, ax = plt.subplots()
for row, size in enumerate((32, 48)):
    for number, start in enumerate(starts := range(0, batch - size + 1, size)):
        end = batch if start == starts[-1] else start + size  # the tail joins the last group
        look = {"fc": "C1", "alpha": 0.6, "hatch": ("", "///")[number % 2], "ec": "C0"}
        ax.broken_barh([(start, end - start)], (row - 0.3, 0.6), **look)
borders = range(0, batch + 1, part)
for border in borders:
    ax.axvline(border, color="C2", linestyle="--", linewidth=2)
ax.set(yticks=(0, 1), yticklabels=("ghosts\nof 32", "ghosts\nof 48"), xticks=borders)
ax.set_xlabel("sample of the global batch; dashed: borders of devices")
plt.show()

# %% [markdown]
# ## By hand, in one process
#
# You can see this without several devices. Start from the same weights and make one update of plain
# SGD (one optimizer step) for each part of the batch. Average the results, as a data-parallel step
# does, and compare with one update for the whole batch.

# %%
x, y = load_digits(return_X_y=True)
x = x.astype("float32") / 16
test_x, test_y = x[1536:1792], y[1536:1792]
x, y = x[:samples], y[:samples]

norms = {
    "ghost 32": partial(kbb.GhostBatchNormalization, virtual_batch=32, momentum=0.9),
    "ghost 48": partial(kbb.GhostBatchNormalization, virtual_batch=48, momentum=0.9),
    "Keras's": partial(layers.BatchNormalization, momentum=0.9),
}


def make(norm, optimizer):
    model = keras.Sequential([keras.Input((64,))])
    for _ in range(depth):
        model.add(layers.Dense(64, use_bias=False))
        model.add(norm())
        model.add(layers.ReLU())
    model.add(layers.Dense(10))
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def flat(weights):
    return np.concatenate([keras.ops.convert_to_numpy(each).ravel() for each in weights])


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
# With ghost batches of 32, which divide the 64 samples of a device, the two updates are the same up
# to rounding. With 48, the groups in the four parts are not those of the whole batch, so the
# updates differ. They also differ with Keras's batch norm, which normalizes 64 samples at a time
# instead of 256. A different update is not necessarily *worse*: batch norm on each device is in
# effect ghost batch norm, with a group size that depends on the number of devices.
#
# ## Plan for the global batch
#
# The training schedule should not depend on the number of devices either. A `Regime` describes the
# schedule, and `Regime.at` converts it into a plan for another batch size. This is the global batch
# size: the number of samples in one update on all devices together. On JAX and TensorFlow, `fit`
# takes the same number.

# %%
regime = kbb.Regime(batch=32, epochs=epochs, examples=len(x), learning_rate=0.05)
plan = regime.at(batch, stretch=1)
print(f"global batch {plan.batch}, {plan.updates} updates")

# %% [markdown]
# ## One device against four
#
# Now train on one device and on four. Use `keras.distribution.DataParallel` on JAX and
# `MirroredStrategy` on TensorFlow, and create, compile and train the model inside the scope. All
# weights and moving statistics are compared with those of one device after each epoch.


# %%
def train(norm, scope, order=slice(None)):
    """All weights after each epoch, and the test accuracy in percent."""
    keras.utils.set_random_seed(0)
    history = []
    with scope:
        model = make(norm, keras.optimizers.SGD(plan.learning_rate, momentum=0.9))
        record = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda *_: history.append(flat(model.weights))
        )
        planned = plan.fit_arguments(x, callbacks=[record])
        model.fit(x[order], y[order], shuffle=False, verbose=0, **planned)
        outputs = keras.ops.convert_to_numpy(model(test_x, training=False))
    accuracy = 100 * np.mean(outputs.argmax(-1) == test_y)
    return np.array(history), accuracy


apart, alone = {}, {}
print(f"one device against {len(devices)}")
print("    norm   largest difference   test accuracy, %")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name, norm in norms.items():
        one, many = train(norm, contextlib.nullcontext()), train(norm, sharing())
        alone[name] = one[0]
        apart[name] = np.abs(many[0] - one[0]).max(axis=1)
        print(f"{name:>8} {apart[name][-1]:>20.1e} {one[1]:>9.1f} {many[1]:>8.1f}")

# For scale: ghost batches of 32 on one device again, with the samples in another order.
order = np.random.default_rng(0).permutation(len(x))
other = train(norms["ghost 32"], contextlib.nullcontext(), order)
apart["another order"] = np.abs(other[0] - alone["ghost 32"]).max(axis=1)

# %% alt="Largest difference of any weight from the one-device training over epochs, on a log axis: on JAX all three norms stay at rounding, several orders of magnitude below a training with the samples in another order"
figure, ax = plt.subplots()
for (name, differences), style in zip(apart.items(), ("o-", "s--", "^:", "-."), strict=True):
    differences = np.maximum(differences, 1e-9)  # 0 has no logarithm
    ax.plot(range(1, len(differences) + 1), differences, style, label=name)
ax.set(yscale="log", xlabel="epoch", ylabel="largest difference of a weight", ylim=(1e-9, 100))
ax.legend(ncols=2, loc="upper center")
plt.show()

# %% [markdown]
# JAX runs a single program in which every layer sees the global batch. XLA divides the work, and
# with all three norms the result is the same as on one device, up to rounding. On JAX, a ghost
# batch size that does not fit only costs communication. The layer warns about this once per
# process:

# %%
for warning in caught:
    if "Ghost batches" in str(warning.message):
        print(textwrap.fill(str(warning.message), 92))

# %% [markdown]
# On TensorFlow and torch a layer sees only its own device's part of the batch. There, only ghost
# batches of 32 give the same result as one device, up to rounding. Keras's batch norm also keeps
# separate moving statistics on each replica. Ghost batch norm exchanges one small vector per layer
# and step, so its moving statistics are also the same as on one device.
#
# torch's `DistributedDataParallel` uses one process per device, started by `torchrun`, so this page
# cannot run it. (On torch, the code above compares one process with itself.) Each process calls
# `fit` on its own samples, with `batch_size=plan.batch // devices`. Keras's `fit` does not support
# this without extra code: `examples/distributed/torch_ddp.py` in the repository is a complete
# example, which also runs on a CPU.
#
# If you continue in the same notebook, reset the distribution and the flag:

# %%
keras.distribution.set_distribution(None)
os.environ["XLA_FLAGS"] = flags

# %% [markdown]
# ## What to take away
#
# - Choose a `virtual_batch` that divides the number of samples on one device. Then the number of
#   devices affects only the speed.
# - Plan for the global batch size. Only `fit` on torch needs the batch size of one device.
# - Plain batch norm normalizes over the global batch on JAX, but over one device's part on
#   TensorFlow and torch.
#
# ## Next
#
# - All of this ran on CPUs. [On many devices](../many-devices.md) describes what was tested and
#   how, what Keras cannot do with each engine, and the scripts for several processes.
# - The [method pages](../methods/index.md) describe the other methods.
