"""What pages say of results that are shown in a part of a page."""

import keras
import pytest

from reproduction import collapse, demo_report, minima_report, panels
from reproduction.places import PLACES
from scripts import evidence

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="text from numbers, the same on every backend"
)
MADE_WITH = {
    "hardware": {"cpu": "a CPU", "cores": 1, "accelerator": None},
    "versions": {"keras": "3", "backend": "jax", "jax": "1"},
    "sources": {"keras_bigbatch": "0123456789abcdef"},
    "command": "python -m reproduction demo",
}


def content(trainings, **more):
    seeds = list(dict.fromkeys(training["seed"] for training in trainings))
    return {**MADE_WITH, "trainings": trainings, "seeds": seeds, **more}


def five_arms(**scores):
    """Two seeds an arm, a tenth of a point above and below its score in percent."""
    costs = {"train_accuracy": 1.0, "batch": 40, "updates": 600, "samples": 24_000}
    return [
        {"arm": arm, "seed": seed, "test_accuracy": (score + side) / 100, "scored": 1000}
        | costs
        | {"seconds": 2.0}
        for arm, score in scores.items()
        for seed, side in ((10, -0.1), (11, 0.1))
    ]


def test_proof_has_a_row_an_arm_and_what_is_left():
    more = {"+RA, ghosts of 40": 95, "SB, ghosts of 8": 96.25}
    trainings = five_arms(SB=96, LB=92, **{"+LR": 92.5, "+GBN": 95, "+RA": 95.5}, **more)
    text = demo_report.proof(content(trainings, scored_on="1,000 test samples"))
    # Student's interval of two values 0.2 apart: 12.706 * 0.1414 / sqrt(2).
    assert "| SB   | 40    | **96.00 ± 1.27** | 600     | 24,000  |" in text
    assert text.count("\n| ") == 5
    assert "mean over 2 seeds" in text
    assert "on 1,000 test samples that" in text
    assert "of any arm is 100.00 %" in text
    # The seeds' differences are all the same.
    assert "is 4.00 (4.00 to 4.00) points behind" in text
    assert "together, 0.50 (0.50 to 0.50) remain" in text
    assert "rate adds 0.50 (" in text
    assert "ghost batches 2.50 (" in text
    assert "longer regime 0.50 (" in text
    assert "small batch too, by 0.25 (" in text
    assert "as large as the small batch, 1.00 (" in text


def test_headline_says_what_is_lost_and_left():
    trainings = five_arms(SB=96, LB=92, **{"+RA": 95.5})
    text = demo_report.headline(content(trainings))
    assert "a batch 1 times as large" in text
    assert "loses **4.0** points (4.0 to 4.0)" in text
    assert "reduce this to **0.5** points (0.5 to 0.5)" in text


def test_digits_say_how_far_the_small_batch_is_ahead():
    trainings = five_arms(SB=98, LB=97.5, **{"+LR": 97, "+GBN": 98, "+RA": 98.25})
    text = demo_report.digits(content(trainings))
    assert "SB is 0.50 (0.50 to 0.50) points better than LB" in text
    assert "-0.25 (-0.25 to -0.25) better than +RA" in text
    assert "10 runs, 20 s in total, on 1 core of a CPU" in text
    assert "seeds 10, 11" in text


def test_collapse_has_a_row_an_arm_and_the_norm_at_the_end():
    looks = [
        {"updates": 40, "test_accuracy": 60, "lowest": 50, "highest": 70, "kernel_norm": 3.0},
        {"updates": 1600, "test_accuracy": 10, "lowest": 9, "highest": 11, "kernel_norm": 1.07e6},
    ]
    trainings = [{"arm": "neither", "seed": 10, "seconds": 3.0}]
    text = collapse.page(content(trainings, summary={"neither": looks}), {})
    assert "| 40 updates" in text
    assert "1,600 updates" in text
    cells = [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]
    assert cells == ["neither", "60.0 (50.0 to 70.0)", "10.0 (9.0 to 11.0)", "1.07e+06"]


def test_every_folder_of_results_is_shown_somewhere():
    known = {name for name, _, _ in evidence.published()} | set(PLACES) | {"recipes"}
    assert {path.name for path in evidence.PAGES.iterdir() if path.is_dir()} <= known


DRAWN = [name for name in PLACES if PLACES[name].pictures and (evidence.PAGES / name).exists()]


@pytest.mark.parametrize("name", DRAWN)
def test_published_pictures_are_all_on_their_page(name):
    pictures = sorted((evidence.PAGES / name).glob("*.svg"))
    shown = (evidence.ROOT / PLACES[name].page).read_text()
    wanted = sum(2 * picture.panels for picture in PLACES[name].pictures.values())
    assert len(pictures) == wanted
    assert all(f"{name}/{picture.name}#only-" in shown for picture in pictures)


def test_minima_are_drawn_in_three_panels(tmp_path):
    trainings = [
        {"arm": arm, "seed": 10, "test_accuracy": 0.9, "sharpness": 1.0, "top_eigenvalue": 2.0}
        for arm in ("SB", "LB")
    ]
    path = {"alphas": [0.0, 1.0], "interpolated": [1.0, 2.0], "estimated": [1.0, 2.0]}
    drawn = panels.write(
        tmp_path,
        "figure",
        lambda on: minima_report.draw(on, trainings, {"10": path}, "10 samples"),
    )
    assert drawn == PLACES["minima"].pictures["figure"].panels
