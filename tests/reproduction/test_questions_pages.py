"""What the questions' pages say of results whose right answer is known."""

import keras
import numpy as np
import pytest

from reproduction import panels
from reproduction.places import PLACES
from reproduction.questions import (
    distance,
    distance_report,
    fashion,
    ghost_size,
    ghost_size_report,
    onset,
    onset_report,
)

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="text from numbers, the same on every backend"
)
CRITERIA = {
    of.NAME: criteria(of.NAME)
    for of, criteria in (
        (ghost_size, ghost_size.GhostSizes),
        (onset, onset.Onsets),
        (distance, distance.Distances),
        (fashion, fashion.Fashion),
    )
}
PICTURES = {"cells": "", "errors": "", "steered": "", "along": ""}


def content(name, trainings, start=0, data="mnist1d", **more):
    """What `results.json` has, with trainings of ten seeds: `trainings(arm, seed)`."""
    criteria = CRITERIA[name]
    draw = np.random.default_rng(start)
    made = [
        {
            "arm": arm.name,
            "seed": seed,
            "criteria": criteria.digest,
            "batch": 1000,
            "epochs": 60,
            "train_accuracy": 1.0,
            "updates": 600,
            "samples": 600_000,
            "seconds": 3.0,
            **trainings(arm, draw),
        }
        for seed in criteria.seeds
        for arm in criteria.arms(data)
    ]
    return {
        "data": data,
        "scored_on": "10,000 test samples",
        "criteria": criteria.digest,
        "seeds": criteria.seeds,
        "trainings": made,
        "hardware": {"cpu": "a CPU", "accelerator": None},
        "versions": {"keras": "3", "backend": "jax", "jax": "1"},
        "command": f"python -m reproduction question {name}",
        **more,
    }


def ghost_sizes(score, noise=0.0005):
    sweeps = {cell.name: {"0.05": 90.0, "0.1": 91.0} for cell in CRITERIA["ghost-size"].arms("")}
    return content(
        "ghost-size",
        lambda cell, draw: {"test_accuracy": score(cell) + draw.normal(0, noise)},
        sweeps=sweeps,
        rates=dict.fromkeys(sweeps, 0.1),
    )


@pytest.mark.parametrize(
    ("score", "noise", "word"),
    [
        (lambda cell: 0.95 - cell.ghost / 1e5, 0.0005, "Yes"),
        (lambda cell: 0.95 - cell.ghost / 1e5 - cell.batch / 1e4, 0.0005, "No"),
        (lambda cell: 0.95 - 0.004 * (cell.batch == 1000), 0.002, "Cannot tell"),
    ],
)
def test_ghost_size_decides_by_the_batches_of_equal_ghosts(score, noise, word):
    found = ghost_sizes(score, noise)
    assert ghost_size_report.answer(CRITERIA["ghost-size"], found).startswith(f"**{word}**")


def test_ghost_size_page():
    text = ghost_size_report.page(
        CRITERIA["ghost-size"], ghost_sizes(lambda cell: 0.95 - cell.ghost / 1e5), PICTURES
    )
    row = next(line for line in text.splitlines() if line.startswith("| 40 "))
    assert float(row.split("|")[2].split("±")[0]) == pytest.approx(94.99, abs=0.1)
    assert "**91.00**" in text
    assert "**90.00**" not in text


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ({10: 1.0, 20: 1.0, 40: 1.5}, (2**0.5 * 20, True)),  # half way, in the logarithm
        ({10: 1.5, 20: 1.0, 40: 1.25}, (40, True)),  # what lies before the best does not count
        ({10: 1.0, 20: 1.1, 40: 1.2}, (40, False)),
        ({10: 1.0}, (10, False)),
    ],
)
def test_onset_by_hand(errors, expected):
    assert onset_report.onset(errors, 1.25) == pytest.approx(expected)


def onsets(power, noise_power, spread=0.05):
    """Errors whose onset grows as the samples to a power, and noise scales to another."""

    def training(cell, draw):
        begin = 60 * (cell.examples / 1000) ** power * np.exp(draw.normal(0, spread))
        error = max(1.0, (cell.batch / begin) ** 0.5) / 100
        noise = 300 * (cell.examples / 1000) ** noise_power
        rows = [{"epoch": round(share * 60), "value": noise} for share in cell.noise]
        return {
            "test_accuracy": 1 - error,
            "examples": cell.examples,
            "batch": cell.batch,
            "noise": rows,
        }

    return content("onset", training)


@pytest.mark.parametrize(
    ("power", "noise_power", "word"),
    [
        (1.0, 0.5, "only the updates fit"),
        (0.5, 0.5, "only the noise scale fits"),
        (0.0, 0.5, "only the batch itself fits"),
        (0.75, 0.5, "none of the three explanations fits"),
        (1.0, 1.0, "cannot tell"),
    ],
)
def test_onset_decides_by_what_is_in_the_interval(power, noise_power, word):
    found = onsets(power, noise_power)
    said = onset_report.answer(CRITERIA["onset"], found, 10)
    assert f"**{word}**" in said
    assert f"The updates predict 16.0, the noise scale {16**noise_power:.1f} (" in said


