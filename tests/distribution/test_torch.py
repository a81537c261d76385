"""DistributedDataParallel over gloo, in two and four processes."""

import keras
import pytest

from tests.distribution import processes

if keras.backend.backend() != "torch":
    pytest.skip("DDP is torch's", allow_module_level=True)

MODES = ("sequential", "mean", "batch")


@pytest.fixture(scope="module")
def found():
    script = processes.HERE / "worker_torch.py"
    return processes.results(processes.run(script, KERAS_BACKEND="torch"))


@pytest.fixture(scope="module")
def two(found):
    return found["2"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("count", ["2", "4"])
def test_ranks_train_as_one_device(found, count, mode):
    apart, between_ranks, averaging = found[count]["equality"][mode]
    assert apart < 1e-5
    assert between_ranks == 0
    assert averaging < 1e-6  # nothing is left to average


def test_the_comparison_sees_an_exchange_that_is_left_out_or_reordered(two):
    apart, between_ranks = two["controls"]["own"]
    assert apart > 1e-2
    assert between_ranks > 1e-2
    apart, between_ranks = two["controls"]["order"]
    assert apart > 1e-2
    assert between_ranks == 0


def test_average_statistics_mends_keras_batch_norm(two):
    before, after, from_the_mean = two["averaging"]["keras"]
    assert before > 1e-3
    assert after == 0
    assert from_the_mean < 1e-6


@pytest.mark.parametrize("mode", MODES)
def test_average_statistics_without_ddp(two, mode):
    before, after, from_single = two["averaging"][mode]
    assert before > 1e-2
    assert after == 0
    if mode == "mean":
        assert from_single < 1e-5
    else:  # as the docstring says: a slower pace, and a variance without the ranks' spread
        assert 1e-3 < from_single < (0.5 if mode == "sequential" else 0.01)


def test_a_compiled_training_has_no_exchange_and_is_averaged(two):
    before, after = two["averaging"]["compiled"]
    assert before > 1e-2, "torch.compile exchanges now: change docs/many-devices.md"
    assert after == 0


def test_fit_of_a_wrapped_model_does_not_synchronize(two):
    assert two["fitting"]["wrapped"] > 1e-2


def test_fit_of_the_example_does(two):
    apart, between_ranks = two["fitting"]["replicated"]
    assert apart < 1e-5
    assert between_ranks == 0
    assert two["fitting"]["distance"] < 1e-5
    assert two["fitting"]["updates"] == [4, True]
    assert two["fitting"]["parts"] == 2
    assert two["fitting"]["validated"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("parts", ["unequal", "few", "none"])
def test_ragged_batches_move_the_statistics_as_the_oracle(two, parts, mode):
    error, between_ranks, finite = two["ragged"][f"{parts} {mode}"]
    assert error < 1e-5
    assert between_ranks == 0
    assert finite
