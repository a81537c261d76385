"""Training on several devices: the same as on one, on each backend by its own engine."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest

from reproduction.data.shares import Shares, ShuffledBatches
from reproduction.devices import distributed
from tests.distribution import processes
from tests.reproduction import worker_devices

BACKEND = keras.backend.backend()
ENGINES = {"jax": "data_parallel", "tensorflow": "mirrored", "torch": "ddp"}
DEVICES = 2
WORKER = Path(worker_devices.__file__)


@pytest.fixture(scope="module")
def many():
    """What a training on two devices finds; of several ranks, exactly one has printed it."""
    environment = {"KERAS_BACKEND": BACKEND}
    if BACKEND != "torch":
        devices = f"--xla_force_host_platform_device_count={DEVICES}"
        environment["XLA_FLAGS"] = f"{processes.COMPILES_FAST} {devices}"
    return processes.results(processes.run(WORKER, ENGINES[BACKEND], DEVICES, **environment))


def test_a_training_on_two_devices_is_that_on_one(many):
    one = worker_devices.on_one_device(DEVICES)
    wanted, found = worker_devices.train(one, one.ghost), many["result"]
    assert found["updates"] == wanted["updates"] == 12
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy"):
        assert found[name] == pytest.approx(wanted[name], rel=1e-4), name
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(found["curve"][name], wanted["curve"][name], rtol=1e-4)
    assert found["weight_distance"]["update"] == wanted["weight_distance"]["update"]
    for a, b in zip(found["weights"], wanted["weights"], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_nothing_is_left_behind(many):
    assert many["left"], "keras.distribution is still set"


def test_ranks_share_their_statistics_before_they_are_scored(many):
    if BACKEND != "torch":
        pytest.skip("only DDP has several processes with statistics of their own")
    assert many["spread"] == 0


# --- what cannot be run


def test_without_an_engine_the_setting_is_the_same():
    setting = worker_devices.setting()
    assert distributed(setting, None) is setting


@pytest.mark.parametrize("backend", ENGINES)
def test_the_engine_of_another_backend_is_refused(backend):
    if backend == BACKEND:
        pytest.skip("the engine of this backend is not refused")
    with pytest.raises(ValueError, match=f"is {BACKEND}: pass --backend {backend}"):
        distributed(worker_devices.setting(), ENGINES[backend])


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="'horovod' is none of mirrored, data_parallel, ddp"):
        distributed(worker_devices.setting(), "horovod")


def test_ddp_without_torchrun_is_refused(monkeypatch):
    if BACKEND != "torch":
        pytest.skip("DDP is torch's; elsewhere the backend is refused first")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ValueError, match="torchrun --nproc-per-node"):
        distributed(worker_devices.setting(), "ddp")


@pytest.mark.parametrize(
    ("batch", "devices", "nearest"), [(20, 8, "16 or 24"), (5, 8, "8"), (9, 2, "8 or 10")]
)
def test_a_batch_that_the_devices_do_not_divide_is_refused(batch, devices, nearest):
    shares = Shares(worker_devices.setting().data, devices)
    with pytest.raises(ValueError, match=rf"\(nearest: {nearest}\)"):
        shares.training(batch, seed=0)


# --- the parts of a batch


def epochs_of(index, examples=73, batch=24, devices=4, epochs=2):
    """The samples of each batch in each epoch, by their numbers."""
    x = np.arange(examples)
    batches = ShuffledBatches(x, 2 * x, batch, 5, devices, index)
    found = []
    for _ in range(epochs):
        found.append([batches[i] for i in range(len(batches))])
        batches.on_epoch_end()
    for x, y in (pair for epoch in found for pair in epoch):
        np.testing.assert_array_equal(y, 2 * x)
    return [[x.tolist() for x, _ in epoch] for epoch in found]


@pytest.mark.parametrize(("examples", "sizes"), [(73, [24, 24, 24]), (67, [24, 24, 16])])
def test_parts_are_of_one_size_and_together_the_batch(examples, sizes):
    whole = epochs_of(None, examples)
    parts = [epochs_of(index, examples) for index in range(4)]
    for epoch, batches in enumerate(whole):
        assert [len(batch) for batch in batches] == sizes
        for number, batch in enumerate(batches):
            of_devices = [part[epoch][number] for part in parts]
            assert len({len(part) for part in of_devices}) == 1
            assert list(itertools.chain(*of_devices)) == batch


def test_every_epoch_has_a_new_order_and_leaves_other_samples_out():
    first, second = (list(itertools.chain(*epoch)) for epoch in epochs_of(None, examples=67))
    assert len(set(first)) == len(first) == len(set(second)) == 64
    assert first != second
    assert set(first) != set(second)
    assert epochs_of(None) == epochs_of(None)


class Streamed:
    """As a `Pipeline`: batches of `tf.data`, or a process's part of them."""

    name, examples = "numbers", 73

    def training(self, batch, seed, num_shards=1, index=0):
        import tensorflow as tf

        if num_shards > 1:
            return {"x": (batch, seed, num_shards, index)}
        x = tf.range(self.examples)
        return {"x": tf.data.Dataset.from_tensor_slices((x, 2 * x)).batch(batch)}


@pytest.mark.parametrize(
    ("batch", "devices", "sizes"),
    [(24, 4, [24] * 3), (20, 4, [20, 20, 20, 12]), (24, 1, [24, 24, 24, 1])],
)
def test_streamed_batches_are_cut_to_what_the_devices_divide(batch, devices, sizes):
    pytest.importorskip("tensorflow")
    batches = Shares(Streamed(), devices).training(batch, seed=0)["x"]
    assert int(batches.cardinality()) == len(sizes)
    assert [len(x) for x, _ in batches] == sizes
    seen = np.concatenate([x for x, _ in batches])
    np.testing.assert_array_equal(seen, np.arange(sum(sizes)))


def test_a_stream_gives_each_process_its_own_part():
    pytest.importorskip("tensorflow")
    shares = Shares(Streamed(), 4, 3)
    assert shares.training(24, seed=7) == {"x": (24, 7, 4, 3)}
    assert (shares.name, shares.examples) == ("numbers", 73)
