"""One training in stages of different batch sizes."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from keras_bigbatch import _private_api
from keras_bigbatch._arguments import positive_integer
from keras_bigbatch._typing import Verbose
from keras_bigbatch._virtual_batch import check_batch
from keras_bigbatch.schedules._plan_check import PlanCheck
from keras_bigbatch.training._batch_stage import BatchStage
from keras_bigbatch.training._stage_callbacks import Callbacks, StageCallbacks
from keras_bigbatch.training._stage_data import StageData
from keras_bigbatch.training._stage_noise import StageNoise
from keras_bigbatch.training._stage_rates import StageRates


def fit_stages(
    model: keras.Model,
    x: Any,
    y: Any,
    stages: Iterable[BatchStage],
    validation_data: Any = None,
    callbacks: Callbacks = None,
    *,
    sample_weight: Any = None,
    class_weight: dict[int, float] | None = None,
    validation_split: float = 0.0,
    validation_batch_size: int | None = None,
    validation_steps: int | None = None,
    validation_freq: int | Sequence[int] = 1,
    shuffle: bool = True,
    seed: int | None = None,
    initial_epoch: int = 0,
    verbose: Verbose = "auto",
) -> keras.callbacks.History:
    """Trains a compiled model in stages, each with its own batch size and learning rate.

    Use it to begin with small batches and continue with large ones, or to increase the batch where
    a recipe would decrease the learning rate. Each stage is one call of `model.fit`, but all stages
    together behave like a single run: one `History` with continuous epochs, one optimizer state and
    update count, and callbacks that begin and end once. With arrays, an epoch has
    `ceil(samples / batch)` steps.

    If all learning rates (the optimizer's and the stages') are floats, each stage sets the
    optimizer's rate once, when it begins, and callbacks may change it. If any of them is a
    schedule, callbacks that set the rate raise an error. A stage's schedule counts updates from the
    beginning of the stage. `BackupAndRestore` and `initial_epoch` resume in the right stage, at its
    rate. If a stage has a `noise_limit`, the logs contain each epoch's `batch_size` and the last
    `noise_scale`.

    Args:
        model: A compiled model.
        x: Arrays as in `fit`, or a function that takes the batch size and returns a data set.
        y: Arrays as in `fit`. None if `x` is a function.
        stages: The stages, in order.
        validation_data: As in `fit`.
        callbacks: As in `fit`.
        sample_weight: As in `fit`. Arrays only.
        class_weight: As in `fit`.
        validation_split: As in `fit`. Arrays only.
        validation_batch_size: As in `fit`. With arrays, the default is the stage's batch.
        validation_steps: As in `fit`.
        validation_freq: As in `fit`. Epochs are counted over all stages.
        shuffle: As in `fit`.
        seed: Makes the order of the samples depend only on the seed and the epoch. Arrays only.
        initial_epoch: The epoch to start at when you resume a run.
        verbose: As in `fit`.

    Returns:
        The `History` of all stages, which is also `model.history`.

    Raises:
        ValueError: If the model is not compiled, a batch is larger than the data, an argument does
            not apply to this kind of data, or a stage that may end early is resumed or lacks data.

    Example:

    ```python
    import keras, numpy as np
    from keras_bigbatch.training import BatchStage, fit_stages
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(momentum=0.9), "mse")
    stages = [BatchStage(50, 1, learning_rate=0.005), BatchStage(250, 2, learning_rate=0.05)]
    fit_stages(model, np.random.rand(500, 8), np.random.rand(500, 1), stages, verbose=0)
    ```

    References:
        - Gao & Zhong, section 3.2; [Smith et al., 2018](https://arxiv.org/abs/1711.00489)
        - [Keskar et al., 2017](https://arxiv.org/abs/1609.04836), section 3 (warm start)
    """
    stages = tuple(stages)
    _check(model, stages, callbacks, initial_epoch)
    has_validation = validation_data is not None or bool(validation_split)
    _check_early_ends(stages, callbacks, has_validation, class_weight, initial_epoch)
    if validation_data is not None:
        validation_split = 0.0
    check_batch(model, max(stage.batch for stage in stages))
    data = StageData(x, y, sample_weight, validation_split, shuffle, seed, stages)
    if validation_data is None:
        validation_data = data.validation()
    rates = StageRates(model, stages, lambda index: data.of(stages[index])[1])
    ends = list(itertools.accumulate(stage.epochs for stage in stages))
    is_measured = any(stage.noise_limit is not None for stage in stages)
    noise = StageNoise(stages, data.to_measure) if is_measured else None
    stage_callbacks = StageCallbacks(callbacks, model, ends[-1], verbose, noise)

    epoch, index, restored, started = initial_epoch, 0, False, False
    with _private_api.averages_held_back(model.optimizer):
        while index < len(stages):
            if ends[index] <= epoch:
                index += 1
                continue
            stage = stages[index]
            if started:
                rates.enter(index)
            else:
                rates.start(index, epoch - (ends[index] - stage.epochs), restored)
            arguments, steps = data.of(stage)
            stage_callbacks.enter(stage, epoch, ends[index], steps, arguments["x"])
            model.fit(
                **arguments,
                initial_epoch=epoch,
                epochs=ends[index],
                callbacks=stage_callbacks,
                verbose=verbose,
                class_weight=class_weight,
                validation_data=validation_data,
                validation_batch_size=validation_batch_size,
                validation_steps=validation_steps,
                validation_freq=validation_freq,
            )
            if not started and not restored and stage_callbacks.restored_epoch is not None:
                # That `fit` has only begun the training, which starts at the backup's epoch.
                _private_api.set_restored_epoch(model, None)
                epoch, index, restored = stage_callbacks.restored_epoch, 0, True
                continue
            started = True
            epoch = stage_callbacks.next_epoch
            if stage_callbacks.stopped:
                break
            index += 1
    model.optimizer.finalize_variable_values(model.trainable_weights)
    stage_callbacks.finish()
    return model.history


def _check(
    model: keras.Model,
    stages: tuple[BatchStage, ...],
    callbacks: Callbacks,
    initial_epoch: int,
) -> None:
    if not getattr(model, "compiled", False):
        raise ValueError("`model` must be compiled. Call `model.compile(optimizer, loss)` first.")
    if not stages or not all(isinstance(stage, BatchStage) for stage in stages):
        raise ValueError(
            f"`stages` must be one `BatchStage` or more. Received: stages={stages!r}. "
            "For example: [BatchStage(512, epochs=1), BatchStage(8192, epochs=19)]."
        )
    if any(isinstance(each, PlanCheck) for each in keras.tree.flatten(callbacks)):
        raise ValueError(
            "A plan's callback is for `fit`, whose batch does not change. Received: "
            "`plan.callback()` in `callbacks` of `fit_stages`. Leave it out."
        )
    for before, stage in zip([None, *stages], stages, strict=False):
        if not stage.epochs and (before is None or not _may_end_early(before)):
            raise ValueError(
                "A stage of 0 epochs gets those that the stage before it has left. Received: "
                f"{stage} without a stage before it that may end early. Give it epochs, or give "
                "the stage before it a `noise_limit` or `patience`."
            )
    epochs = sum(stage.epochs for stage in stages)
    hint = "It is the epoch to start at."
    if positive_integer("initial_epoch", initial_epoch, hint, zero_allowed=True) >= epochs:
        raise ValueError(
            f"`initial_epoch` must be less than the {epochs} epochs of all stages. Received: "
            f"initial_epoch={initial_epoch}. Add a stage, or epochs to the last one."
        )


def _may_end_early(stage: BatchStage) -> bool:
    return stage.patience is not None or stage.noise_limit is not None


def _check_early_ends(
    stages: tuple[BatchStage, ...],
    callbacks: Callbacks,
    has_validation: bool,
    class_weight: Any,
    initial_epoch: int,
) -> None:
    backup = keras.callbacks.BackupAndRestore
    resumes = any(isinstance(each, backup) for each in keras.tree.flatten(callbacks))
    for stage in stages:
        if not _may_end_early(stage):
            continue
        by_validation = stage.patience is not None and stage.monitor.startswith("val_")
        if by_validation and not has_validation:
            raise ValueError(
                f"A stage that monitors '{stage.monitor}' needs `validation_data` or a "
                f"`validation_split`. Received: {stage}. Or pass `monitor='loss'`."
            )
        if stage.noise_limit is not None and class_weight:
            raise ValueError(
                "The noise scale is measured without `class_weight`. Received: class_weight with "
                f"{stage}. Pass the weights as `sample_weight`, or in the data set."
            )
        if initial_epoch or resumes:
            raise ValueError(
                "A training with a stage that ends on a plateau or by the noise scale cannot be "
                f"resumed, because no backup records when it ended. Received: {stage} with "
                f"initial_epoch={initial_epoch} or a `BackupAndRestore`. Leave those out, or "
                "`patience` and `noise_limit`."
            )
