"""What is compiled for: devices that this machine does not have."""

import contextlib
from unittest.mock import patch


def cpu():
    """This machine's, for comparison."""
    import jax

    return Target(jax.devices("cpu")[:1], fast_memory=0)


class Target:
    """Devices that are not there: how arrays lie on them, and what the layers know of them.

    `fast_memory` is a TPU core's, 0 on others.
    """

    def __init__(self, devices, fast_memory):
        import numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        self.number, self.fast_memory = len(devices), fast_memory
        self.mesh = Mesh(np.array(devices), ("batch",))
        self.whole = NamedSharding(self.mesh, PartitionSpec())
        self.parts = NamedSharding(self.mesh, PartitionSpec("batch"))

    def like(self, variables):
        """Arguments for variables, which every device has."""
        import jax

        return [jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=self.whole) for v in variables]

    def data(self, shape, dtype="float32"):
        """An argument of which every device has a part."""
        import jax

        return jax.ShapeDtypeStruct(shape, dtype, sharding=self.parts)

    def compiled(self, step, arguments, outputs=None, **options):
        """The program of a function of the arguments."""
        import jax

        from keras_bigbatch._backend.jax.ghost_norm import dense

        memory = patch.object(dense, "fast_memory", lambda: self.fast_memory)
        with memory, self.distribution():
            lowered = jax.jit(step, out_shardings=outputs, **options).lower(*arguments)
        return lowered.compile()

    @contextlib.contextmanager
    def distribution(self):
        """As under `keras.distribution.DataParallel` on these devices, none on one."""
        if self.number == 1:
            yield
            return
        import keras

        mesh = keras.distribution.DeviceMesh(
            (self.number,), ["batch"], [f"tpu:{i}" for i in range(self.number)]
        )
        # Keras would look for the devices on this machine.
        with (
            patch.object(type(mesh), "backend_mesh", self.mesh),
            keras.distribution.DataParallel(device_mesh=mesh).scope(),
        ):
            yield
