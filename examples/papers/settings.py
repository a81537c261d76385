"""From the command line to an experiment and its setting: data, regime, batches, network."""

import dataclasses
import functools
import types

import _data
import closing_the_gap
import keras
from _options import COMMON, RECIPES

from papers import catalogue, devices, pipelines
from papers.experiment import Setting

IN_MEMORY = ("mnist1d", "digits")  # without TensorFlow Datasets
QUICK_BATCHES, QUICK_VIRTUAL, QUICK_EXAMPLES, QUICK_SCORED = (4, 8), 2, 8, 8
# Of a figure's data set as a whole; a batch of all of it would leave one update an epoch.
FIGURE_BATCHES = (20, 40, 100, 250, 500, 1000)
QUICK_FIGURE_BATCHES = (20, 40, 80)


def setting_of(options):
    """The experiment that was asked for, and its setting; stops with a sentence if there is none.

    Args:
        options: What `command.parse` returned.
    """
    if options.mixed_precision:
        keras.mixed_precision.set_dtype_policy(f"mixed_{options.mixed_precision}")
    try:
        experiment = _experiment(options)
        setting = _figure_setting(options) if options.figure else _row_setting(experiment, options)
    except ValueError as error:
        raise SystemExit(f"reproduce.py: {error}") from error
    return experiment, devices.distributed(setting, options.distribute)


def _experiment(options):
    if options.figure:
        return _named(catalogue.figures(), options.figure, "--figure")
    number, name = (1, options.table1) if options.table1 else (2, options.table2)
    return _named(catalogue.table_rows(options.variant)[number], name, f"--table{number}")


def _named(every, name, flag):
    if name not in every:
        raise ValueError(f"{flag} {name!r} is none of {', '.join(every)}")
    return every[name]


def _row_setting(experiment, options):
    """The paper's network and recipe, less what the command line says otherwise."""
    row = experiment.row
    small, large = options.batch_sizes or (row.small_batch, row.large_batch)
    virtual = options.virtual_batch or row.virtual_batch
    if options.quick:
        (small, large), virtual = options.batch_sizes or QUICK_BATCHES, QUICK_VIRTUAL
    share, of_epochs = _scale(options)
    data = _load(options, row.dataset, row.augmentation, share)
    if options.quick:
        of_epochs = 1e-9  # as few epochs as a regime has
    regime = dataclasses.replace(row, small_batch=small).regime(data.examples, of_epochs)
    return Setting(
        data=data,
        regime=_first_rate(regime, options.learning_rate),
        large_batch=large,
        virtual_batch=virtual,
        stretch=(options.stretch or 2.0) if options.quick else options.stretch,
        batches=(small, large),
        quick=options.quick,
        network=_decayed(row.network, row.weight_decay),
        optimizer=_sgd(row),
        notes=_notes(options, data, row.dataset, share, of_epochs),
    )


def _figure_setting(options):
    """The demo's network and recipe."""
    name = options.dataset or "mnist1d"
    recipe = {**COMMON, **RECIPES.get(name if options.data_dir is None else "", RECIPES["images"])}
    share, of_epochs = _scale(options)
    if options.quick:
        share, recipe["epochs"], of_epochs = min(share, 0.05), 4, 1.0
        recipe["large_batch"] = 80
    recipe["epochs"] = max(4, round(of_epochs * recipe["epochs"]))
    recipe["learning_rate"] = options.learning_rate or recipe["learning_rate"]
    data = _load(options, "mnist1d", "none", share)
    regime = closing_the_gap.small_batch_regime(types.SimpleNamespace(**recipe), data.examples)
    batches = options.batch_sizes or (QUICK_FIGURE_BATCHES if options.quick else FIGURE_BATCHES)
    return Setting(
        data=data,
        regime=regime,
        large_batch=recipe["large_batch"],
        virtual_batch=options.virtual_batch or recipe["virtual_batch"],
        stretch=options.stretch or recipe["stretch"],
        batches=tuple(batches),
        quick=options.quick,
        notes=_notes(options, data, "mnist1d", share, of_epochs),
    )


def _scale(options):
    """The shares of the data and of the epochs."""
    if len(options.scale) > 2:
        raise ValueError(f"--scale takes one or two shares, not {len(options.scale)}")
    return options.scale[0], options.scale[-1]


def _load(options, name, augmentation, share):
    """The data: `--data-dir`, `--dataset`, or the one that the recipe is for."""
    name = options.dataset or name
    if options.data_dir is not None or name in IN_MEMORY:

        def load(**sizes):
            return _data.load(name, options.data_dir, **sizes)
    else:
        # Another data set is not the one that the augmentation was made for.
        augmentation = "none" if options.dataset else augmentation

        def load(**sizes):
            return pipelines.load(name, augmentation, **sizes)

    if options.quick and not options.figure:
        return load(examples=QUICK_EXAMPLES + QUICK_SCORED, hold_out=QUICK_SCORED)
    whole = load(hold_out=options.hold_out)
    if share == 1:
        return whole
    return load(
        hold_out=options.hold_out, examples=options.hold_out + round(share * whole.examples)
    )


def _first_rate(regime, rate):
    """The regime with another first rate, and the same drops."""
    if rate is None:
        return regime
    factor = rate / next(iter(regime.learning_rate.values()))
    rates = {epoch: factor * value for epoch, value in regime.learning_rate.items()}
    return dataclasses.replace(regime, learning_rate=rates)


def _sgd(row):
    """The row's optimizer, of a rate or a schedule."""

    def sgd(rate):
        return keras.optimizers.SGD(
            rate, momentum=row.momentum, global_clipnorm=row.global_clipnorm
        )

    return sgd


def _decayed(network, weight_decay):
    """The network with the papers' weight decay: part of the gradient, and of every variable.

    Keras's own `weight_decay` is decoupled from the momentum, which makes it ten times weaker.
    """
    if not weight_decay:
        return network

    @functools.wraps(network)
    def decayed(shape, classes, norm):
        model = network(shape, classes, norm)
        for variable in model.trainable_variables:
            variable.regularizer = keras.regularizers.L2(weight_decay / 2)
        return model

    return decayed


def _notes(options, data, recipe_for, share, of_epochs):
    """What nobody should take for the paper's whole experiment."""
    parts = [f"{data.examples:,} training samples"]
    if share != 1 or of_epochs != 1:
        parts.append(f"{share:.0%} of the data and {of_epochs:.0%} of the epochs")
    if (options.data_dir or options.dataset) and data.name != recipe_for:
        parts.append(f"the recipe is one for {recipe_for}")
    if options.mixed_precision:
        parts.append(options.mixed_precision)
    if options.distribute:
        parts.append(options.distribute)
    return ", ".join(parts)
