"""The demo's recipes, which the figures take too, and its row beside the papers'."""

import keras_bigbatch as kbb
from reproduction.networks.small import network
from reproduction.recipes.rows import ARMS, Row

# Sizes in samples, lengths in epochs. MNIST-1D's were chosen on 1000 held-out training samples with
# seeds 0 and 1 (`--hold-out 1000 --seeds 0 1`), which the default seeds keep clear of. The others
# are a place to start from, and nothing more.
RECIPES = {
    "mnist1d": {"small_batch": 40, "large_batch": 1000, "epochs": 150, "virtual_batch": 8},
    "digits": {"small_batch": 20, "large_batch": 300, "epochs": 100, "virtual_batch": 10},
    "images": {"small_batch": 50, "large_batch": 1000, "epochs": 40, "virtual_batch": 50},
}
LEARNING_RATE, STRETCH, SEEDS = 0.05, 3.0, [10, 11, 12]
QUICK_EPOCHS, QUICK_SEEDS = 4, [10]
IMAGE_EXAMPLES = 10_000  # of 50 000 or 60 000: minutes a training on two cores, not hours


def recipe_for(dataset, data_dir=None, quick=False):
    """The recipe for a data set, by the names of the command line's options."""
    images = data_dir is not None or dataset not in RECIPES
    recipe = {
        **RECIPES["images" if images else dataset],
        "learning_rate": LEARNING_RATE,
        "stretch": STRETCH,
        "seeds": SEEDS,
        "examples": IMAGE_EXAMPLES if images else None,
    }
    return recipe | ({"epochs": QUICK_EPOCHS, "seeds": QUICK_SEEDS} if quick else {})


def falling_rates(first, epochs):
    """Rates by the epoch from which they hold: a tenth from 1/2 on, a hundredth from 3/4."""
    return {0: first, epochs // 2: first / 10, epochs * 3 // 4: first / 100}


def small_batch_regime(batch, epochs, examples, learning_rate):
    """The recipe that was tuned at the small batch."""
    return kbb.Regime(
        batch=batch,
        epochs=epochs,
        examples=examples,
        learning_rate=falling_rates(learning_rate, epochs),
    )


_MNIST1D = RECIPES["mnist1d"]
DEMO = Row(
    name="demo",
    source="reproduction/demo.py",
    network=network,
    dataset="mnist1d",
    examples=4000,
    shape=(40, 1),
    classes=10,
    **_MNIST1D,
    stretch=STRETCH,
    learning_rate=falling_rates(LEARNING_RATE, _MNIST1D["epochs"]),
    clip_updates=None,
    weight_decay=0.0,
    augmentation="none",
    paper=dict.fromkeys(ARMS),
)
