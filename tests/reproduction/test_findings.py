"""What the seeds say of a part of a claim: by hand, with three verdicts, ratios and gaps in it."""

import math

import pytest

from reproduction.findings import NOT, REPRODUCED, UNKNOWN, Finding, Part, outcome

# Student's t of one degree of freedom is Cauchy's distribution: its quantile is a tangent. The
# half of the interval of two seeds is half of their distance times this.
REACH = math.tan(math.pi * 0.475)


def part(above=-math.inf, below=math.inf, **more):
    return Part("a name", "A claim", "points", above, below, **more)


def test_effect_and_interval_of_two_seeds_by_hand():
    found = Finding(part(above=0), (1.0, 3.0))
    assert (found.count, found.effect) == (2, 2)
    assert found.interval == pytest.approx((2 - REACH, 2 + REACH))


def test_a_ratio_is_judged_by_its_logarithm():
    found = Finding(part(above=1, log=True), (2.0, 8.0))
    assert found.effect == pytest.approx(4)
    ends = 4 * 2**-REACH, 4 * 2**REACH
    assert found.interval == pytest.approx(ends)
    # Turned upside down it says the same.
    other = Finding(part(below=1, log=True), (1 / 2, 1 / 8))
    assert other.interval == pytest.approx((1 / ends[1], 1 / ends[0]))
    assert other.verdict == found.verdict


# The interval of these is 1 - 0.01 * REACH to 1 + 0.01 * REACH, which is 0.873 to 1.127.
ABOUT_ONE = (0.99, 1.01)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (part(above=0.8), REPRODUCED),
        (part(above=0.9), UNKNOWN),
        (part(above=1.1), UNKNOWN),
        (part(above=1.2), NOT),
        (part(below=1.2), REPRODUCED),
        (part(below=1.1), UNKNOWN),
        (part(below=0.9), UNKNOWN),
        (part(below=0.8), NOT),
        (part(0.8, 1.2), REPRODUCED),
        (part(0.8, 1.1), UNKNOWN),
        (part(0.9, 1.2), UNKNOWN),
        (part(0.95, 1.05), UNKNOWN),  # a range inside of the interval
        (part(1.2, 1.3), NOT),
        (part(0.7, 0.8), NOT),
        (part(0.8, 1.2, log=True), REPRODUCED),
    ],
)
def test_the_interval_lies_inside_outside_or_on_the_border(given, verdict):
    assert Finding(given, ABOUT_ONE).verdict == verdict


def test_more_noise_makes_no_verdict_easier():
    for above, verdict in ((0, REPRODUCED), (2, NOT)):
        assert Finding(part(above=above), (0.9, 1.1, 1.0)).verdict == verdict
        assert Finding(part(above=above), (-9.0, 11.0, 1.0)).verdict == UNKNOWN


@pytest.mark.parametrize("log", [False, True])
def test_one_seed_tells_nothing(log):
    found = Finding(part(above=0, log=log), (5.0,))
    assert found.effect == pytest.approx(5)
    assert all(map(math.isnan, found.interval))
    assert found.verdict == UNKNOWN


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_a_number_that_is_none_tells_nothing(bad):
    found = Finding(part(above=0), (5.0, bad, 5.1))
    assert math.isnan(found.effect)
    assert all(map(math.isnan, found.interval))
    assert found.verdict == UNKNOWN


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_a_ratio_without_a_logarithm_tells_nothing(bad):
    assert Finding(part(above=0, log=True), (5.0, bad, 5.1)).verdict == UNKNOWN
    assert not math.isnan(Finding(part(above=0), (5.0, bad, 5.1)).effect)


def test_what_could_not_have_failed_tells_nothing():
    assert Finding(part(above=0), (5.0, 5.1), "every accuracy is 100 %").verdict == UNKNOWN


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (part(above=0), "above 0"),
        (part(below=0.5), "below 0.5"),
        (part(0.8, 1.25), "0.8 to 1.25"),
    ],
)
def test_criterion_in_words(given, text):
    assert given.criterion == text


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ((5.0, 5.0), "Reproduced"),
        ((5.0, -5.0), "Partly"),
        ((5.0, math.nan), "Partly"),
        ((-5.0, -5.0), "Not reproduced"),
        ((-5.0, math.nan), "Cannot tell"),
        ((math.nan, math.nan), "Cannot tell"),
    ],
)
def test_a_claim_is_its_parts(numbers, word):
    found = [Finding(part(above=0), (number, number + 0.1, number)) for number in numbers]
    assert outcome(found) == word
    # A control of ours is none of them.
    controls = [Finding(part(above=0, own=True), (n, n + 0.1, n)) for n in (5.0, -5.0)]
    assert outcome([*found, *controls]) == word
