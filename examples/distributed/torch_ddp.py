r"""torch's DistributedDataParallel, with Keras's `fit` around it.

On this machine's CPU, in two processes:  python examples/distributed/torch_ddp.py
On a machine with 8 GPUs:                 torchrun --nproc-per-node 8 \
    examples/distributed/torch_ddp.py
On 2 such machines, on each of them:      torchrun --nnodes 2 --nproc-per-node 8 \
    --rdzv-backend c10d --rdzv-endpoint FIRST_HOST:29500 examples/distributed/torch_ddp.py

Wrapping a Keras model in DDP does not make `fit` synchronize gradients: `fit` calls the model, not
the wrapper. `ReplicatedModel` overrides the one method in which that matters.
"""

# ruff: noqa: E402 (Keras reads its backend when it is imported, and a launcher needs no Keras)

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2, help="without torchrun (default: 2)")
    parser.add_argument("--epochs", type=int, default=8)
    return parser.parse_args()


if __name__ == "__main__" and "RANK" not in os.environ:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    processes = ["--nproc-per-node", str(arguments().processes)]
    sys.exit(subprocess.call([*torchrun, *processes, *sys.argv]))

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for what the examples share

import keras
import numpy as np
import torch
from _replicated_model import ReplicatedModel, leave_group
from sklearn.datasets import load_digits
from torch import distributed

import keras_bigbatch as kbb


def train(epochs):
    """Trains on this rank's part of every batch."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    keras.utils.set_random_seed(0)  # the same initial weights and order everywhere

    x, y = load_digits(return_X_y=True)
    x, y = x.reshape(-1, 8, 8, 1).astype("float32") / 16, y.astype("int64")
    x, y, test_x, test_y = x[:1536], y[:1536], x[1536:], y[1536:]
    # One plan for the global batch: the rates and updates are those of all ranks together.
    regime = kbb.Regime(batch=32, epochs=epochs, examples=1536, learning_rate=0.05)
    plan = regime.at(batch=256, stretch=1)
    # Each rank takes its part of every global batch: what torch's DistributedSampler is for.
    local = plan.batch // ranks
    own = np.arange(1536).reshape(-1, ranks, local)[:, rank].ravel()

    inputs = outputs = keras.Input((8, 8, 1))
    for _ in range(2):
        outputs = keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(outputs)
        outputs = kbb.GhostBatchNormalization(virtual_batch=32, momentum=0.9)(outputs)
        outputs = keras.layers.ReLU()(outputs)
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(outputs))
    model = ReplicatedModel(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(plan.learning_rate, momentum=0.9)
    model.compile(sgd, loss, metrics=["accuracy"])
    model.replicate()

    def average(*_):
        kbb.distribution.average_statistics(model)

    # For batch norms that do not exchange anything; with ghost batch norm it changes nothing.
    averaging = keras.callbacks.LambdaCallback(on_test_begin=average, on_epoch_end=average)
    distance = kbb.WeightDistance()
    fit = {"batch_size": local, "epochs": plan.epochs, "shuffle": False, "verbose": 0}
    model.fit(x[own], y[own], callbacks=[averaging, distance], **fit)

    flat = torch.cat([v.value.detach().reshape(-1) for v in model.variables]).cpu()
    everyone = [None] * ranks
    distributed.all_gather_object(everyone, flat)
    if rank == 0:
        apart = max(float((flat - other).abs().max()) for other in everyone)
        print(f"{ranks} ranks, global batch {plan.batch}, {plan.updates} updates")
        print(f"weight_distance: {distance.history['distance'][-1]:.6f}")
        print(f"largest difference between ranks: {apart:.1e}")
        print(f"test accuracy: {model.evaluate(test_x, test_y, verbose=0)[1]:.4f}")


if __name__ == "__main__":
    train(arguments().epochs)
    distributed.barrier()
    leave_group()
