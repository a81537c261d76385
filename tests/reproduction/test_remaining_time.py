"""How long the trainings that are left will take."""

from reproduction.remaining_time import RemainingTime
from reproduction.runs import Case


def test_arms_that_were_made_tell_their_own_time_and_the_others():
    short, long = Case("short", {}, 10, None), Case("long", {}, 40, None)
    remaining = RemainingTime([short, long], seeds=3)
    remaining.made(short, 20.0)
    # Two of 20 s; three of four times as many epochs.
    assert remaining.seconds == 2 * 20 + 3 * 80
    assert str(remaining) == "5 min left"
    remaining.made(long, 30.0)
    remaining.made(short, 10.0)
    assert remaining.seconds == 15 + 2 * 30
    assert str(remaining) == "75 s left"
    for case in (short, long, long):
        remaining.made(case, 1.0)
    assert str(remaining) == ""
