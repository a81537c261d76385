"""Tables 1 and 2 of Hoffer et al. (2017), a row at a time: what was trained, how, and the result.

Each row comes in two variants, as the paper and its code do not agree:

    "paper"     what the text says; where it is silent, what its code or the cited work does
    "bigbatch"  what the code does (https://github.com/eladhoffer/bigBatch)

One thing that bigBatch does is in neither: its utils.py, `adjust_optimizer`, makes a new SGD at the
start of each epoch, without the momentum of the old one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import keras_bigbatch as kbb
from reproduction.networks import plain as plain_networks
from reproduction.networks import residual as residual_networks

ARMS = ("SB", "LB", "+LR", "+GBN", "+RA")
VARIANTS = ("paper", "bigbatch")
FEWEST_EPOCHS = 4  # of a scaled regime: most have four rates


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table. Sizes are in samples, lengths in epochs, accuracies in %."""

    name: str
    source: str
    network: Callable  # takes (shape, classes, norm), gives a model
    dataset: str  # its name in TensorFlow Datasets
    examples: int  # training samples in the whole data set
    shape: tuple[int, ...]  # of an image, after augmentation
    classes: int
    small_batch: int = 128  # section 6, "Experimental setting", as the next two
    large_batch: int = 4096
    virtual_batch: int = 128
    # By arm, what the large batch is compared with: the small one (section 6), if not here.
    base_batch: dict[str, int] = field(default_factory=dict)
    stretch: float | None = None  # of epochs, in +RA. None: the same number of updates (section 6)
    epochs: int  # of the small-batch recipe
    learning_rate: dict[int, float]  # {epoch: rate}
    momentum: float = 0.9
    global_clipnorm: float = 5.0  # the paper has no threshold; both scripts of bigBatch have this
    clip_updates: int | None = 100  # section 4: "the first few"; 100 is our choice; None is all
    # Factor of the weights in the gradient, before the momentum, as in PyTorch's SGD: an L2 penalty
    # of half of it. (Keras's `weight_decay` passes the momentum by.)
    weight_decay: float
    augmentation: str  # "none", "mnist_crop_flip", "cifar_crop_flip" or "imagenet"
    paper: dict[str, float | None]  # accuracy by arm, of a single training each
    notes: str = ""  # what else differs, or is not known

    def regime(self, examples=None, scale=1.0):
        """The small-batch recipe.

        Args:
            examples: Training samples that there are; the whole data set by default.
            scale: What epochs and drops are multiplied by, above 0 and up to 1. All rates are kept,
                each for an epoch or more, in at least four epochs.
        """
        if not 0 < scale <= 1:
            raise ValueError(
                "`scale` must be above 0 and at most 1: it is the fraction of the recipe's epochs "
                f"to train for. Received: scale={scale!r}."
            )
        rates = list(self.learning_rate.values())
        epochs = max(round(self.epochs * scale), FEWEST_EPOCHS, len(rates))
        starts = []
        for index, start in enumerate(self.learning_rate):
            earliest = starts[-1] + 1 if starts else 0
            latest = epochs - (len(rates) - index)  # leaves an epoch for each rate to come
            starts.append(min(max(round(start * epochs / self.epochs), earliest), latest))
        return kbb.Regime(
            batch=self.small_batch,
            epochs=epochs,
            examples=self.examples if examples is None else examples,
            learning_rate=dict(zip(starts, rates, strict=True)),
        )

    def plan(self, arm, examples=None, scale=1.0):
        """What an arm trains with, as `Regime.at` gives it; `examples`, `scale` as for `regime`."""
        regime = self.regime(examples, scale)
        if arm == "SB":
            return regime.at(self.small_batch)
        if arm == "LB":
            return regime.at(self.large_batch, rule="none", stretch=1)
        if arm not in ARMS:
            raise ValueError(f"`arm` must be one of {', '.join(ARMS)}. Received: arm={arm!r}.")
        # `at` grows the rates by sqrt(large / small), and they are to grow by sqrt(large / base).
        factor = math.sqrt(self.small_batch / self.base_batch.get(arm, self.small_batch))
        rates = {epoch: rate * factor for epoch, rate in regime.learning_rate.items()}
        stretch = self.stretch if arm == "+RA" else 1
        return replace(regime, learning_rate=rates).at(self.large_batch, "sqrt", stretch)


def row(name, variant="paper"):
    """A row of Table 1 or 2, as the paper or as bigBatch has it."""
    if variant not in VARIANTS:
        raise ValueError(f"`variant` must be one of {VARIANTS}. Received: variant={variant!r}.")
    rows = {**TABLE1, **TABLE2} if variant == "paper" else _BIGBATCH
    if name not in rows:
        raise ValueError(f"`name` must be one of {', '.join(rows)}. Received: name={name!r}.")
    return rows[name]


def _results(*accuracies):
    return dict(zip(ARMS, accuracies, strict=True))


def _bigbatch(paper_row, **differences):
    """The other variant of a row: what bigBatch does in all of them, and in this one."""
    ghost = paper_row.virtual_batch
    return replace(
        paper_row,
        # main_normal.py counts from 256 whatever the small batch is, main_gbn.py from the ghost's.
        base_batch={"+LR": 256, "+GBN": ghost, "+RA": ghost},
        # main_gbn.py, --regime_bb_fix: a whole number of times the epochs, rounded up. With the
        # last, partial batches these are more updates: 6 % for 50 000 samples at 128 and 4096.
        stretch=math.ceil(paper_row.large_batch / ghost),
        clip_updates=None,  # both scripts
        **differences,
    )


