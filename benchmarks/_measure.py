"""Clocks, peaks of memory, and what the figures depend on."""

import gc
import os
import platform
import re
import statistics
import sys
import time
from pathlib import Path


def limit_threads(threads):
    """Before anything is imported: every backend reads some of these only once."""
    number = str(threads)
    os.environ["OMP_NUM_THREADS"] = os.environ["NPROC"] = number  # NPROC is XLA's, for JAX
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = number
    eigen = "true" if threads > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={threads}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def import_keras(backend, threads=1):
    """Keras on a backend, on so many threads of a CPU or on the accelerator that is there."""
    if backend:
        os.environ["KERAS_BACKEND"] = backend
    limit_threads(threads)
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    return keras


def accelerator(keras):
    """The name of the GPU or TPU that runs the steps, or None."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else None
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(devices[0])["device_name"] if devices else None


def clock_of(keras, threads):
    """What tells a step's seconds, and its name: other programs disturb CPU time little."""
    if accelerator(keras):
        return time.perf_counter, "wall time"
    if threads > 1:
        return time.perf_counter, f"wall time of {threads} threads"
    return time.process_time, "CPU time of one thread"


def environment(keras, jit, rounds, threads=1):
    """What the figures depend on."""
    import keras_bigbatch

    backend = keras.backend.backend()
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
    return {
        "backend": backend,
        "jit": jit if backend == "tensorflow" else backend == "jax",
        "version": sys.modules[backend].__version__,
        "keras": keras.__version__,
        "keras_bigbatch": keras_bigbatch.__version__,
        "device": accelerator(keras) or (models[0] if models else platform.processor()),
        "clock": clock_of(keras, threads)[1],
        "rounds": rounds,
    }


def in_turn(steps, rounds, clock, most_seconds=float("inf")):
    """Seconds of each step, a list with one figure a round; every round makes each step once."""
    for step in steps.values():
        step()  # Compiles.
    seconds = {name: [] for name in steps}
    began = time.perf_counter()
    for _ in range(rounds):
        for name, step in steps.items():
            begin = clock()
            step()
            seconds[name].append(clock() - begin)
        if time.perf_counter() - began > most_seconds:
            break
    return seconds


def ratios(seconds, base="Keras"):
    """The base's milliseconds, and the others' ratios to it: the median and the quartiles."""
    result = {"milliseconds": 1e3 * statistics.median(seconds[base]), "ratios": {}}
    for name, times in seconds.items():
        if name != base:
            values = [a / b for a, b in zip(times, seconds[base], strict=True)]
            low, middle, high = statistics.quantiles(values, n=4)
            result["ratios"][name] = {"median": middle, "quartiles": [low, high]}
    return result


def cell(ratio):
    """A ratio as it is printed."""
    low, high = ratio["quartiles"]
    return f"{ratio['median']:.2f} ({low:.2f} to {high:.2f})"


# A block of at least this size goes back to the system when it is freed, so that the peak of the
# process is the peak of what is alive. It slows the steps down, so memory has its own process.
MEMORY_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def peak_bytes(keras, step, *arguments):
    """The most that a step has allocated at a time, beside its arguments; None if unknown.

    On JAX it is what the compiler says, on a GPU what the allocator says. With torch on a CPU it is
    the peak of the resident memory, which Linux lets a process reset. TensorFlow's allocator of a
    CPU gives nothing back and counts nothing.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        memory = step.lower(*arguments).compile().memory_analysis()
        return memory.temp_size_in_bytes + memory.output_size_in_bytes
    if accelerator(keras):
        return _accelerator_peak(backend, step, arguments)
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if backend == "tensorflow" or not reset.exists():
        return None
    step(*arguments)
    arguments[0].grad = None
    gc.collect()
    reset.write_text("5")
    before = kilobytes(status, "VmRSS")
    result = step(*arguments)  # Alive until the peak is read.
    peak = kilobytes(status, "VmHWM") - before
    del result
    return 1024 * peak


def kilobytes(status, name):
    return int(re.search(rf"{name}:\s+(\d+) kB", status.read_text())[1])


def _accelerator_peak(backend, step, arguments):
    step(*arguments)
    if backend == "torch":
        import torch

        arguments[0].grad = None
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(*arguments)
        return torch.cuda.max_memory_allocated() - before
    import tensorflow as tf

    memory = tf.config.experimental
    memory.reset_memory_stats("GPU:0")
    before = memory.get_memory_info("GPU:0")["current"]
    step(*arguments)
    return memory.get_memory_info("GPU:0")["peak"] - before
