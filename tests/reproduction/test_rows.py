"""The rows of Tables 1 and 2: results as printed, recipes by closed form, and the two variants."""

import dataclasses
import math

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reproduction.networks import plain as plain_networks
from reproduction.networks import residual as residual_networks
from reproduction.recipes import rows

if keras.backend.backend() != "torch":
    pytest.skip("arithmetic, the same on every backend", allow_module_level=True)

# As printed in the paper: small batch, large batch, SB, LB, +LR, +GBN, +RA
PRINTED = {
    "F1": (128, 4096, 98.27, 97.05, 97.55, 97.60, 98.53),
    "C1": (128, 4096, 87.80, 83.95, 86.15, 86.4, 88.20),
    "ResNet44": (128, 4096, 92.83, 86.10, 89.30, 90.50, 93.07),
    "VGG": (128, 4096, 92.30, 84.1, 88.6, 91.50, 93.03),
    "C3": (128, 4096, 61.25, 51.50, 57.38, 57.5, 63.20),
    "WRN16-4": (256, 4096, 73.70, 68.15, 69.05, 71.20, 73.57),
    "AlexNet": (128, 4096, 57.10, 41.23, 53.25, 54.92, 59.5),
    "AlexNet-8192": (128, 8192, 57.10, 41.23, 53.25, 53.93, 59.5),
}
# network, data set, training samples, epochs, rates of the paper's variant
RECIPES = {
    "F1": ("f1", "mnist", 60_000, 50, {0: 0.1, 10: 0.01, 20: 0.001, 30: 0.0001}),
    "C1": ("c1", "cifar10", 50_000, 200, {0: 0.01, 120: 0.001, 180: 0.0001}),
    "ResNet44": ("resnet44", "cifar10", 50_000, 200, {0: 0.1, 81: 0.01, 122: 0.001, 164: 0.0001}),
    "VGG": ("vgg", "cifar10", 50_000, 200, {0: 0.1, 81: 0.01, 122: 0.001, 164: 0.0001}),
    "C3": ("c3", "cifar100", 50_000, 200, {0: 0.01, 120: 0.001, 180: 0.0001}),
    "WRN16-4": ("wrn16_4", "cifar100", 50_000, 200, {0: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008}),
    "AlexNet": (
        "alexnet",
        "imagenet2012",
        1_281_167,
        30,
        {0: 0.01, 10: 0.005, 15: 0.001, 20: 0.0005, 25: 0.0001},
    ),
}
RECIPES["AlexNet-8192"] = RECIPES["AlexNet"]
# Where the variants differ in one row, besides what differs in all.
IN_ALL = {"base_batch", "stretch", "clip_updates"}
DIFFERENCES = {
    "F1": {"augmentation"},
    "C1": {"network", "learning_rate", "momentum"},
    "ResNet44": {"notes"},
    "VGG": set(),
    "C3": {"network", "learning_rate", "momentum"},
    "WRN16-4": {"source", "learning_rate", "weight_decay", "notes"},
    "AlexNet": set(),
    "AlexNet-8192": set(),
}


def rate(plan, update):
    return float(keras.ops.convert_to_numpy(plan.learning_rate(update)))


def test_tables_have_the_papers_rows_in_its_order():
    assert [*rows.TABLE1, *rows.TABLE2] == list(PRINTED)
    assert list(rows.TABLE2) == ["AlexNet", "AlexNet-8192"]
    assert all(key == row.name for key, row in {**rows.TABLE1, **rows.TABLE2}.items())


@pytest.mark.parametrize("variant", rows.VARIANTS)
@pytest.mark.parametrize("name", PRINTED)
def test_results_and_batches_are_as_printed(name, variant):
    row = rows.row(name, variant)
    assert (row.small_batch, row.large_batch, *row.paper.values()) == PRINTED[name]
    assert tuple(row.paper) == rows.ARMS
    assert row.virtual_batch == 128
    assert row.global_clipnorm == 5.0


@pytest.mark.parametrize("name", PRINTED)
def test_recipe(name):
    row = rows.row(name)
    network, dataset, examples, epochs, rates = RECIPES[name]
    functions = {**vars(plain_networks), **vars(residual_networks)}
    assert row.network is functions[network]
    assert (row.dataset, row.examples, row.epochs) == (dataset, examples, epochs)
    assert row.learning_rate == rates
    assert row.momentum == 0.9
    # An epoch starts a rate; the last batch, of fewer samples, is an update too.
    steps = math.ceil(examples / row.small_batch)
    regime = row.regime()
    assert regime.updates == epochs * steps
    assert regime.drops == tuple((epoch * steps, epoch, r) for epoch, r in rates.items())


@pytest.mark.parametrize("variant", rows.VARIANTS)
@pytest.mark.parametrize("name", PRINTED)
def test_rates_of_every_arm_change_at_the_drops_and_grow_by_the_root(name, variant):
    row = rows.row(name, variant)
    small, large = PRINTED[name][:2]
    code = {"+LR": 256, "+GBN": 128, "+RA": 128}
    for arm in rows.ARMS:
        plan = row.plan(arm)
        base = small if variant == "paper" else code.get(arm)
        factor = 1 if arm in ("SB", "LB") else math.sqrt(large / base)
        expected = [r * factor for r in row.learning_rate.values()]
        assert [r for _, _, r in plan.drops] == pytest.approx(expected)
        for before, (update, _, after) in zip(expected, plan.drops[1:], strict=False):
            assert rate(plan, update - 1) == pytest.approx(before)
            assert rate(plan, update) == pytest.approx(after)


