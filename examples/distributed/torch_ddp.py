r"""torch's DistributedDataParallel, with Keras's `fit` around it.

On this machine's CPU, in two processes:  python torch_ddp.py
On a machine with 8 GPUs:                 torchrun --nproc-per-node 8 torch_ddp.py
On 2 such machines, on each of them:      torchrun --nnodes 2 --nproc-per-node 8 \
    --rdzv-backend c10d --rdzv-endpoint FIRST_HOST:29500 torch_ddp.py

Wrapping a Keras model in DDP does not make `fit` synchronize gradients: `fit` calls the model, not
the wrapper. `ReplicatedModel` overrides the one method in which that matters.
"""

import argparse
import gc
import os
import subprocess
import sys

os.environ["KERAS_BACKEND"] = "torch"


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=2, help="without torchrun (default: 2)")
    parser.add_argument("--epochs", type=int, default=8)
    return parser.parse_args()


if __name__ == "__main__" and "RANK" not in os.environ:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    sys.exit(subprocess.call([*torchrun, str(arguments().processes), *sys.argv]))

import keras
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

import keras_bigbatch as kbb
from keras_bigbatch.distribution import average_statistics


# --8<-- [start:model]
class ReplicatedModel(keras.Model):
    """A model whose training step goes through DDP, so that `fit` synchronizes gradients."""

    def replicate(self):
        """Wraps the built model. DDP copies the first rank's weights to all ranks."""
        wrapper = DistributedDataParallel(self)
        # Behind a function, because as an attribute the wrapper would become part of the model.
        self._replica = lambda *args, **kwargs: wrapper(*args, **kwargs)

    def train_step(self, data):
        """Keras's step on torch, with the wrapper's forward pass in place of the model's."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.zero_grad()
        outputs = self._replica(x, training=True)
        loss = self.compute_loss(x, y, outputs, sample_weight, training=True)
        self.optimizer.scale_loss(loss).backward()
        weights = self.trainable_weights
        with torch.no_grad():
            self.optimizer.apply([weight.value.grad for weight in weights], weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss.detach(), sample_weight=len(x))
        return self.compute_metrics(x, y, outputs, sample_weight)


# --8<-- [end:model]
def train(epochs):
    """Trains on this rank's part of every batch."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    keras.utils.set_random_seed(0)  # the same initial weights and order on all ranks

    x, y = load_digits(return_X_y=True)
    x, y = x.reshape(-1, 8, 8, 1).astype("float32") / 16, y.astype("int64")
    x, y, test_x, test_y = x[:1536], y[:1536], x[1536:], y[1536:]
    # One plan for the global batch: rates and updates are for all ranks together.
    regime = kbb.Regime(batch=32, epochs=epochs, examples=1536, learning_rate=0.05)
    plan = regime.at(batch=256, stretch=1)
    local = plan.batch // ranks  # each rank's part; for data sets, use torch's DistributedSampler
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
    # For batch norms that do not exchange statistics. With ghost batch norm, it changes nothing.
    average = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: average_statistics(model))
    distance = kbb.WeightDistance()
    fit = {"batch_size": local, "epochs": plan.epochs, "shuffle": False, "verbose": 0}
    model.fit(x[own], y[own], callbacks=[plan.callback(), average, distance], **fit)
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
    # Until it is collected, a model holds the process group, whose threads may abort the exit.
    gc.collect()
    distributed.destroy_process_group()
