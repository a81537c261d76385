"""The examples' command lines: what all share, and the whole of `closing_the_gap.py`'s."""

import argparse
import importlib.util
import os
from pathlib import Path

BACKENDS = ("jax", "tensorflow", "torch")
# Sizes in samples, lengths in epochs. MNIST-1D's were chosen on 1000 held-out training samples with
# seeds 0 and 1 (`--hold-out 1000 --seeds 0 1`), which the default seeds keep clear of. The others
# are a place to start from, and nothing more.
RECIPES = {
    "mnist1d": {"small_batch": 40, "large_batch": 1000, "epochs": 150, "virtual_batch": 8},
    "digits": {"small_batch": 20, "large_batch": 300, "epochs": 100, "virtual_batch": 10},
    "images": {"small_batch": 50, "large_batch": 1000, "epochs": 40, "virtual_batch": 50},
}
COMMON = {"learning_rate": 0.05, "stretch": 3.0, "seeds": [10, 11, 12]}
QUICK = {"epochs": 4, "seeds": [10]}
IMAGE_EXAMPLES = 10_000  # of 50 000 or 60 000: minutes a training on two cores, not hours


def chosen_backend():
    """The backend from `--backend`, KERAS_BACKEND, or the first that is installed.

    On its own, because Keras reads its backend once, when it is imported.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--backend")
    backend = parser.parse_known_args()[0].backend or os.environ.get("KERAS_BACKEND")
    return backend or next((name for name in BACKENDS if importlib.util.find_spec(name)), "jax")


def parse_options(description):
    """Read the command line; what it leaves open comes from the data set's recipe."""
    options = _parser(description).parse_args()
    images = options.data_dir is not None or options.dataset not in RECIPES
    defaults = {
        **COMMON,
        **RECIPES["images" if images else options.dataset],
        "examples": IMAGE_EXAMPLES if images else None,
        **(QUICK if options.quick else {}),
    }
    for name, value in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.seeds = list(dict.fromkeys(options.seeds))
    options.output = options.output or Path("results") / "closing_the_gap"
    return options


def base_parser(description, name):
    """A parser of what every example takes; `name` is the example's, for its folder."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="a few epochs, one seed: seconds, and no evidence")
    add("--backend", choices=BACKENDS, help="default: KERAS_BACKEND, or the first installed")
    add(
        "--seeds",
        type=_natural,
        nargs="+",
        metavar="SEED",
        help="for the initial weights and the order of the samples; default: 10 11 12",
    )
    add("--output", type=Path, metavar="DIR", help=f"default: results/{name}")
    return parser


def _parser(description):
    parser = base_parser(description, "closing_the_gap")
    data = parser.add_argument_group("data")
    names = ("mnist1d", "digits", "mnist", "fashion_mnist", "cifar10")
    data.add_argument(
        "--dataset",
        choices=names,
        default="mnist1d",
        help="mnist1d (default) is generated, digits is scikit-learn's, "
        "the others come through tensorflow-datasets",
    )
    data.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="use MNIST's four idx files, plain or gz"
    )
    data.add_argument(
        "--examples",
        type=positive,
        metavar="N",
        help=f"training samples to use; default: all, and {IMAGE_EXAMPLES} of an image data set",
    )
    data.add_argument(
        "--hold-out",
        type=positive,
        default=0,
        metavar="N",
        help="set N training samples aside and score on them, not on the test set: "
        "the way to choose settings",
    )

    recipe = parser.add_argument_group("recipe (defaults depend on the data set)")
    for flag, kind, metavar, text in (
        ("--small-batch", positive, "SAMPLES", "the batch that the recipe was tuned at"),
        ("--large-batch", positive, "SAMPLES", "the batch to train at instead"),
        ("--epochs", _epochs, "EPOCHS", "length of the recipe; the rate drops at 1/2 and 3/4"),
        ("--learning-rate", rate, "RATE", "the small batch's first rate"),
        ("--virtual-batch", positive, "SAMPLES", "size of a ghost batch, for +GBN and +RA"),
        ("--stretch", rate, "TIMES", "what +RA multiplies the epochs by; 1 changes nothing"),
    ):
        recipe.add_argument(flag, type=kind, metavar=metavar, help=text)
    return parser


def _natural(text):
    return _number(int, text, 0, "a whole number, 0 or more")


def positive(text):
    """A number of samples."""
    return _number(int, text, 1, "a whole number, 1 or more")


def _epochs(text):
    return _number(int, text, 4, "a whole number, 4 or more: the rate has three levels")


def rate(text):
    """A learning rate, or a factor."""
    return _number(float, text, 1e-9, "a positive number")


def fraction(text):
    """A share, above 0 and at most 1."""
    value = rate(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 1")
    return value


def _number(kind, text, smallest, wanted):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not smallest <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value
