"""What the package needs from Keras that Keras does not promise: one function for each name.

`tests/private_api` checks what is said here on the newest and on the oldest version.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

# Methods of `keras.optimizers.Optimizer` that `LayerwiseOptimizer` overrides. If they were renamed,
# Keras would call its own, without an error:
# - `_apply_weight_decay`: its decoupled weight decay would come on top of the coupled one;
# - `_backend_update_step`: variables would be updated one by one, which is slower on torch.
OVERRIDDEN = ("_apply_weight_decay", "_backend_update_step")

# Method of `keras.layers.BatchNormalization` that computes the moments of a batch from the input
# and the mask, and is called only in training. `renew_statistics` watches it. If it were renamed,
# plain batch norms would be missed, with a warning that their statistics stay as they were.
BATCH_MOMENTS = "_moments"


def flatten_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layer and all layers in it, in order of creation: `Layer._flatten_layers`.

    `Model.layers` does not look into layers that are not models. There is no replacement. Keras
    itself would go through a layer from its last part to its first.
    """
    found = {id(layer): layer}

    def look_into(part: keras.layers.Layer) -> None:
        for each in part._flatten_layers(include_self=False, recursive=False):
            if id(each) not in found:
                found[id(each)] = each
                look_into(each)

    look_into(layer)
    return list(found.values())


def models(layer: keras.layers.Layer) -> list[keras.Model]:
    """Returns the models among the layer and all layers in it, the outermost first."""
    return [part for part in flatten_layers(layer) if isinstance(part, keras.Model)]


