"""Checks that the other arguments of `fit` agree with a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from keras_bigbatch._arguments import shown
from keras_bigbatch._measuring.batches import is_arrays, number_of_batches
from keras_bigbatch._user_warnings import warn_user

if TYPE_CHECKING:
    from keras_bigbatch.schedules._plan import Plan


def check_length(plan: Plan, x: Any) -> bool:
    """Raises if the length is not the plan's. Returns whether the data need a `batch_size`."""
    if x is None:
        return True
    if not is_arrays(x):
        _check_batches(plan, x)
        return False
    first = next(leaf for leaf in keras.tree.flatten(x) if leaf is not None)
    if not len(first.shape):
        raise _no_data(x)
    _check_samples(plan, int(first.shape[0]))  # Keras compares the lengths.
    return True


def _no_data(x: Any) -> ValueError:
    return ValueError(
        "`x` must be what `fit` trains on: arrays, or a data set that yields batches. Received: "
        f"x={shown(x)}. Convert lists of numbers with `np.asarray`; for a torch `Dataset` pass "
        "`DataLoader(dataset, plan.micro_batch)`."
    )


def _check_samples(plan: Plan, samples: int) -> None:
    examples = plan.regime.examples
    if samples != examples:
        raise ValueError(
            "`x` must have as many samples as the plan counts in an epoch. Received: `x` with "
            f"{samples} samples for a plan with examples={examples}. Create it with "
            "`Regime(..., examples=len(x))`. With `validation_split`, `examples` is what is left "
            "for training: leave `x` out, as in `plan.fit_arguments(callbacks=...)`."
        )


def _check_batches(plan: Plan, data: Any) -> None:
    iterable = hasattr(data, "__iter__") and not isinstance(data, str | bytes | list | tuple | dict)
    if not (iterable or isinstance(data, keras.utils.PyDataset)):
        raise _no_data(data)
    batches = number_of_batches(data)
    if batches not in (None, plan.steps_per_epoch):
        raise ValueError(
            "`x` must have as many batches as the plan has steps in an epoch. Received: a data set "
            f"of {batches} for a plan of {plan.steps_per_epoch}. {cure(plan, batches)} If `fit` "
            "takes an epoch from it with `steps_per_epoch`, leave `x` out."
        )


def cure(plan: Plan, steps: int) -> str:
    """Says what may be wrong if an epoch has this number of steps."""
    examples, batch = plan.regime.examples, plan.micro_batch
    whole, partial = divmod(examples, batch)
    if partial and steps == whole + plan.regime.drop_remainder:
        dropped = plan.regime.drop_remainder
        split = ", or, with a `validation_split`, for the `examples` that it leaves"
        return (
            f"{examples} samples are {whole} batches of {batch} and one of {partial}: create "
            f"the plan with `Regime(..., drop_remainder={not dropped})`{'' if dropped else split}."
        )
    if steps == examples:
        return f"Is it not batched yet? A batch has {batch} samples: `data.batch({batch})`."
    # With a data set, `fit` ignores `batch_size`.
    remedy = f"A batch must have {batch} samples: `batch_size={batch}`, or `data.batch({batch})`."
    if steps > 2 * plan.steps_per_epoch:
        return remedy
    fewest, most = (steps - 1) * batch + 1, steps * batch
    if plan.regime.drop_remainder:
        fewest, most = steps * batch, (steps + 1) * batch - 1
    return (
        f"{remedy} If it already has, an epoch has {fewest} to {most} samples instead of "
        f"examples={examples}: create the plan for what `validation_split`, `steps_per_epoch` or "
        "the data set leaves."
    )


def warn_of_callbacks(plan: Plan, callbacks: Sequence[Any]) -> None:
    """Warns about callbacks that count as the small batch did, or that set the rate themselves.

    Raises if one is not a callback.
    """
    for callback in callbacks:
        _check_kind(callback)
        name = type(callback).__name__
        if isinstance(callback, keras.callbacks.EarlyStopping):
            _check_patience(plan, callback.patience)
        if sets_rate(callback):
            settable = "schedules.scale_learning_rate"
            if plan.regime.optimizer is not None:
                settable = "optimizers.scale_optimizer"
            warn_user(
                f"{name} sets the learning rate, and so does the plan; Keras refuses the two "
                f"together. Leave it out, or compile with a float: `{settable}`."
            )
        if isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_freq != "epoch":
            warn_user(
                f"{name}(save_freq={callback.save_freq}) counts batches: an epoch has "
                f"{plan.steps_per_epoch} here and {plan.regime.steps_per_epoch} at the batch of "
                f"{plan.regime.batch}. Use `save_freq='epoch'` or a number for the batches here."
            )
        backs_up = isinstance(callback, keras.callbacks.BackupAndRestore)
        if backs_up and callback.save_freq != "epoch":
            warn_user(
                f"{name}(save_freq={callback.save_freq}) resumes at the beginning of an epoch with "
                "weights from its middle, so there are more updates than planned. Use "
                "`save_freq='epoch'`."
            )


def sets_rate(callback: Any) -> bool:
    """Whether a callback sets the learning rate itself."""
    kinds = keras.callbacks.ReduceLROnPlateau | keras.callbacks.LearningRateScheduler
    return isinstance(callback, kinds)


def _check_kind(callback: Any) -> None:
    if isinstance(callback, keras.callbacks.Callback):
        return
    remedy = "The targets go to `fit` itself: `fit(x, y, **plan.fit_arguments(x))`."
    if isinstance(callback, type):
        remedy = f"Create an instance: `{callback.__name__}(...)`."
    raise ValueError(f"`callbacks` must be Keras callbacks. Received: {shown(callback)}. {remedy}")


def _check_patience(plan: Plan, patience: int) -> None:
    if patience < min(plan.epochs_for(2), plan.epochs):
        meant = f"plan.epochs_for({max(patience, 1)})"
        updates = patience * plan.steps_per_epoch // plan.accumulation_steps
        warn_user(
            f"EarlyStopping(patience={patience}) waits for {updates} updates; at the batch of "
            f"{plan.regime.batch} it waited for {patience * plan.regime.steps_per_epoch}. Patience "
            f"counts epochs: `patience={meant}` is {plan.epochs_for(max(patience, 1))}."
        )
