"""The trainings of Gao & Zhong's figures: how long, at which rates, and with which callbacks."""

import keras

from reproduction import training

# Of the regime's epochs. Figures of many batches take half; those about a poor start a quarter,
# where the large batch has not fitted its training set yet.
HALF, QUARTER = 0.5, 0.25


def batches_of(setting, least=2):
    """The batches to compare, ascending."""
    batches = sorted(set(setting.batches))
    if len(batches) < least:
        raise ValueError(
            f"This figure compares {least} batches or more. Received: --batch-sizes "
            f"{' '.join(map(str, setting.batches))}. For example --batch-sizes 40 200 1000."
        )
    return batches


def first_rate(setting):
    """The rate that the regime begins with."""
    return setting.regime.drops[0][2]


def plan_of(setting, batch, rule="none", share=HALF, least=1):
    """The regime carried to a batch, with a share of its epochs but never fewer than `least`."""
    epochs = max(least, round(share * setting.regime.epochs))
    return setting.regime.at(batch, rule=rule, stretch=epochs / setting.regime.epochs)


def recipe_of(setting, plan, **more):
    """What a training is kept with."""
    arm = training.Arm(plan, setting.plain)
    return {"network": setting.network.__name__, **training.recipe(arm), **more}


def compiled(setting, seed, optimizer, wrap=None):
    """A new model with plain batch norm; every call with a seed has the same initial weights."""
    keras.utils.set_random_seed(seed)
    model = setting.network(setting.data.shape, setting.data.classes, setting.plain)
    return training.compiled(model if wrap is None else wrap(model), optimizer)
