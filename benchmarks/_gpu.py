"""Programs for an H100 by XLA's compiler for GPUs, on a machine that has none."""

import importlib.util
import os
from pathlib import Path

from _target import Target

# What the compiler asks a GPU for; figures of NVIDIA's data sheet of the H100 SXM.
DESCRIPTION = """
gpu_device_info {
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  threads_per_core_limit: 2048
  core_count: 132
  fpus_per_core: 128
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  clock_rate_ghz: 1.98
  device_memory_size: 84942979072
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
  device_vendor: "NVIDIA Corporation"
  name: "NVIDIA H100 80GB HBM3"
  driver_version: "13.0.0"
  runtime_version: "12.8.0"
  compile_time_toolkit_version: "12.8.0"
  dnn_version: "9.10.0"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""


def prepare():
    """Before JAX is imported: where the assembler is, and that no GPU is looked for."""
    nvidia = importlib.util.find_spec("nvidia").submodule_search_locations
    (tools,) = [path for each in nvidia if (path := Path(each, "cuda_nvcc")).exists()]
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_gpu_cuda_data_dir={tools}"
    os.environ["PATH"] = f"{tools}/bin{os.pathsep}{os.environ['PATH']}"


def target():
    """One H100."""
    from jax._src import xla_bridge
    from jax.experimental import topologies

    # JAX registers its plugins only when a device is asked for, and here none may be.
    xla_bridge._discover_and_register_pjrt_plugins()
    found = topologies.get_topology_desc(
        platform="cuda", topology_name="", topology="1x1x1", target_config=DESCRIPTION
    )
    return Target(found.devices[:1], fast_memory=0)
