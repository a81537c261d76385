"""What every test gets: a fixed seed, a clean Keras, and a report header that names the backend."""

import gc
import importlib.metadata
import os

# Before anything draws: a test must not open a window.
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import pytest


def pytest_report_header(config):
    packages = ("keras", keras.backend.backend(), "numpy")
    return "running on " + ", ".join(f"{name} {_version(name)}" for name in packages)


def _version(name):
    for distribution in (name, f"{name}-cpu", f"{name}-nightly"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "(unknown version)"


def pytest_collection_finish():
    """Collects garbage seldom, and never looks again at what was imported, which stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.fixture(autouse=True)
def clean_keras():
    """Seeds all generators, and undoes what a test changed in Keras's global state."""
    keras.utils.clear_session(free_memory=False)  # collecting garbage would cost more than a test
    keras.utils.set_random_seed(0)
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    image_data_format = keras.config.image_data_format()
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx(floatx)
    keras.config.set_image_data_format(image_data_format)
