"""What the package needs of Keras and Keras does not promise: one function for each name.

`tests/private_api` holds Keras to what is said here, on the newest version and the oldest.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

# Methods of `keras.optimizers.Optimizer` that `LayerwiseOptimizer` overrides. Under another name
# Keras would call its own, without an error:
# - `_apply_weight_decay`: its decoupled weight decay would come on top of the coupled one;
# - `_backend_update_step`: variables would be updated one by one, which is slower on torch.
OVERRIDDEN = ("_apply_weight_decay", "_backend_update_step")

# Method of `keras.layers.BatchNormalization` that takes the moments of a batch, with the input and
# the mask as its arguments, and is called in training only. `renew_statistics` watches it; under
# another name it would see no plain batch norm, and warn that it has left them as they are.
BATCH_MOMENTS = "_moments"


def flatten_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layer and all layers inside it, in the order of their making: `Layer._flatten_layers`.

    `Model.layers` does not look into layers that are not models. There is no replacement. Keras
    itself would look into a layer from its last part to its first.
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
    """The models among the layer and those inside it, the outermost first."""
    return [part for part in flatten_layers(layer) if isinstance(part, keras.Model)]


def places(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """As `flatten_layers`, but a layer that is held at several places is there for each of them."""
    found = [layer]

    def look_into(part: keras.layers.Layer, above: tuple[int, ...]) -> None:
        for each in part._flatten_layers(include_self=False, recursive=False):
            if id(each) not in above:  # a part may hold its whole
                found.append(each)
                look_into(each, (*above, id(each)))

    look_into(layer, (id(layer),))
    return found


def only_shapes_are_wanted() -> bool:
    """Whether Keras calls layers to learn the shapes of their outputs: `in_symbolic_scope`.

    It stands in the module of `keras.SymbolicScope`. The size of the batch is then unknown, or one
    that Keras has made up.
    """
    return bool(sys.modules[keras.SymbolicScope.__module__].in_symbolic_scope())


def trainer_state(model: Any) -> dict[str, Any] | None:
    """What JAX's trainer holds in the middle of an epoch, by kind: `Trainer._jax_state`.

    None if the variables have their values; also if Keras has none of the names, and then the
    caller falls back to `jax_state_sync`, which is slower.
    """
    if getattr(model, "_jax_state_synced", True):
        return None
    return getattr(model, "_jax_state", None) or None


def restored_epoch(model: keras.Model) -> int | None:
    """Where a `BackupAndRestore` wants `fit` to go on: `Trainer._initial_epoch`."""
    return model._initial_epoch


def set_restored_epoch(model: keras.Model, epoch: int | None) -> None:
    """Lets a running or the next `fit` start at `epoch`, or with None where its caller says.

    Keras itself never takes back what a `BackupAndRestore` has set.
    """
    # Read first: under another name Keras would start at 0 without an error.
    restored_epoch(model)
    model._initial_epoch = epoch


def forget_training_step(model: keras.Model) -> None:
    """Makes the next `fit` compile its step anew, by `Trainer.train_function = None`.

    A compiled step holds the schedule that was the learning rate then. `Model.compile` does the
    same, and forgets the optimizer and the metrics too.
    """
    model.train_function = None


def restore_input_structure(copy: keras.Model, model: keras.Model) -> None:
    """Gives a Functional model made of a config its inputs' structure: `Functional._inputs_struct`.

    Keras 3.10 makes a list of a single input, and warns of it in each call.
    """
    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        tensors = keras.tree.flatten(copy._inputs_struct)
        copy._inputs_struct = keras.tree.pack_sequence_as(structure, tensors)


def forget_functions(model: keras.Model) -> None:
    """Makes `fit`, `evaluate` and `predict` compile anew, by `Trainer.train_function = None` etc.

    They hold the code of the layers as it was then.
    """
    model.train_function = model.test_function = model.predict_function = None


def set_path(named: Any, path: str) -> None:
    """Names a layer or variable as it is named elsewhere: `_path`, behind `path`.

    Under another name the copy of a model has paths with other prefixes and numbers.
    """
    named._path = path


@contextlib.contextmanager
def uncompiled(models: Sequence[keras.Model]) -> Iterator[None]:
    """Lets Keras take the models for not compiled, by `Trainer.compiled = False`.

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

    The method `finalize_variable_values` is public, that `fit` calls it is not. If `fit` no longer
    does, the averages come too early.
    """
    optimizer.finalize_variable_values = lambda _: None
    try:
        yield
    finally:
        del optimizer.finalize_variable_values


def replace_clipping(optimizer: Any, clip: Callable[..., Any]) -> Callable[..., Any]:
    """Makes `clip` the optimizer's `_clip_gradients`, and returns the one before.

    It is the one place where gradients are unscaled and averaged already: an optimizer's `apply`
    sees micro-steps and scaled gradients.
    """
    before: Callable[..., Any] = optimizer._clip_gradients
    optimizer._clip_gradients = clip
    return before


def learning_rate_source(optimizer: Any) -> Any:
    """The variable, schedule or function behind the rate: `Optimizer._learning_rate`.

    `Optimizer.learning_rate` is a schedule's present value.
    """
    return optimizer._learning_rate


def step_counter(optimizer: Any) -> Any:
    """What a schedule is called with, micro-steps under accumulation: `Optimizer._iterations`.

    `Optimizer.iterations` counts updates.
    """
    return optimizer._iterations


def variable_index(optimizer: Any, variable: Any) -> int:
    """The variable's place among those the optimizer was built for: `_get_variable_index`.

    Keras's own documentation tells authors of optimizers to use it.
    """
    return int(optimizer._get_variable_index(variable))


def uses_weight_decay(optimizer: Any, variable: Any) -> bool:
    """Whether `exclude_from_weight_decay` has left the variable in: `_use_weight_decay`."""
    return bool(optimizer._use_weight_decay(variable))


def decay_exclusions(optimizer: Any) -> tuple[frozenset[Any], Any] | None:
    """What `exclude_from_weight_decay` was told: `_exclude_from_weight_decay` and its pattern.

    The keys of variables, which live as long as their model, and a pattern for names; None if it
    was not called. No config has them.
    """
    keys = getattr(optimizer, "_exclude_from_weight_decay", None)
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    return None if keys is None else (frozenset(keys), pattern)


def set_decay_exclusions(optimizer: Any, exclusions: tuple[frozenset[Any], Any] | None) -> None:
    """Tells a new optimizer what `decay_exclusions` found in another."""
    if exclusions is not None:
        optimizer.exclude_from_weight_decay()
        keys, pattern = exclusions
        optimizer._exclude_from_weight_decay = set(keys)
        optimizer._exclude_from_weight_decay_pattern = pattern


def optimizer_map(optimizer: Any) -> Any:
    """Which of a `MultiOptimizer`'s parts a variable has: `MultiOptimizer._optimizer_map`."""
    return optimizer._optimizer_map
