"""Programs for TPUs by their own compiler, on a machine that has none: `libtpu` is enough."""

import atexit
import contextlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from unittest.mock import patch

# Of these chips a description is made, and none is looked for; several processes may do so.
SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# Topologies by chips; one chip is the first of eight.
CHIPS = {
    "v5e": {1: "v5e:2x4", 8: "v5e:2x4", 256: "v5e:16x16"},
    "v5p": {1: "v5p:2x2x2", 8: "v5p:2x2x2"},
    "v6e": {1: "v6e:2x4", 8: "v6e:2x4", 256: "v6e:16x16"},
}
FAST_MEMORY = {"v5e": 2**27, "v5p": 2**26, "v6e": 2**27}
DUMP = Path(tempfile.gettempdir(), f"keras_bigbatch-llo-{os.getpid()}")


def prepare(instructions=False):
    """Before JAX is imported: the settings; and whether the compiler writes its instructions.

    Of a network it writes a gigabyte.
    """
    os.environ.update(SETTINGS, KERAS_BACKEND="jax")
    if instructions:
        DUMP.mkdir(exist_ok=True)
        atexit.register(shutil.rmtree, DUMP)
        dump = f"--xla_jf_dump_to={DUMP} --xla_jf_dump_llo_text=true"
        os.environ["LIBTPU_INIT_ARGS"] = f"{os.environ.get('LIBTPU_INIT_ARGS', '')} {dump}".strip()


def devices(chip, number):
    """The chips of a description."""
    from jax.experimental import topologies

    name = CHIPS[chip][number]
    found = topologies.get_topology_desc(platform="tpu", topology_name=name).devices
    return found[:number]


class Target:
    """Some chips: how arrays lie on them, and whether the layers take the process for a TPU's."""

    def __init__(self, chip, number=1):
        import numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        self.chip, self.number = chip, number
        self.mesh = Mesh(np.array(devices(chip, number)), ("batch",))
        self.whole = NamedSharding(self.mesh, PartitionSpec())
        self.parts = NamedSharding(self.mesh, PartitionSpec("batch"))

    def like(self, variables):
        """Arguments for variables, which every chip has."""
        import jax

        return [jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=self.whole) for v in variables]

    def data(self, shape, dtype="float32"):
        """An argument of which every chip has a part."""
        import jax

        return jax.ShapeDtypeStruct(shape, dtype, sharding=self.parts)

    def compiled(self, step, arguments, outputs=None, **options):
        """The program of a function of the arguments."""
        import jax

        from keras_bigbatch._backend.jax.ghost_norm import dense

        memory = patch.object(dense, "fast_memory", lambda: FAST_MEMORY[self.chip])
        with memory, self.distribution():
            lowered = jax.jit(step, out_shardings=outputs, **options).lower(*arguments)
        return lowered.compile()

    @contextlib.contextmanager
    def distribution(self):
        """As under `keras.distribution.DataParallel` on these chips, none on one."""
        if self.number == 1:
            yield
            return
        import keras

        mesh = keras.distribution.DeviceMesh(
            (self.number,), ["batch"], [f"tpu:{i}" for i in range(self.number)]
        )
        # Keras would look for the chips on this machine.
        with (
            patch.object(type(mesh), "backend_mesh", self.mesh),
            keras.distribution.DataParallel(device_mesh=mesh).scope(),
        ):
            yield


def instructions():
    """Cycles of the instructions of each kernel that was compiled since: bundles times trips.

    Where the last block has code of its own, both are counted: it is at most so many.
    """
    found = {}
    for path in DUMP.glob("*schedule-analysis_final_bundles.txt"):
        text = path.read_text()
        count = re.search(r"non empty scheduled bundles:\s+(\d+)", text)
        name = re.search(r"%([\w.\-]+) = .*custom_call_target=\"tpu_custom_call", text)
        if count and name:
            # Small programs around the kernel bear its name too.
            cycles = int(count.group(1)) * trips(path)
            found[name.group(1)] = max(cycles, found.get(name.group(1), 0))
    for path in DUMP.glob("*"):
        path.unlink()
    return found


def trips(analysis):
    """How often the kernel's loop runs."""
    prefix = re.match(r"(.*)-\d+-schedule-analysis", analysis.name).group(1)
    (bundles,) = analysis.parent.glob(f"{glob_escaped(prefix)}-*-final_bundles.txt")
    exits = re.findall(r"totalorder %\w+, (\d+) /\* loop exit test", bundles.read_text())
    return int(exits[0]) if exits else 1


def glob_escaped(name):
    return re.sub(r"([*?\[])", r"[\1]", name)
