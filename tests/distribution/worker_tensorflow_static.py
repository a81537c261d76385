"""Stand-ins for a TPU: static shapes under XLA, and the operations of a graph built for a TPU."""

import re
from types import SimpleNamespace

import tensorflow as tf

from keras_bigbatch import _backend
from tests.distribution import cases

# Operations that run on a host only: Python, files, strings, printing, sparse and ragged output.
HOST_ONLY = re.compile(
    r"^(EagerPyFunc|PyFunc.*|Print.*|.*Dataset.*|.*File.*|String.*|Unique.*|Where|Sparse(?!Softmax).*|Ragged.*"
    r"|DynamicPartition|NonMaxSuppression.*|LookupTable.*)$"
)
# A dynamic dimension, as in f32[<=64,6].
DYNAMIC = re.compile(r"\[[^\]]*<=")


def arguments():
    x, y = cases.images(32)
    return tf.constant(x), tf.constant(y)


def training(mode="sequential", virtual_batch=6):
    """Keras's own training step, on groups of 6 and a tail."""
    model = cases.compiled(cases.conv_model(mode, virtual_batch))
    model.optimizer.build(model.trainable_variables)
    x, y = arguments()
    model.train_on_batch(x.numpy(), y.numpy())  # makes the metrics' variables
    return lambda x, y: model.train_step((x, y))["loss"]


def masked(x, y):
    return tf.reduce_sum(tf.boolean_mask(x, x > 0)) + tf.cast(tf.reduce_sum(y), tf.float32)


def on_the_host(x, y):
    return tf.py_function(lambda a: a, [tf.reduce_sum(x)], tf.float32)


def dynamic_dimensions(step):
    """The dimensions of the optimized HLO that depend on data, and its length."""
    function = tf.function(step, jit_compile=True)
    text = function.experimental_get_compiler_ir(*arguments())(stage="hlo")
    return [len(DYNAMIC.findall(text)), len(text.splitlines())]


def tpu_graph(step, replicas=1):
    """What a TPU would refuse in the graph of a step: operations and unknown shapes."""

    @tf.function
    def outer(x, y):
        if replicas == 1:
            return tf.compat.v1.tpu.rewrite(step, [x, y])
        return tf.compat.v1.tpu.replicate(step, [[x, y]] * replicas)

    concrete = outer.get_concrete_function(*(tf.TensorSpec(a.shape, a.dtype) for a in arguments()))
    graph = concrete.graph
    nodes = list(graph.as_graph_def().node)
    functions = [node for f in graph.as_graph_def().library.function for node in f.node_def]
    on_tpu = [op for op in graph.get_operations() if "_tpu_replicate" in op.node_def.attr]
    unknown = [
        op.name
        for op in on_tpu
        for out in op.outputs
        if out.dtype not in (tf.resource, tf.variant) and not out.shape.is_fully_defined()
    ]
    refused = sorted({node.op for node in nodes + functions if HOST_ONLY.match(node.op)})
    sums = sum(node.op == "CrossReplicaSum" for node in nodes)
    return {"tpu": len(on_tpu), "unknown": len(unknown), "refused": refused, "sums": sums}


def replicated(mode):
    """The step as TPUStrategy runs it on two cores: its replica context, with its all-reduce."""
    step = training(mode)
    tensorflow = _backend.active().replicas
    kept = tensorflow.replicas, tensorflow.gather_rows

    def all_reduce(_, value):
        return tf.raw_ops.CrossReplicaSum(input=value, group_assignment=[[0, 1]])

    context = SimpleNamespace(
        replica_id_in_sync_group=tf.constant(0), num_replicas_in_sync=2, all_reduce=all_reduce
    )
    from keras_bigbatch._backend.tensorflow import replicas as tensorflow_replicas

    real = tensorflow_replicas.tf.distribute.get_replica_context
    tensorflow.replicas = lambda: 2

    def gather_rows(row):
        tf.distribute.get_replica_context = lambda: context
        try:
            return kept[1](row)
        finally:
            tf.distribute.get_replica_context = real

    tensorflow.gather_rows = gather_rows
    try:
        return tpu_graph(step, replicas=2)
    finally:
        tensorflow.replicas, tensorflow.gather_rows = kept


if __name__ == "__main__":
    xla, tpu = {}, {}
    for mode in cases.MODES:
        xla[mode] = dynamic_dimensions(training(mode))
        tpu[mode] = tpu_graph(training(mode))
    xla["control"] = dynamic_dimensions(masked)
    tpu["control: shape"] = tpu_graph(masked)
    tpu["control: host"] = tpu_graph(on_the_host)
    tpu["two cores"] = replicated("sequential")
    cases.report({"version": tf.__version__, "xla": xla, "tpu": tpu})
