"""What is not public in TensorFlow. If a name is gone, the slower path is taken."""

import tensorflow as tf

try:
    from tensorflow.python.distribute.tpu_util import enclosing_tpu_context
except ImportError:
    enclosing_tpu_context = None

try:
    from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext
except ImportError:
    GraphOrParentsInXlaContext = None


def may_be_for_a_tpu() -> bool:
    """Whether what is traced may be for a TPU, which a machine need not have among its devices.

    It decides whether ghost batch norm may use operations that only a CPU has. Without the name
    that is not known: the operations that all devices have are used, as on a GPU.
    """
    return enclosing_tpu_context is None or enclosing_tpu_context() is not None


def may_be_under_xla() -> bool:
    """Whether what is traced may be compiled by XLA, of which `jit_compile=True` is a case.

    It decides whether ghost batch norm uses what is fast operation by operation, or what XLA
    compiles well. Without the name it uses the latter, which is right in either case.
    """
    if GraphOrParentsInXlaContext is None:
        return True
    return bool(GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))
