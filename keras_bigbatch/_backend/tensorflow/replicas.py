"""The replicas of a `tf.distribute` strategy, seen from the one that runs."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_bigbatch._typing import Tensor


def replicas() -> int:
    """How many replicas run this step on parts of one batch; 1 outside `strategy.run`."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def parts_of_a_batch(model: keras.Model | None) -> int:
    """The replicas of the strategy that the model was made in."""
    strategy = tf.distribute.get_strategy() if model is None else model.distribute_strategy
    return int(strategy.num_replicas_in_sync)


def processes() -> int:
    """1: Keras's `fit` fails under the strategies of several workers."""
    return 1


def rank_and_count() -> tuple[Tensor, int]:
    """This replica's index and the number of replicas, whose random states are the same."""
    context = tf.distribute.get_replica_context()
    return (0, 1) if context is None else (context.replica_id_in_sync_group, replicas())


def gather_rows(row: Tensor) -> Tensor:
    """The replicas' rows in their order: [n] to [replicas, n], the same on each of them.

    A sum of rows that are zero elsewhere, and not `all_gather`: every strategy has a fast
    all-reduce, and its shape is static for XLA whatever the replicas' batches are.
    """
    context = tf.distribute.get_replica_context()
    own = tf.one_hot(
        context.replica_id_in_sync_group, context.num_replicas_in_sync, dtype=row.dtype
    )
    return context.all_reduce(tf.distribute.ReduceOp.SUM, own[:, None] * row[None])


def on_all_devices(tensor: Tensor) -> Tensor:
    """The tensor: a replica's are its own."""
    return tensor


def shared_out(batch: Tensor) -> Tensor:
    """The batch: each replica runs its own program."""
    return batch


def average_variables(variables: Sequence[keras.Variable]) -> None:
    """Gives each variable the mean of the replicas' own values, outside `strategy.run`."""
    values = [variable.value for variable in variables]
    if not any(isinstance(value, tf.distribute.DistributedValues) for value in values):
        return
    strategy = values[0].distribute_strategy
    with strategy.scope():
        own = strategy.run(_read, (values,))
        for variable, value in zip(variables, own, strict=True):
            variable.assign(strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None))


def _read(values: Sequence[Tensor]) -> list[Tensor]:
    return [tf.identity(value) for value in values]
