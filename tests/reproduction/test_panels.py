"""Pictures for the site: a file a panel and a theme."""

import keras
import pytest

from reproduction import panels, plotting
from reproduction.plotting import style, tidy

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="pictures, the same on every backend"
)


def two(picture):
    for place, axes in enumerate(picture.subplots(1, 2, sharey=True)):
        axes.plot([0, 1], [0, 1 + place], **style(0))
        tidy(axes)


def test_a_file_a_panel_and_theme_that_is_the_same_each_time(tmp_path):
    assert panels.write(tmp_path, "figure", two) == 2
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(first) == {f"figure-{i}-{theme}.svg" for i in (1, 2) for theme in plotting.THEMES}
    panels.write(tmp_path, "figure", two)
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_the_first_colour_is_that_of_the_theme(tmp_path):
    panels.write(tmp_path, "figure", two)
    for theme, (ink, grid, first) in plotting.THEMES.items():
        text = (tmp_path / f"figure-1-{theme}.svg").read_text()
        assert all(color in text for color in (ink, grid, first))
        others = [color for name, (*_, color) in plotting.THEMES.items() if name != theme]
        assert not any(f"stroke: {color}" in text for color in others)


def test_panels_share_their_y_axis():
    made = panels.Panels()
    two(made)
    made.finish()
    left, right = (figure.axes[0].get_ylim() for figure in made.figures)
    assert left == right
    assert right[1] > 2


def test_one_panel_is_not_a_list():
    made = panels.Panels()
    assert made.subplots() is made.figures[0].axes[0]
    assert made.add_subplot(1, 2, 2) is made.figures[1].axes[0]


def test_the_page_shows_each_in_the_readers_theme():
    text = panels.markdown("hoffer-1", "figure", 2, "Errors")
    assert text.splitlines()[1] == "![Errors, 1 of 2](hoffer-1/figure-1-dark.svg#only-dark)"
    assert text.count("#only-light") == 2
