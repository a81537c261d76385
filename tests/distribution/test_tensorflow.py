"""MirroredStrategy on two and four logical CPUs, and what a TPU asks of a graph."""

import keras
import pytest

from tests.distribution import processes

if keras.backend.backend() != "tensorflow":
    pytest.skip("the strategies are TensorFlow's", allow_module_level=True)

MODES = ("sequential", "mean", "batch")


@pytest.fixture(scope="module")
def mirrored():
    script = processes.HERE / "worker_tensorflow.py"
    return processes.results(processes.run(script, KERAS_BACKEND="tensorflow"))


@pytest.fixture(scope="module")
def static():
    script = processes.HERE / "worker_tensorflow_static.py"
    return processes.results(processes.run(script, KERAS_BACKEND="tensorflow"))


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize("mode", MODES)
def test_replicas_train_as_one_device(mirrored, mode, replicas):
    apart, between_replicas, evaluation = mirrored["equality"][f"{mode}-{replicas}"]
    assert apart < 1e-5
    assert between_replicas == 0
    assert evaluation < 1e-5


def test_the_comparison_sees_replicas_that_keep_to_themselves(mirrored):
    apart, between_replicas = mirrored["controls"]["own"]
    assert apart > 1e-2
    assert between_replicas > 1e-2


def test_the_comparison_sees_replicas_in_another_order(mirrored):
    apart, between_replicas = mirrored["controls"]["order"]
    assert apart > 1e-3
    assert between_replicas == 0


def test_average_statistics_mends_what_keras_leaves_apart(mirrored):
    assert mirrored["controls"]["keras"] > 1e-3
    between_replicas, from_the_mean = mirrored["controls"]["keras averaged"]
    assert between_replicas == 0
    assert from_the_mean < 1e-6


@pytest.mark.parametrize("scope", ["outside", "inside"])
def test_statistics_are_renewed_as_on_one_device(mirrored, scope):
    apart, between_replicas = mirrored["renewal"][scope]
    assert apart < 1e-5
    assert between_replicas == 0


def test_several_steps_an_execution(mirrored):
    apart, between_replicas = mirrored["options"]["steps_per_execution"]
    assert apart < 1e-5
    assert between_replicas == 0


def test_sharpness_aware_replicas_are_groups_of_a_batch(mirrored):
    found = mirrored["sharpness"]
    assert found["apart"] < 1e-5
    assert found["reported"] < 1e-5
    apart, between_replicas = found["ghost"]  # from plain training on one device
    assert apart < 1e-5
    assert between_replicas == 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(mirrored, policy):
    # The single device's sums over the batch round otherwise, in 8 bits or 11.
    apart, between_replicas, finite = mirrored["options"][policy]
    assert apart < 1e-2
    assert between_replicas == 0
    assert finite


def test_an_overflow_on_one_replica(mirrored):
    """Keras's loss scaling looks at the first replica only; the docs say to use bfloat16."""
    trainable, moving = mirrored["options"]["overflow mixed_float16"]
    assert not trainable, "Keras has mended it: change docs/many-devices.md"
    assert moving, "the moving statistics leave the groups out that overflowed"
    assert mirrored["options"]["overflow mixed_bfloat16"] == [True, True]


@pytest.mark.parametrize("samples", [33, 40, 63])
@pytest.mark.parametrize("mode", MODES)
def test_ragged_batches_move_the_statistics_as_the_oracle(mirrored, mode, samples):
    # 33: the second replica gets nothing of the last batch; 40: both get less than a ghost batch.
    error, between_replicas = mirrored["ragged"][f"{mode}-{samples}"]
    assert error < 1e-5
    assert between_replicas == 0


def test_ragged_batches_poison_nothing(mirrored):
    assert mirrored["ragged"]["trains on 33"]
    assert mirrored["ragged"]["trains on 40"]


def test_distances_and_plans(mirrored):
    found = mirrored["callbacks"]
    assert found["same updates"]
    assert found["parts"] == [1, 2, 4]
    assert len(set(found["updates"])) == 1
    assert found["distance"] < 1e-5
    assert len(set(found["rates"])) == 1


def test_accumulation_is_refused_by_keras_with_any_model(mirrored):
    """The docs say so, and give a way round; when this fails, they can be shorter."""
    for message in mirrored["accumulation"].values():
        assert "Cond" in message


@pytest.mark.parametrize("mode", MODES)
def test_shapes_are_static_under_xla(static, mode):
    dynamic, lines = static["xla"][mode]
    assert dynamic == 0
    assert lines > 100
    assert static["xla"]["control"][0] > 0


@pytest.mark.parametrize("case", [*MODES, "two cores"])
def test_a_graph_for_a_tpu_has_nothing_that_a_tpu_refuses(static, case):
    found = static["tpu"][case]
    assert found["tpu"] > 100
    assert found["unknown"] == 0
    assert found["refused"] == []
    assert found["sums"] == (1 if case == "two cores" else 0)


def test_the_check_for_a_tpu_refuses_what_it_should(static):
    assert static["tpu"]["control: shape"]["unknown"] > 0
    assert static["tpu"]["control: shape"]["refused"] == ["Where"]
    assert static["tpu"]["control: host"]["refused"] == ["EagerPyFunc"]
