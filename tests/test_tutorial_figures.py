"""The tutorials' figures: drawn once, in the colors of both themes."""

import io

import keras
import pytest

from reproduction.plotting import THEMES, settings
from scripts import tutorial_figures

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="pictures, the same on every backend"
)


@pytest.fixture
def picture():
    """What a kernel draws."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    text = io.StringIO()
    with mpl.rc_context(settings(*tutorial_figures.STAND_INS) | tutorial_figures.STYLE):
        figure = Figure()
        axes = figure.subplots()
        axes.plot([1, 2], "o-", label="first")
        axes.legend()
        figure.savefig(text, format="svg")
    return text.getvalue()


def test_each_file_has_the_colors_of_its_theme(picture, tmp_path):
    tutorial_figures.write(tmp_path, "name-1", picture)
    assert all(color in picture for color in tutorial_figures.STAND_INS)
    assert len(list(tmp_path.iterdir())) == len(THEMES)
    for theme, colors in THEMES.items():
        text = (tmp_path / f"name-1-{theme}.svg").read_text()
        assert all(color in text for color in colors)
        assert not any(color in text for color in tutorial_figures.STAND_INS)
        others = {color for name in THEMES if name != theme for color in THEMES[name]}
        assert not any(f"stroke: {color}" in text for color in others)


def test_the_kernel_begins_with_the_settings():
    style = tutorial_figures.setup().splitlines()[-1]
    compile(style, "setup", "exec")
    assert all(color in style for color in tutorial_figures.STAND_INS)


def test_the_page_shows_a_figure_in_the_readers_theme():
    lines = tutorial_figures.markdown("name-1", "What it shows").split("\n")
    assert lines[1] == "![What it shows](name-1-dark.svg#only-dark)"
    assert len(lines) == len(THEMES)
