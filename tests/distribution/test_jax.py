"""`keras.distribution` on 8 fake devices: numbers, collectives, the warning, exports."""

import keras
import pytest

from tests.distribution import processes

if keras.backend.backend() != "jax":
    pytest.skip("`keras.distribution` works on JAX", allow_module_level=True)

MODES = ("sequential", "mean", "batch")


@pytest.fixture(scope="module")
def found():
    flags = f"{processes.COMPILES_FAST} --xla_force_host_platform_device_count=8"
    script = processes.HERE / "worker_jax.py"
    return processes.results(processes.run(script, KERAS_BACKEND="jax", XLA_FLAGS=flags))


def test_sharpness_aware_devices_share_a_perturbation():
    flags = f"{processes.COMPILES_FAST} --xla_force_host_platform_device_count=8"
    script = processes.HERE / "worker_jax_training.py"
    found = processes.results(processes.run(script, KERAS_BACKEND="jax", XLA_FLAGS=flags))
    assert found["devices"] == 8
    assert found["apart"] < 1e-5
    assert found["reported"] < 1e-5
    assert "a batch that 8 devices share" in found["refused"]


@pytest.mark.parametrize("devices", [2, 4, 8, "mesh"])
@pytest.mark.parametrize("mode", MODES)
def test_devices_train_as_one(found, mode, devices):
    assert found["equality"][f"{mode}-{devices}"] < 1e-5


@pytest.mark.parametrize("case", ["64-8", "64-4", "mean", "batch"])
def test_aligned_groups_need_no_communication_but_sums(found, case):
    assert found["alignment"][case]["forward"] == {}
    assert set(found["alignment"][case]["train"]) == {"all-reduce"}


@pytest.mark.parametrize("case", ["64-16", "64-64"])
def test_groups_of_whole_parts_need_sums_only(found, case):
    for kinds in (found["alignment"][case]["forward"], found["alignment"][case]["train"]):
        assert set(kinds) == {"all-reduce"}
    assert found["alignment"][case]["warnings"] == []


@pytest.mark.parametrize("case", ["96-8", "64-12", "64-24"])
def test_misaligned_groups_are_moved_and_warned_of(found, case):
    """The control of the tests above: here the compiled program does gather activations."""
    entry = found["alignment"][case]
    assert "all-gather" in entry["forward"]
    assert "all-gather" in entry["train"]
    # Once, though the model has two such layers and was traced twice.
    assert len(entry["warnings"]) == 1


def test_the_warning_names_sizes_that_fit(found):
    (text,) = found["alignment"]["96-8"]["warnings"]
    assert "divides 12 (nearest: 6 or 12), or a batch of 128." in text
    assert "96 on 8 devices" in text
    for case in ("64-8", "64-4"):
        assert found["alignment"][case]["warnings"] == []


def test_misaligned_groups_are_right_all_the_same(found):
    assert found["alignment"]["misaligned, apart"] < 1e-5


def test_plain_batch_norm_communicates_in_the_forward_pass(found):
    assert found["alignment"]["keras"]["forward"]["all-reduce"] >= 4


def test_layouts_for_the_normalization_spare_gathers(found):
    kernels, everything = found["layouts"]["kernels"], found["layouts"]["all"]
    assert (kernels["sharded"], everything["sharded"]) == (2, 10)
    assert everything["train"]["all-gather"] < kernels["train"]["all-gather"] / 2
    assert kernels["apart"] < 1e-5
    assert everything["apart"] < 1e-5


def test_distances_and_plans(found):
    assert len(set(found["distances"]["updates"])) == 1
    assert found["distances"]["parts"] == [1, 8, 4]  # of a batch, on a mesh of 8 and of 4 by 2
    assert found["distances"]["distance"] < 1e-5


def test_ragged_batches(found):
    assert found["ragged"]["104 samples, apart"] < 1e-5
    # Refused by JAX, for any layer: a clear error, though not before the batch comes.
    assert "IndivisibleError" in found["ragged"]["97 samples"]


def test_statistics_are_renewed_as_on_one_device(found):
    assert max(found["renewal"]) < 1e-5


@pytest.mark.parametrize("devices", [1, 8])
def test_the_train_step_is_exported_and_runs_back(found, devices):
    exported = found["export"][str(devices)]
    assert exported["platforms"] == ["cpu", "tpu", "cuda"]
    assert exported["devices"] == devices
    assert exported["apart"] == 0


@pytest.mark.parametrize("size", [4, 8])
def test_on_tpu_each_core_has_a_kernel_for_its_own_groups(found, size):
    entry = found["kernels"][str(size)]
    # A kernel forward and one backward in each layer, for an eighth of the batch of 64.
    assert entry["inputs"] == ["8x24xf32"] * 4
    assert set(entry["train"]) == {"all-reduce"}
    assert entry["apart"] < 1e-5


def test_on_tpu_groups_of_several_cores_have_no_kernel(found):
    """XLA would gather the whole batch for it."""
    entry = found["kernels"]["16"]
    assert entry["inputs"] == []
    assert set(entry["train"]) == {"all-reduce"}
    assert entry["apart"] < 1e-5
