"""A file of criteria: what it makes of its arms, and that results are held to it."""

import pytest

from reproduction.criteria import reader
from reproduction.criteria.reader import Criteria


@pytest.fixture(scope="module")
def criteria():
    return Criteria("recipes")


def result(made_by, **other):
    return {"arm": "SGD sqrt x4", "seed": 20, "criteria": made_by.digest, **other}


def test_an_arm_is_what_the_file_says(criteria):
    arms = {arm.name: arm for arm in criteria.arms("mnist1d")}
    assert arms["AdamW whole, betas^k x4 ghosts"] == reader.Arm(
        name="AdamW whole, betas^k x4 ghosts",
        group="AdamW",
        optimizer="AdamW",
        rule="sqrt",
        batch=1000,
        stretch=4,
        virtual_batch=8,
        moved=("weight_decay", "epsilon", "beta_1", "beta_2"),
        betas="samples",
    )
    assert arms["AdamW small"].rule is None
    assert [arm.batch for arm in arms.values() if arm.group == "batches"] == [100, 250, 500]
    assert {arm.optimizer for arm in arms.values() if arm.group == "AdaScale"} == {"SGD"}


def test_names_are_unique_and_data_sets_differ(criteria):
    names = {data: [arm.name for arm in criteria.arms(data)] for data in ("mnist1d", "digits")}
    assert all(len(set(each)) == len(each) for each in names.values())
    assert not any("AdaScale" in name or "batches" in name for name in names["digits"])
    asked = {data: len(criteria.hypotheses(data)) for data in names}
    assert asked["mnist1d"] == asked["digits"] + 2


def test_every_large_arm_takes_part_in_both_stretches_and_norms(criteria):
    names = {arm.name for arm in criteria.arms("digits")}
    for rule in ("unscaled", "linear", "sqrt", "sqrt, betas^k", "whole", "whole, betas^k"):
        for cell in ("x1", "x1 ghosts", "x4", "x4 ghosts"):
            assert f"AdamW {rule} {cell}" in names


def test_results_of_the_file_pass(criteria):
    criteria.check([result(criteria), result(criteria, seed=29)], "digits")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"arm": "SGD sqrt x2"}, "know no 'SGD sqrt x2'"),
        ({"arm": "AdaScale AdaScale ghosts"}, "on digits"),
        ({"seed": 19}, "know no .* seed 19"),
        ({"criteria": "0" * 64}, "other criteria"),
    ],
)
def test_others_are_refused(criteria, other, message):
    with pytest.raises(ValueError, match=message):
        criteria.check([result(criteria), result(criteria, **other)], "digits")


def test_a_changed_file_is_another_one(criteria, tmp_path, monkeypatch):
    text = (reader.FOLDER / "recipes.toml").read_text()
    monkeypatch.setattr(reader, "FOLDER", tmp_path)
    (tmp_path / "changed.toml").write_text(text.replace("margin = 0.5 ", "margin = 0.6 "))
    (tmp_path / "wrong.toml").write_text(
        text.replace('than = ["SGD small"]', 'than = ["SGD tiny"]')
    )
    changed = Criteria("changed")
    assert changed.content["data"]["mnist1d"]["margin"] == 0.6
    with pytest.raises(ValueError, match="other criteria"):
        changed.check([result(criteria)], "mnist1d")
    with pytest.raises(ValueError, match="SGD tiny"):
        Criteria("wrong")
