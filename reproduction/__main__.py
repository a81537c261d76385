"""Make what the papers report anew, on your hardware.

    python -m reproduction demo                  close the generalization gap: five arms, one table
    python -m reproduction controls              the five arms with their controls
    python -m reproduction collapse              what LARS does at a constant rate, for long
    python -m reproduction minima                are the minima of a small batch flatter?
    python -m reproduction moments               which rule keeps an optimizer's noisy trajectory?
    python -m reproduction question onset        a question that the papers leave open
    python -m reproduction list                  the names of tables' rows and of figures
    python -m reproduction table1 F1 --dataset fashion_mnist --scale 0.2
    python -m reproduction table2
    python -m reproduction figure hoffer-2 --seeds 10 11 12
    python -m reproduction report FOLDER         a folder's report again, from its JSON alone
    python -m reproduction again FOLDER          one of its trainings again, held against its JSON

Tables train the paper's network by the paper's recipe, on its data set unless `--dataset` or
`--data-dir` names another. Figures take the demo's network and recipe, on MNIST-1D, which needs no
download. `COMMAND --help` prints a command's options.

Each finished training is a JSON file: the same command goes on after Ctrl-C or a crash.
"""

import argparse
import importlib
import importlib.util
import os
import shlex
import sys
from pathlib import Path

BACKENDS = ("jax", "tensorflow", "torch")
# By the command: the module that runs it, and what it makes.
COMMANDS = {
    "demo": ("demo", "the five arms of the method on one data set: Table 1's row, measured here"),
    "controls": ("controls", "the five arms with their controls; or the three moving statistics"),
    "collapse": ("collapse", "what LARS does at a constant rate, for long"),
    "minima": ("minima", "sharpness and more, where the demo's trainings end"),
    "moments": ("moments", "which rule keeps an optimizer's noisy trajectory at a larger batch"),
    "recipes": ("moves.command", "whole recipes of AdamW and SGD moved to a large batch"),
    "question": ("questions.command", "what the papers leave open, by criteria that are older"),
    "table1": ("experiments", "a row of Table 1 of Hoffer et al."),
    "table2": ("experiments", "a row of Table 2 of Hoffer et al.: AlexNet on ImageNet"),
    "figure": ("experiments", "a figure of one of the papers"),
    "list": ("experiments", "print the names of tables' rows and of figures"),
    "again": ("again", "one training of each published result again, held against it"),
    "report": ("experiments", "make a folder's report and picture again, from its JSON alone"),
}


def main(words=None):
    """Run a command; `words` are those of the command line."""
    words = sys.argv[1:] if words is None else [str(word) for word in words]
    options = parse(words)
    # Keras reads it once, when it is imported, which nothing above does.
    os.environ["KERAS_BACKEND"] = options.backend or _default_backend()
    importlib.import_module(f"reproduction.{COMMANDS[options.command][0]}").main(options)


