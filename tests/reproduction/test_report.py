"""From trainings to the demo's table, sentence, picture and files."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from reproduction import demo, plotting, report, statistics
from tests.reproduction.helpers import PNG

ARMS = ["SB", "LB", "+LR", "+GBN", "+RA"]


def results(accuracies, train=1.0):
    """Trainings with these test accuracies in percent, by arm."""
    return [
        {
            "arm": arm,
            "seed": seed,
            "test_accuracy": accuracy / 100,
            "train_accuracy": train,
            "updates": 10 * place,
            "samples": 1000 * place,
            "seconds": float(place + seed),
            "weight_distance": {"update": [1, 10], "distance": [0.5, 1.0 + seed]},
        }
        for place, (arm, column) in enumerate(zip(ARMS, accuracies, strict=True), 1)
        for seed, accuracy in enumerate(column)
    ]


CLOSED = [(96.0, 95.8, 96.2), (91.0, 91.5, 92.0), (91.6, 92.0, 92.4), (95, 95.2, 95.4), (96,) * 3]


def test_table_has_means_and_sample_deviations():
    summary = statistics.summarise(results(CLOSED))
    assert summary["LB"]["test_accuracy"] == pytest.approx(91.5)
    assert summary["LB"]["test_deviation"] == pytest.approx(0.5)
    assert summary["LB"]["seconds"] == pytest.approx(3)
    text = demo.table(summary, "a title", "held-out")
    assert text.startswith("a title\n")
    heading, *rows = [row.split() for row in text.splitlines()[3:] if "---" not in row]
    assert " ".join(heading) == "held-out accuracy, % training, % updates samples seconds"
    assert [row[0] for row in rows] == ARMS
    assert rows[1] == ["LB", "91.50", "±", "0.50", "100.00", "20", "2,000", "3.0"]
    assert rows[4][-4:] == ["100.00", "50", "5,000", "6.0"]
    assert report.QUICK not in text
    assert report.QUICK in demo.table(summary, "a title", quick=True)
    assert "±" not in demo.table(statistics.summarise(results([[90]] * 5)), "").replace(
        "mean ±", ""
    )


def test_difference_is_paired_and_its_noise_has_two_parts():
    points, noise = statistics.difference(results(CLOSED), "SB", "LB", 10_000)
    assert points == pytest.approx(4.5)
    pairs = np.array([5.0, 4.3, 4.2])
    seeds, test_set = pairs.var(ddof=1) / 3, 100**2 * 0.96 * 0.04 / 10_000
    freedom = 2 * (seeds + test_set) ** 2 / seeds**2
    reach = stats.t.ppf(0.975, freedom)
    assert noise == pytest.approx(reach * np.sqrt(seeds + test_set))
    # On a test set without end it is Student's interval.
    _, of_seeds = statistics.difference(results(CLOSED), "SB", "LB", 10**12)
    low, _ = stats.ttest_1samp(pairs, 0).confidence_interval()
    assert of_seeds == pytest.approx(4.5 - low, rel=1e-4)
    # One seed has the test set's part only: no tails but the normal distribution's.
    _, alone = statistics.difference(results([[96], [92]] * 2 + [[96]]), "SB", "LB", 10_000)
    assert alone == pytest.approx(stats.norm.ppf(0.975) * np.sqrt(test_set))
    # The order of the trainings is of no account, their seeds are.
    assert statistics.difference(results(CLOSED)[::-1], "SB", "LB", 10_000)[0] == points


@pytest.mark.parametrize(
    ("accuracies", "sentence"),
    [
        (
            CLOSED,
            "The scaled rate makes no clear difference (+0.5), ghost batch normalization gains "
            "3.2, the adapted regime gains 0.8: of a gap of 4.5 points 0.0 (-0.5 to 0.5) are left.",
        ),
        (
            [(96,) * 3, (92,) * 3, (94,) * 3, (94.1,) * 3, (94,) * 3],
            "The scaled rate gains 2.0, ghost batch normalization makes no clear difference "
            "(+0.1), the adapted regime makes no clear difference (-0.1): of a gap of 4.0 points "
            "2.0 (1.6 to 2.4) are left.",
        ),
        (
            [(96,) * 3, (92,) * 3, (93,) * 3, (90,) * 3, (91,) * 3],
            "The scaled rate gains 1.0, ghost batch normalization loses 3.0, the adapted regime "
            "gains 1.0: of a gap of 4.0 points 5.0 (4.6 to 5.4) are left.",
        ),
        (
            [(94,) * 3, (92,) * 3, (93,) * 3, (95,) * 3, (96,) * 3],
            "The scaled rate gains 1.0, ghost batch normalization gains 2.0, the adapted regime "
            "gains 1.0: of a gap of 2.0 points -2.0 (-2.5 to -1.5) are left.",
        ),
        (
            [(96,) * 3, (95.9,) * 3, (94,) * 3, (94,) * 3, (94,) * 3],
            "No clear gap here: the large batch is within noise of the small one (-0.1), so there "
            "is nothing to close.",
        ),
        (
            [(93,) * 3, (95,) * 3, (94,) * 3, (94,) * 3, (94,) * 3],
            "No gap here: the large batch is 2.0 points better than the small one, so there is "
            "nothing to close.",
        ),
    ],
)
def test_verdict_says_what_the_numbers_say(accuracies, sentence):
    assert demo.verdict(results(accuracies), 10_000) == sentence


def test_verdict_has_its_caveats():
    poor = demo.verdict(results(CLOSED, train=0.9), 10_000)
    assert (
        "not every arm fits the training set (lowest training accuracy over the seeds: "
        "SB: 90.0 %; LB: 90.0 %; +LR" in poor
    )
    single = demo.verdict(results([column[:1] for column in CLOSED]), 10_000)
    assert single.endswith("; one seed shows no spread.")
    # What is a gap on 10 000 samples is none on 50.
    assert demo.verdict(results(CLOSED), 50).startswith("No clear gap here")


def test_picture_is_written_for_several_seeds_and_for_one(tmp_path):
    for count in (1, 3):
        path = tmp_path / f"{count}.png"
        trainings = results([column[:count] for column in CLOSED])
        with plotting.written(path, "a title") as picture:
            plotting.draw_arms(picture, trainings, "10 test samples")
        assert path.read_bytes().startswith(PNG)


def test_a_training_that_diverged_is_written_as_json(tmp_path):
    trainings = results(CLOSED)
    trainings[3]["train_loss"] = float("nan")
    report.write(tmp_path, trainings, {"title": "a title"})

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert content["trainings"][3]["train_loss"] is None
    with (tmp_path / "trainings.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(trainings)