def test_batches_that_are_not_everywhere_can_be_left_out():
    found = onsets(0.0, 0.5, spread=0.0)
    for training in found["trainings"]:  # an error that grows with the batch from the first on
        training["test_accuracy"] = 1 - training["batch"] ** 0.5 / 100
    few, many = (
        onset_report.powers(CRITERIA["onset"], found, 0, smallest).mean for smallest in (0, 40)
    )
    assert few == pytest.approx(2)  # the grids begin at 10 and at 40
    assert many == pytest.approx(0)
    said = onset_report.afterwards(CRITERIA["onset"], found, 0)
    assert said == "With plain batch norm, batches from 40 on: a factor of 1.0 (1.0 to 1.0)."


def row_of(text, name):
    """The cells of the last row with a name."""
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    return [row[1:] for row in rows if row and row[0] == name][-1]


def test_onset_page():
    found = onsets(1.0, 0.5)
    text = onset_report.page(CRITERIA["onset"], found, PICTURES)
    assert "- With plain batch norm: **" in text
    assert "\n- With ghosts of 10: **only the updates fit**" in text
    assert row_of(text, "16,000 over 1,000")[0] == "4.0 (4.0 to 4.0)"
    assert row_of(text, "16,000")[0] == "1,200"  # the noise scale, 300 * 4
    assert "10 of 10" in text


def distances(gains, lost=0.0):  # `lost` in points, or "wide": some seeds lose much
    """Accuracies of 90 % and more by arm; the distance of an epoch is its number."""

    def training(arm, draw):
        score = 0.9 + gains.get(arm.name, 0) / 100 + draw.normal(0, 0.0005)
        points = 2 * draw.integers(2) if lost == "wide" else lost
        rows = [
            {"epoch": e, "updates": 4 * e, "seconds": 3.0 + e, "val_accuracy": score + more}
            for e, more in ((1, -0.1), (3, points / 100), (4, 0.0))
        ]
        apart = 1.02 if arm.follows else 1.0
        return {
            "test_accuracy": score,
            "along": rows,
            "distance": [apart * e for e in (1.0, 2.0, 3.0, 4.0)],
            "steered": [0.5, 2.0] if arm.follows else [],
        }

    return content("distance", training)


def test_distance_page():
    found = distances({"SB": 4, "LB at SB's distance": 4, "SB at LB's distance": 0})
    text = distance_report.page(CRITERIA["distance"], found, PICTURES)
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert "| equivalent " in lines["LB at SB's distance vs. SB"]
    assert "| worse " in lines["SB at LB's distance vs. SB"]
    assert "4.1, target 4.0" in lines["SB at LB's distance"]
    assert "2.0%" in lines["SB at LB's distance"]
    assert "0.5 to 2" in lines["SB at LB's distance"]


@pytest.mark.parametrize(
    ("lost", "said"),
    [(0.0, "It does not overfit"), (2.0, "It overfits"), ("wide", "We cannot tell")],
)
def test_over_fitting_is_the_best_accuracy_over_the_last(lost, said):
    assert distance_report.along_part(CRITERIA["distance"], distances({}, lost)).startswith(said)


def test_seconds_leave_the_compilation_out():
    found = distances({})["trainings"][0]
    assert distance_report.seconds_at(found, 4) == 4  # 3 of the first epoch's 4 are not its own
    assert distance_report.off_target(found, found) == 0
    small_batch = distance_report.costs_table(distances({"SB": 1})).splitlines()[2]
    cells = [cell.strip() for cell in small_batch.strip("|").split("|")]
    # 81 % after an epoch, 91 % after three.
    assert cells == ["SB", "1.0", "3.0", "3.0", "-", "-", "-"]


def test_fashion_page():
    gains = {"SB": 3, "LB, tuned": 1, "+GBN, tuned": 1, "+RA, tuned": 3}
    found = content(
        "fashion",
        lambda arm, draw: {
            "test_accuracy": 0.9 + gains.get(arm.name, 0) / 100 + draw.normal(0, 5e-4)
        },
        data="fashion-mnist",
        sweeps={"SB": {"0.03": 90.0, "0.1": 91.0}},
        rates={"SB": 0.1, "LB": 0.1},
    )
    text = PLACES["fashion"].make(found, "fashion")
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert "| better " in lines["the gap with tuned rates: SB vs. LB, tuned"]
    assert "| equivalent " in lines["ghosts with tuned rates: +GBN vs. LB"]
    assert "equivalent on fashion-mnist (+0.00)" in text


@pytest.mark.parametrize("name", [name for name in CRITERIA if PLACES[name].pictures])
def test_pictures_have_as_many_panels_as_the_page_shows(name, tmp_path):
    found = {
        "ghost-size": lambda: ghost_sizes(lambda cell: 0.9),
        "onset": lambda: onsets(1.0, 0.5),
        "distance": lambda: distances({}),
    }[name]()
    for file, picture in PLACES[name].pictures.items():
        made = panels.write(tmp_path, file, lambda on, by=picture: by.draw(on, found))
        assert made == picture.panels
    page = PLACES[name].make(found, name)
    for path in tmp_path.glob("*.svg"):
        assert f"({name}/{path.name}#only-" in page
        assert "<svg" in path.read_text()
