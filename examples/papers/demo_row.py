"""The row of `closing_the_gap.py`, beside the papers': a small network, and data that is drawn."""

import closing_the_gap
from _options import COMMON, RECIPES

from papers.rows import ARMS, Row

_RECIPE = {**COMMON, **RECIPES["mnist1d"]}
_RATE, _EPOCHS = _RECIPE["learning_rate"], _RECIPE["epochs"]

DEMO = Row(
    name="demo",
    source="examples/closing_the_gap.py",
    network=closing_the_gap.network,
    dataset="mnist1d",
    examples=4000,
    shape=(40, 1),
    classes=10,
    small_batch=_RECIPE["small_batch"],
    large_batch=_RECIPE["large_batch"],
    virtual_batch=_RECIPE["virtual_batch"],
    stretch=_RECIPE["stretch"],
    epochs=_EPOCHS,
    learning_rate={0: _RATE, _EPOCHS // 2: _RATE / 10, _EPOCHS * 3 // 4: _RATE / 100},
    clip_updates=None,
    weight_decay=0.0,
    augmentation="none",
    paper=dict.fromkeys(ARMS),
)