def parse(words):
    """Read the command line, and refuse what no data could make right."""
    parser = argparse.ArgumentParser(
        prog="python -m reproduction",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(backend=None)
    added = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands = {
        name: added.add_parser(name, help=text, description=text)
        for name, (_, text) in COMMANDS.items()
    }
    makers = (
        "demo",
        "controls",
        "collapse",
        "minima",
        "moments",
        "recipes",
        "question",
        "table1",
        "table2",
        "figure",
    )
    for name in makers:
        _add_common(commands[name])
    _add_demo(commands["demo"])
    for name in ("collapse", "minima"):
        _add_draw(commands[name], "mnist1d")
    _add(
        commands["controls"],
        ("--criteria", ("controls", "statistics"), None, "default: controls"),
    )
    commands["controls"].set_defaults(criteria="controls")
    _add(
        commands["recipes"],
        ("--dataset", ("mnist1d", "digits"), None, "default: mnist1d"),
        ("--groups", str, "GROUP...", "of the criteria's arms; default: all"),
    )
    commands["recipes"].set_defaults(dataset="mnist1d")
    names = ("ghost-size", "onset", "distance", "fashion", "remedies", "mismatch")
    commands["question"].add_argument("question", choices=names)
    _add(commands["question"], ("--data-dir", Path, "DIR", "for fashion: its four idx files"))
    commands["table1"].add_argument("name", metavar="ROW", help="the network's name")
    commands["table2"].add_argument("name", metavar="ROW", nargs="?", default="AlexNet")
    commands["figure"].add_argument("name", metavar="NAME")
    for name in ("table1", "table2", "figure"):
        _add_experiment(commands[name], table=name != "figure")
    commands["again"].add_argument("folders", metavar="FOLDER", type=Path, nargs="+")
    commands["report"].add_argument("folder", metavar="FOLDER", type=Path)
    options = parser.parse_args(words)
    if getattr(options, "seeds", None):
        options.seeds = list(dict.fromkeys(options.seeds))
    options.as_typed = _as_typed(words)
    return options


def _add(parser, *options):
    """Options by flag, type, metavar and help; one without a type is a switch, a tuple a choice."""
    for flag, kind, metavar, text in options:
        if kind is None:
            parser.add_argument(flag, action="store_true", help=text)
        elif isinstance(kind, tuple):
            parser.add_argument(flag, choices=kind, help=text)
        else:
            many = {"nargs": "+"} if metavar.endswith("...") else {}
            parser.add_argument(
                flag, type=kind, metavar=metavar.removesuffix("..."), help=text, **many
            )


def _add_common(parser):
    _add(
        parser,
        ("--quick", None, None, "a few epochs, one seed: seconds, and no evidence"),
        ("--backend", BACKENDS, None, "default: KERAS_BACKEND, or the first installed"),
        ("--seeds", _natural, "SEED...", "of initial weights and order; default: 10 and on"),
        ("--output", Path, "DIR", "default: a folder in results"),
    )


def _add_demo(parser):
    names = ("mnist1d", "digits", "mnist", "fashion_mnist", "cifar10")
    text = "mnist1d (default) is generated, digits is scikit-learn's, the others are downloaded"
    _add(
        parser.add_argument_group("data"),
        ("--dataset", names, None, text),
        ("--data-dir", Path, "DIR", "MNIST's four idx files, plain or gz"),
        ("--examples", _positive, "N", "training samples to use; default: all, 10000 of images"),
        ("--hold-out", _positive, "N", "score on N training samples, to choose settings"),
    )
    _add(
        parser.add_argument_group("recipe (defaults depend on the data set)"),
        ("--small-batch", _positive, "SAMPLES", "the batch that the recipe was tuned at"),
        ("--large-batch", _positive, "SAMPLES", "the batch to train at instead"),
        ("--epochs", _epochs, "EPOCHS", "length of the recipe; the rate drops at 1/2 and 3/4"),
        ("--learning-rate", _rate, "RATE", "the small batch's first rate"),
        ("--virtual-batch", _positive, "SAMPLES", "size of a ghost batch, for +GBN and +RA"),
        ("--stretch", _rate, "TIMES", "what +RA multiplies the epochs by; 1 changes nothing"),
    )
    _add_draw(parser, "digits and mnist1d")
    parser.set_defaults(dataset="mnist1d", hold_out=0)


def _add_draw(parser, of):
    _add(parser, ("--draw", _natural, "SEED", f"test samples of another seed; of {of}"))


def _add_experiment(parser, table):
    if table:
        text = "where the paper and its authors' code differ: which to follow (default: paper)"
        _add(
            parser,
            ("--variant", ("paper", "bigbatch"), None, text),
            ("--estimate", None, None, "print what the row costs in full, and stop"),
        )
    _add(
        parser.add_argument_group("data"),
        ("--dataset", str, "NAME", "digits, mnist1d, or a name in TensorFlow Datasets"),
        ("--data-dir", Path, "DIR", "MNIST's four idx files, plain or gz"),
        ("--hold-out", _positive, "N", "score on N training samples, to choose settings"),
    )
    _add_draw(parser, "digits and mnist1d")
    batches = "the small and the large batch" if table else "the batches to compare"
    share = "share of the data and of the epochs to use; two numbers give one to each"
    _add(
        parser.add_argument_group(f"recipe (default: {'the paper' if table else 'the demo'}'s)"),
        ("--scale", _fraction, "SHARE...", share),
        ("--batch-sizes", _positive, "SAMPLES...", batches),
        ("--virtual-batch", _positive, "SAMPLES", "size of a ghost batch"),
        ("--learning-rate", _rate, "RATE", "the first rate"),
        ("--stretch", _rate, "TIMES", "of +RA; a table's default is the ratio of the batches"),
    )
    text = "over the devices of this machine, on TensorFlow, JAX, torch; start ddp with torchrun"
    _add(
        parser.add_argument_group("machine"),
        ("--mixed-precision", ("bfloat16", "float16"), None, "default: float32 throughout"),
        ("--distribute", ("mirrored", "data_parallel", "ddp"), None, text),
    )
    parser.set_defaults(hold_out=0, scale=[1.0], variant="paper", estimate=False)


def _natural(text):
    return _number(int, text, 0, "a whole number, 0 or more")


def _positive(text):
    return _number(int, text, 1, "a whole number, 1 or more")


def _epochs(text):
    return _number(int, text, 4, "a whole number, 4 or more: the rate has three levels")


def _rate(text):
    return _number(float, text, 1e-9, "a positive number")


def _fraction(text):
    return _number(float, text, 1e-9, "above 0 and at most 1", largest=1)


def _number(kind, text, smallest, wanted, largest=sys.float_info.max):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not smallest <= value <= largest:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def _default_backend():
    """The backend from KERAS_BACKEND, or the first that is installed."""
    installed = (name for name in BACKENDS if importlib.util.find_spec(name))
    return os.environ.get("KERAS_BACKEND") or next(installed, "jax")


def _as_typed(words):
    """The command that makes this, less where it writes, which decides nothing."""
    if "--output" in words:
        place = words.index("--output")
        words = words[:place] + words[place + 2 :]
    return shlex.join(["python", "-m", "reproduction", *words])


if __name__ == "__main__":
    main()