_CIFAR10 = {
    "dataset": "cifar10",
    "examples": 50_000,
    "shape": (32, 32, 3),
    "classes": 10,
    "augmentation": "cifar_crop_flip",  # preprocess.py, for all networks; the paper is silent
}
_CIFAR100 = {**_CIFAR10, "dataset": "cifar100", "classes": 100}

# He et al. (2016), section 4.2: drops after 32 000 and 48 000 updates at 128, the end after 64 000,
# where bigBatch drops once more and goes on to its default of 200 epochs.
_HE = {"epochs": 200, "learning_rate": {0: 0.1, 81: 0.01, 122: 1e-3, 164: 1e-4}}

# Section 2: "a fixed learning rate that decreases". bigBatch's rates less their rise: our choice.
_SHALLOW = {
    "epochs": 200,
    "learning_rate": {0: 0.01, 120: 1e-3, 180: 1e-4},
    "weight_decay": 5e-4,
    "source": "Table 1; bigBatch, models/cifar_shallow.py",
}

TABLE1 = {
    "F1": Row(
        name="F1",
        source="Table 1; bigBatch, models/mnist_f1.py; 50 epochs from run_experiments.sh",
        network=plain_networks.f1,
        dataset="mnist",
        examples=60_000,
        shape=(28, 28, 1),
        classes=10,
        epochs=50,
        learning_rate={0: 0.1, 10: 0.01, 20: 1e-3, 30: 1e-4},
        weight_decay=1e-4,
        augmentation="none",
        paper=_results(98.27, 97.05, 97.55, 97.60, 98.53),
    ),
    "C1": Row(
        name="C1",
        network=plain_networks.c1,
        **_CIFAR10,
        **_SHALLOW,
        paper=_results(87.80, 83.95, 86.15, 86.4, 88.20),
    ),
    "ResNet44": Row(
        name="ResNet44",
        source="Table 1; He et al. (2016), section 4.2; bigBatch, models/resnet.py",
        network=residual_networks.resnet44,
        **_CIFAR10,
        **_HE,
        weight_decay=1e-4,
        paper=_results(92.83, 86.10, 89.30, 90.50, 93.07),
    ),
    "VGG": Row(
        name="VGG",
        source="Table 1; the rates of ResNet44, the decay of Simonyan & Zisserman (2014)",
        network=plain_networks.vgg,
        **_CIFAR10,
        **_HE,
        weight_decay=5e-4,
        paper=_results(92.30, 84.1, 88.6, 91.50, 93.03),
        notes="Neither network nor recipe is in the paper or in bigBatch: both are our choice.",
    ),
    "C3": Row(
        name="C3",
        network=plain_networks.c3,
        **_CIFAR100,
        **_SHALLOW,
        paper=_results(61.25, 51.50, 57.38, 57.5, 63.20),
    ),
    "WRN16-4": Row(
        name="WRN16-4",
        source="Table 1; Zagoruyko & Komodakis (2016), section 3",
        network=residual_networks.wrn16_4,
        **_CIFAR100,
        small_batch=256,
        epochs=200,
        learning_rate={0: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008},
        weight_decay=5e-4,
        paper=_results(73.70, 68.15, 69.05, 71.20, 73.57),
        notes="Zagoruyko & Komodakis train at 128, with Nesterov's momentum. +RA is below SB.",
    ),
}

TABLE2 = {
    "AlexNet": Row(
        name="AlexNet",
        source="Table 2; convNet.pytorch, models/alexnet.py, which bigBatch builds on",
        network=plain_networks.alexnet,
        dataset="imagenet2012",
        examples=1_281_167,
        shape=(224, 224, 3),
        classes=1000,
        epochs=30,
        learning_rate={0: 0.01, 10: 0.005, 15: 0.001, 20: 5e-4, 25: 1e-4},
        weight_decay=5e-4,
        augmentation="imagenet",
        paper=_results(57.10, 41.23, 53.25, 54.92, 59.5),
        notes="The paper's LB and +LR are at 2048 (footnote 8). 30 epochs are our choice. The code "
        "ends the weight decay at epoch 15.",
    )
}
TABLE2["AlexNet-8192"] = replace(
    TABLE2["AlexNet"],
    name="AlexNet-8192",
    large_batch=8192,
    paper=_results(57.10, 41.23, 53.25, 53.93, 59.5),
)

# Where its models/cifar_shallow.py leaves the text: the rate rises at epoch 60, and momentum, which
# it does not set, is 0. The network differs from Keskar's, which the paper cites.
_SHALLOW_BIGBATCH = {
    "network": plain_networks.shallow_bigbatch,
    "learning_rate": {0: 1e-3, 60: 0.01, 120: 1e-3, 180: 1e-4},
    "momentum": 0.0,
}

_BIGBATCH = {
    # preprocess.py crops digits of 28x28 from 32x32, and flips them.
    "F1": _bigbatch(TABLE1["F1"], augmentation="mnist_crop_flip"),
    "C1": _bigbatch(TABLE1["C1"], **_SHALLOW_BIGBATCH),
    "ResNet44": _bigbatch(
        TABLE1["ResNet44"], notes="run_experiments.sh has 100 epochs: two drops never come."
    ),
    "VGG": _bigbatch(TABLE1["VGG"]),
    "C3": _bigbatch(TABLE1["C3"], **_SHALLOW_BIGBATCH),
    "WRN16-4": _bigbatch(
        TABLE1["WRN16-4"],
        source="Table 1; bigBatch, models/wide_resnet.py",
        learning_rate={0: 0.1, 60: 0.02, 120: 0.004, 140: 1e-4},
        weight_decay=1e-4,
        notes="run_experiments.sh names this row, and runs ResNet44.",
    ),
    **{name: _bigbatch(paper_row) for name, paper_row in TABLE2.items()},
}
