"""The command line of `reproduce.py`."""

from pathlib import Path

from _options import COMMON, QUICK, base_parser, fraction, positive, rate

DISTRIBUTIONS = {"mirrored": "tensorflow", "data_parallel": "jax", "ddp": "torch"}


def parse(description):
    """Reads the command line; whatever cannot be run is refused here."""
    parser = _parser(description)
    options = parser.parse_args()
    named = [name for name in ("table1", "table2", "figure") if getattr(options, name)]
    if options.list or options.report:
        return options
    if len(named) != 1:
        parser.error("name one of --table1 ROW, --table2, --figure NAME; --list prints them")
    if options.estimate and options.figure:
        parser.error("--estimate is for --table1 ROW and --table2")
    options.table2 = "AlexNet" if options.table2 else None
    options.seeds = options.seeds or (QUICK if options.quick else COMMON)["seeds"]
    options.seeds = list(dict.fromkeys(options.seeds))
    name = next(getattr(options, name) for name in named)
    options.output = options.output or Path("results") / "papers" / f"{named[0]}-{name}".lower()
    return options


def _parser(description):
    parser = base_parser(description, "papers/NAME")
    what = parser.add_argument_group("what to make")
    what.add_argument("--list", action="store_true", help="print the names, and stop")
    what.add_argument("--table1", metavar="ROW", help="a row of Table 1, by the network's name")
    what.add_argument("--table2", action="store_true", help="the row of Table 2: AlexNet, ImageNet")
    what.add_argument("--figure", metavar="NAME", help="a figure")
    what.add_argument(
        "--estimate", action="store_true", help="print what a table's row costs in full, and stop"
    )
    what.add_argument(
        "--report", type=Path, metavar="DIR", help="make a folder's report again, from its JSON"
    )
    what.add_argument(
        "--variant",
        choices=("paper", "bigbatch"),
        default="paper",
        help="where the paper and its authors' code differ: which to follow (default: paper)",
    )
    data = parser.add_argument_group("data")
    data.add_argument("--dataset", help="digits, mnist1d, or a name in TensorFlow Datasets")
    data.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="MNIST's four idx files, plain or gz"
    )
    data.add_argument(
        "--hold-out",
        type=positive,
        default=0,
        metavar="N",
        help="set N training samples aside and score on them: the way to choose settings",
    )
    recipe = parser.add_argument_group("recipe (default: the paper's, or the demo's for a figure)")
    recipe.add_argument(
        "--scale",
        type=fraction,
        nargs="+",
        default=[1.0],
        metavar="SHARE",
        help="share of the data and of the epochs to use; two numbers give one to each",
    )
    recipe.add_argument(
        "--batch-sizes",
        type=positive,
        nargs="+",
        metavar="SAMPLES",
        help="a table's small and large batch; the batches that a figure compares",
    )
    recipe.add_argument("--virtual-batch", type=positive, metavar="SAMPLES")
    recipe.add_argument("--learning-rate", type=rate, metavar="RATE", help="the first rate")
    recipe.add_argument(
        "--stretch", type=rate, metavar="TIMES", help="of +RA (default: ratio of the batches)"
    )
    engine = parser.add_argument_group("machine")
    engine.add_argument(
        "--mixed-precision", choices=("bfloat16", "float16"), help="default: float32 throughout"
    )
    engine.add_argument(
        "--distribute",
        choices=tuple(DISTRIBUTIONS),
        help="over the devices of this machine: "
        + ", ".join(f"{name} on {backend}" for name, backend in DISTRIBUTIONS.items())
        + "; start ddp with torchrun",
    )
    return parser
