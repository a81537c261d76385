"""From the command line to an experiment and its setting: data, recipe, batches, network."""

import functools
from dataclasses import replace

import keras

from keras_bigbatch import optimizers
from reproduction import devices
from reproduction.data import arrays, pipelines
from reproduction.experiment import Setting
from reproduction.recipes.demo import QUICK_EPOCHS, recipe_for, small_batch_regime
from reproduction.tables import TableRow

IN_MEMORY = ("mnist1d", "digits")  # the others come through TensorFlow Datasets
FIGURE_BATCHES = (20, 40, 100, 250, 500, 1000)
# Quick runs are evidence of nothing, and as small as can be.
QUICK_ROW = {"small_batch": 2, "large_batch": 4, "virtual_batch": 2, "stretch": 2.0}
QUICK_EXAMPLES = QUICK_SCORED = 4
QUICK_FIGURE = {"large_batch": 80, "examples": 80, "batches": (20, 40, 80)}


def setting_of(experiment, options):
    """The experiment with what the command line changes in it, and its setting.

    Stops with a sentence if there is none.

    Args:
        experiment: Of `experiments.py`.
        options: What the command line says.
    """
    if options.mixed_precision:
        keras.mixed_precision.set_dtype_policy(f"mixed_{options.mixed_precision}")
    try:
        if len(options.scale) > 2:
            raise ValueError(f"--scale takes one or two shares, not {len(options.scale)}")
        if options.command == "figure":
            setting = _figure_setting(options)
        else:
            row, setting = _row_and_setting(experiment.row, options)
            experiment = TableRow(experiment.number, row)
        return experiment, devices.distributed(setting, options.distribute)
    except ValueError as error:
        raise SystemExit(f"reproduction: {error}") from error


def _row_and_setting(row, options):
    """The paper's recipe with what the command line says otherwise, and the setting for it."""
    if options.quick:
        row = replace(row, base_batch={}, **QUICK_ROW)
    if options.batch_sizes:
        if len(options.batch_sizes) != 2:
            raise ValueError(f"--batch-sizes of a table are two, not {len(options.batch_sizes)}")
        row = replace(row, small_batch=options.batch_sizes[0], large_batch=options.batch_sizes[1])
    if options.learning_rate:
        factor = options.learning_rate / row.learning_rate[0]
        rates = {epoch: factor * rate for epoch, rate in row.learning_rate.items()}
        row = replace(row, learning_rate=rates)
    row = replace(
        row,
        virtual_batch=options.virtual_batch or row.virtual_batch,
        stretch=options.stretch or row.stretch,
    )
    data = _load(options, row.dataset, row.augmentation)
    share = 1e-9 if options.quick else options.scale[-1]
    setting = Setting(
        data=data,
        regime=row.regime(data.examples, share),
        large_batch=row.large_batch,
        virtual_batch=row.virtual_batch,
        stretch=row.stretch,
        batches=(row.small_batch, row.large_batch),
        epochs_share=share,
        quick=options.quick,
        network=decayed(row.network, row.weight_decay),
        optimizer=sgd(row),
        notes=". ".join(filter(None, [_notes(options, data, row.dataset), row.notes.rstrip(".")])),
    )
    return row, setting


def _figure_setting(options):
    """The demo's network and recipe."""
    recipe = recipe_for(options.dataset or "mnist1d", options.data_dir)
    epochs = max(QUICK_EPOCHS, round(options.scale[-1] * recipe["epochs"]))
    large, batches = recipe["large_batch"], options.batch_sizes or FIGURE_BATCHES
    if options.quick:
        epochs, large, batches = (
            QUICK_EPOCHS,
            *(QUICK_FIGURE[k] for k in ("large_batch", "batches")),
        )
    data = _load(options, "mnist1d", "none")
    rate = options.learning_rate or recipe["learning_rate"]
    return Setting(
        data=data,
        regime=small_batch_regime(recipe["small_batch"], epochs, data.examples, rate),
        large_batch=large,
        virtual_batch=options.virtual_batch or recipe["virtual_batch"],
        stretch=options.stretch or recipe["stretch"],
        batches=tuple(batches),
        quick=options.quick,
        notes=_notes(options, data, "mnist1d"),
    )


def _load(options, name, augmentation):
    """The data: `--data-dir`, `--dataset`, or what the recipe is for; and how much of it."""
    name = options.dataset or name
    if options.data_dir is not None or name in IN_MEMORY or options.draw is not None:
        # It refuses a draw of data of which there is one test set.
        load = functools.partial(arrays.load, name, options.data_dir, draw=options.draw)
    else:
        # Another data set is not the one that the augmentation was made for.
        load = functools.partial(pipelines.load, name, "none" if options.dataset else augmentation)
    if options.quick:
        if options.command == "figure":
            return load(examples=QUICK_FIGURE["examples"])
        return load(hold_out=QUICK_SCORED, examples=QUICK_SCORED + QUICK_EXAMPLES)
    whole = load(hold_out=options.hold_out)
    if options.scale[0] == 1:
        return whole
    examples = max(1, round(options.scale[0] * whole.examples))
    return load(hold_out=options.hold_out, examples=options.hold_out + examples)


def sgd(row):
    """What makes the row's optimizer, of a rate or a schedule."""

    def optimizer(rate):
        clip = {"global_clipnorm": row.global_clipnorm}
        if row.clip_updates is None:
            return keras.optimizers.SGD(rate, momentum=row.momentum, **clip)
        plain = keras.optimizers.SGD(rate, momentum=row.momentum)
        return optimizers.ClipFirstUpdates(plain, updates=row.clip_updates, **clip)

    return optimizer


def decayed(network, weight_decay):
    """The network with the papers' weight decay, which is a part of every variable's gradient.

    Keras's own `weight_decay` passes the momentum by, which makes it ten times weaker.
    """
    if not weight_decay:
        return network

    @functools.wraps(network)
    def penalized(shape, classes, norm):
        model = network(shape, classes, norm)
        for variable in model.trainable_variables:
            variable.regularizer = keras.regularizers.L2(weight_decay / 2)
        return model

    return penalized


def _notes(options, data, recipe_for):
    """What nobody should take for the whole of the paper's experiment."""
    parts = [f"{data.examples:,} training samples"]
    shares = options.scale[0], options.scale[-1]
    if shares != (1, 1):
        parts.append(f"{shares[0]:.2%} of the data and {shares[1]:.2%} of the epochs")
    if options.draw is not None:
        parts.append(f"the {data.split} samples of draw {options.draw}")
    if data.name != recipe_for:
        parts.append(f"a recipe for {recipe_for}")
    if options.variant != "paper":
        parts.append(f"the recipe of {options.variant}'s code")
    parts += [part for part in (options.mixed_precision, options.distribute) if part]
    return ", ".join(parts)
