"""Programs for TPUs by their own compiler, on a machine that has none: `libtpu` is enough."""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

from _target import Target

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
    os.environ.update(SETTINGS)
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


def target(chip, number=1):
    """Chips to compile for, as the layers see them where they are."""
    return Target(devices(chip, number), FAST_MEMORY[chip])


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