def places(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Does the same as `flatten_layers`, but repeats a layer for each place that holds it."""
    found = [layer]

    def look_into(part: keras.layers.Layer, above: tuple[int, ...]) -> None:
        for each in part._flatten_layers(include_self=False, recursive=False):
            if id(each) not in above:  # a part may hold the layer that it is in
                found.append(each)
                look_into(each, (*above, id(each)))

    look_into(layer, (id(layer),))
    return found


def only_shapes_are_wanted() -> bool:
    """Returns whether Keras only wants the shapes of layers' outputs: `in_symbolic_scope`.

    It is in the module of `keras.SymbolicScope`. The batch size is then unknown, or made up by
    Keras.
    """
    return bool(sys.modules[keras.SymbolicScope.__module__].in_symbolic_scope())


def trainer_state(model: Any) -> dict[str, Any] | None:
    """Returns what JAX's trainer holds in the middle of an epoch, by kind: `Trainer._jax_state`.

    None if the variables have their values, or if Keras has none of the names. The caller then
    falls back to `jax_state_sync`, which is slower.
    """
    if getattr(model, "_jax_state_synced", True):
        return None
    return getattr(model, "_jax_state", None) or None


def restored_epoch(model: keras.Model) -> int | None:
    """Returns the epoch at which a `BackupAndRestore` resumes `fit`: `Trainer._initial_epoch`."""
    return model._initial_epoch


def set_restored_epoch(model: keras.Model, epoch: int | None) -> None:
    """Makes a running or the next `fit` start at `epoch`, or with None where its caller says.

    Keras itself never resets what a `BackupAndRestore` has set.
    """
    # Read first: if it were renamed, Keras would start at 0 without an error.
    restored_epoch(model)
    model._initial_epoch = epoch


def forget_training_step(model: keras.Model) -> None:
    """Makes the next `fit` recompile its step, by `Trainer.train_function = None`.

    A compiled step holds the schedule that was then the learning rate. `Model.compile` does the
    same, but also forgets the optimizer and the metrics.
    """
    model.train_function = None


def restore_input_structure(copy: keras.Model, model: keras.Model) -> None:
    """Restores the inputs' structure of a model from a config: `Functional._inputs_struct`.

    Keras 3.10 turns a single input into a list, and warns of it in each call.
    """
    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        tensors = keras.tree.flatten(copy._inputs_struct)
        copy._inputs_struct = keras.tree.pack_sequence_as(structure, tensors)


def forget_functions(model: keras.Model) -> None:
    """Makes `fit`, `evaluate` and `predict` recompile, by `Trainer.train_function = None` etc.

    Compiled, they hold the code of the layers as it was then.
    """
    model.train_function = model.test_function = model.predict_function = None


def set_path(named: Any, path: str) -> None:
    """Gives a layer or variable the path that it has elsewhere: `_path`, behind `path`.

    If it were renamed, the copy of a model would have paths with other prefixes and numbers.
    """
    named._path = path


@contextlib.contextmanager
def uncompiled(models: Sequence[keras.Model]) -> Iterator[None]:
    """Makes Keras treat the models as not compiled, by `Trainer.compiled = False`.

    `clone_model` compiles the copy of a compiled model, which fails for a loss that is not
    registered. Keras has no option for it.
    """
    compiled = [model.compiled for model in models]
    try:
        for model in models:
            model.compiled = False
        yield
    finally:
        for model, was_compiled in zip(models, compiled, strict=True):
            model.compiled = was_compiled


@contextlib.contextmanager
def averages_held_back(optimizer: Any) -> Iterator[None]:
    """Keeps the end of a `fit` from replacing the weights by their averages (`use_ema`).

    The method `finalize_variable_values` is public, but not that `fit` calls it. If `fit` no longer
    does, the averages come too early.
    """
    optimizer.finalize_variable_values = lambda _: None
    try:
        yield
    finally:
        del optimizer.finalize_variable_values


def replace_clipping(optimizer: Any, clip: Callable[..., Any]) -> Callable[..., Any]:
    """Makes `clip` the optimizer's `_clip_gradients`, and returns the one before.

    It is the only place where gradients are already unscaled and averaged: an optimizer's `apply`
    sees micro-steps and scaled gradients.
    """
    before: Callable[..., Any] = optimizer._clip_gradients
    optimizer._clip_gradients = clip
    return before


def learning_rate_source(optimizer: Any) -> Any:
    """Returns the variable, schedule or function behind the rate: `Optimizer._learning_rate`.

    `Optimizer.learning_rate` is a schedule's current value.
    """
    return optimizer._learning_rate


def step_counter(optimizer: Any) -> Any:
    """Returns the counter for schedules, micro-steps under accumulation: `Optimizer._iterations`.

    `Optimizer.iterations` counts updates.
    """
    return optimizer._iterations


def variable_index(optimizer: Any, variable: Any) -> int:
    """Returns the variable's place among the optimizer's variables: `_get_variable_index`.

    Keras's own documentation tells authors of optimizers to use it.
    """
    return int(optimizer._get_variable_index(variable))


def uses_weight_decay(optimizer: Any, variable: Any) -> bool:
    """Returns whether the variable gets weight decay: `_use_weight_decay`."""
    return bool(optimizer._use_weight_decay(variable))


def decay_exclusions(optimizer: Any) -> tuple[frozenset[Any], Any] | None:
    """Returns `_exclude_from_weight_decay` and its pattern: what the public method was given.

    These are keys of variables, which live as long as their model, and a pattern for names; None
    if the method was not called. No config has them.
    """
    keys = getattr(optimizer, "_exclude_from_weight_decay", None)
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    return None if keys is None else (frozenset(keys), pattern)


def set_decay_exclusions(optimizer: Any, exclusions: tuple[frozenset[Any], Any] | None) -> None:
    """Gives a new optimizer what `decay_exclusions` found in another."""
    if exclusions is not None:
        optimizer.exclude_from_weight_decay()
        keys, pattern = exclusions
        optimizer._exclude_from_weight_decay = set(keys)
        optimizer._exclude_from_weight_decay_pattern = pattern


def optimizer_map(optimizer: Any) -> Any:
    """Returns the map from variables to the parts: `MultiOptimizer._optimizer_map`."""
    return optimizer._optimizer_map
