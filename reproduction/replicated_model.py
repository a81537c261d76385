"""A Keras model that trains through DistributedDataParallel: as in examples/distributed."""

import gc

import keras
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel


class ReplicatedModel(keras.Model):
    """A model whose training step goes through DDP, so that `fit` synchronizes gradients."""

    def replicate(self):
        """Wraps the built model. DDP copies the first rank's weights to all ranks."""
        wrapper = DistributedDataParallel(self)
        # Behind a function: as an attribute the wrapper would become a part of the model.
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


def leave_group():
    """Ends the process group and its threads, which otherwise may abort the process's exit.

    A model that still waits for the collector holds the group, and would keep them.
    """
    gc.collect()
    distributed.destroy_process_group()