@pytest.mark.parametrize("name", PRINTED)
def test_updates_of_every_arm(name):
    small, large = PRINTED[name][:2]
    _, _, examples, epochs, _ = RECIPES[name]
    small_steps, large_steps = math.ceil(examples / small), math.ceil(examples / large)
    paper, bigbatch = rows.row(name), rows.row(name, "bigbatch")
    for row in (paper, bigbatch):
        assert row.plan("SB").updates == epochs * small_steps
        for arm in ("LB", "+LR", "+GBN"):
            assert row.plan(arm).updates == epochs * large_steps
            assert row.plan(arm).batch == large
    # Paper: as many updates, to the nearest epoch. Code: a whole number of times the epochs.
    adapted = paper.plan("+RA")
    assert abs(adapted.updates - epochs * small_steps) <= large_steps / 2
    assert bigbatch.plan("+RA").updates == epochs * (large // 128) * large_steps


def test_updates_of_resnet44():
    paper, bigbatch = rows.row("ResNet44"), rows.row("ResNet44", "bigbatch")
    assert paper.plan("SB").updates == 200 * 391
    assert paper.plan("LB").updates == 200 * 13
    assert paper.plan("+RA").updates == 6015 * 13  # 78 195, of 78 200
    assert bigbatch.plan("+RA").updates == 6400 * 13  # 6.4 % more
    assert paper.plan("+RA").drops[1][0] == 81 * 391
    assert bigbatch.plan("+RA").drops[1][0] == 81 * 32 * 13


@pytest.mark.parametrize("name", PRINTED)
def test_variants_differ_only_where_they_say(name):
    paper, bigbatch = rows.row(name), rows.row(name, "bigbatch")
    different = {
        field.name
        for field in dataclasses.fields(rows.Row)
        if getattr(paper, field.name) != getattr(bigbatch, field.name)
    }
    assert different == IN_ALL | DIFFERENCES[name]


def test_what_the_code_does_otherwise():
    for name in PRINTED:
        assert rows.row(name, "bigbatch").clip_updates is None
        assert rows.row(name).clip_updates == 100
    assert rows.row("F1").augmentation == "none"
    assert rows.row("F1", "bigbatch").augmentation == "mnist_crop_flip"
    for name in ("C1", "C3"):
        row = rows.row(name, "bigbatch")
        assert row.momentum == 0
        assert row.learning_rate == {0: 0.001, 60: 0.01, 120: 0.001, 180: 0.0001}
        assert row.network is plain_networks.shallow_bigbatch
    wide = rows.row("WRN16-4", "bigbatch")
    assert wide.learning_rate == {0: 0.1, 60: 0.02, 120: 0.004, 140: 0.0001}
    assert (rows.row("WRN16-4").weight_decay, wide.weight_decay) == (5e-4, 1e-4)


# --- a part of the data, of the epochs


def test_fewer_examples():
    row = rows.row("F1")
    assert row.regime(6000).updates == 50 * math.ceil(6000 / 128)
    assert row.plan("LB", 6000).updates == 50 * 2
    with pytest.raises(ValueError, match="larger than the data set"):
        row.plan("LB", 4000)


def test_scale_shortens_epochs_and_drops_alike():
    regime = rows.row("ResNet44").regime(scale=0.1)
    assert regime.epochs == 20
    assert regime.learning_rate == {0: 0.1, 8: 0.01, 12: 0.001, 16: 0.0001}
    assert rows.row("ResNet44").plan("LB", scale=0.1).epochs == 20
    # 0.8, 1.6 and 2.4 of four epochs: the last is moved, to an epoch of its own
    shortest = rows.row("F1").regime(scale=0.01)
    assert shortest.epochs == 4
    assert shortest.learning_rate == {0: 0.1, 1: 0.01, 2: 0.001, 3: 0.0001}
    assert rows.row("AlexNet").regime(scale=0.01).epochs == 5  # as many as it has rates


@given(
    name=st.sampled_from(list(PRINTED)),
    variant=st.sampled_from(rows.VARIANTS),
    scale=st.floats(0, 1, exclude_min=True),
)
def test_scaled_drops_stay_in_order_and_distinct(name, variant, scale):
    row = rows.row(name, variant)
    regime = row.regime(scale=scale)
    starts = list(regime.learning_rate)
    assert regime.epochs >= 4
    assert abs(regime.epochs - row.epochs * scale) <= max(0.5, 5 - row.epochs * scale)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[-1] < regime.epochs
    assert list(regime.learning_rate.values()) == list(row.learning_rate.values())
    ideal = [start * regime.epochs / row.epochs for start in row.learning_rate]
    assert all(abs(a - b) <= 1.5 for a, b in zip(starts, ideal, strict=True))


def test_whole_recipe_at_scale_one():
    for name in PRINTED:
        assert rows.row(name).regime().learning_rate == rows.row(name).learning_rate


# --- errors


@pytest.mark.parametrize("scale", [0, -0.5, 1.01, math.nan])
def test_scale_out_of_range(scale):
    with pytest.raises(ValueError, match=r"above 0 and at most 1.*scale="):
        rows.row("F1").regime(scale=scale)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"one of F1, C1, ResNet44.*name='F2'"):
        rows.row("F2")
    with pytest.raises(ValueError, match=r"paper.*bigbatch.*variant='code'"):
        rows.row("F1", "code")
    with pytest.raises(ValueError, match=r"one of SB, LB, \+LR.*arm='RA'"):
        rows.row("F1").plan("RA")
