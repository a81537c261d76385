"""TensorFlow's programs, handed to the compilers of JAX for TPUs and GPUs."""

from unittest.mock import patch

from _contenders import tensorflow_step


def layer_step(target, layer, shape, precision):
    """Forward, moving statistics and backward of a layer by itself, under XLA."""
    import keras
    import tensorflow as tf

    from keras_bigbatch._backend.tensorflow import ghost_norm

    step, _ = tensorflow_step(keras, layer, shape, precision, jit=True)
    data = tf.TensorSpec(shape, precision)
    elsewhere = {"on_cpu": lambda: False}
    with patch.multiple(ghost_norm, **elsewhere), patch.multiple(ghost_norm.groups, **elsewhere):
        program = step.experimental_get_compiler_ir(data, data)(stage="hlo_serialized")
    return compiled(program, target)


def compiled(program, target):
    """The text of the program that the target's compiler makes."""
    import numpy as np
    from jax._src import compiler
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client
    from jax._src.lib.mlir import ir

    device = target.mesh.devices[0]
    options = compiler.get_compile_options(1, 1, device_assignment=np.array([[0]]))
    computation = xla_client.XlaComputation(program)
    text = xla_client._xla.mlir.xla_computation_to_mlir_module(computation)
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
        without_copies(module.operation)
        devices = xla_client.DeviceList((device,))
        executable = device.client.compile(module, devices, options)
    return executable.hlo_modules()[0].to_string()


def without_copies(operation):
    """TensorFlow marks results by an operation that the compiler does not read: its operand."""
    for region in operation.regions:
        for block in region.blocks:
            for each in list(block.operations):
                if each.operation.name == "mhlo.copy":
                    results, operands = each.operation.results, each.operation.operands
                    results[0].replace_all_uses_with(operands[0])
                    each.operation.erase()
                else:
                    without_copies(each.operation)
