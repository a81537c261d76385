"""An optimizer's class and config, apart from the object, to make new ones of the same class."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_bigbatch._private_api import (
    decay_exclusions,
    learning_rate_source,
    optimizer_map,
    set_decay_exclusions,
)
from keras_bigbatch._rates.learning_rates import (
    LearningRate,
    LearningRateSchedule,
    checked_learning_rate,
    learning_rate_key,
)
from keras_bigbatch._rates.regime_stretch import RegimeStretch
from keras_bigbatch._user_warnings import without_warnings
from keras_bigbatch.optimizers._clip_first_updates import ClipFirstUpdates

# From an optimizer's recipe to the config entries to replace.
Changed = Callable[["OptimizerRecipe"], Mapping[str, Any]]


@dataclass(frozen=True, eq=False, repr=False)
class OptimizerRecipe:
    """An optimizer's class and config, and those of the optimizers inside it.

    Equal recipes make equal optimizers.

    Args:
        kind: The class.
        config: The config, without the rate and the optimizers inside.
        learning_rate: The rate, a float or a schedule; a function as Keras serializes it; None
            if only the optimizers inside have rates.
        parts: The recipes of the optimizers inside a wrapper.
        patterns: For a `MultiOptimizer`, the pattern of each part's variables, None by default.
        exclusions: What was passed to `exclude_from_weight_decay`, which a config leaves out.
    """

    kind: Any
    config: Mapping[str, Any]
    learning_rate: Any = None
    parts: tuple[OptimizerRecipe, ...] = ()
    patterns: tuple[tuple[str | None, int], ...] = ()
    exclusions: Any = None

    @property
    def updating(self) -> tuple[OptimizerRecipe, ...]:
        """The recipes of the optimizers that make updates: all but the wrappers."""
        return tuple(each for part in self.parts for each in part.updating) or (self,)

    @property
    def leading(self) -> OptimizerRecipe:
        """The recipe whose rate is shown; for a `MultiOptimizer`, the default's."""
        return self.updating[-1]

    @property
    def accumulation_steps(self) -> int:
        """Its `gradient_accumulation_steps`, or 1."""
        return self.leading.config.get("gradient_accumulation_steps") or 1

    def patterns_of(self, recipe: OptimizerRecipe) -> str:
        """Says which variables a part of a `MultiOptimizer` has; "" if there is none."""
        inside = next((part.patterns_of(recipe) for part in self.parts if part.patterns), "")
        held = [
            "the others" if pattern is None else repr(pattern)
            for pattern, place in self.patterns
            if recipe in self.parts[place].updating
        ]
        return ", ".join(held) or inside

    def make(self, changed: Changed) -> keras.optimizers.Optimizer:
        """Makes a new optimizer.

        Args:
            changed: Takes the recipe of an optimizer that makes updates and returns the config
                entries to replace, which always include the rate.
        """
        if self.patterns:
            # Several patterns may share an optimizer.
            made = [part.make(changed) for part in self.parts]
            held = {pattern: made[part] for pattern, part in self.patterns}
            default = held.pop(None)
            return self.kind(keras.optimizers.OptimizerMap(default, held), **self.config)
        if self.parts:
            return self.kind(self.parts[0].make(changed), **self.config)
        optimizer = self.kind.from_config({**self.config, **changed(self)})
        set_decay_exclusions(optimizer, self.exclusions)
        return optimizer

    def _key(self) -> Hashable:
        rate = self.learning_rate
        rate = repr(rate) if isinstance(rate, dict) else learning_rate_key(rate)
        entries = {name: value for name, value in self.config.items() if name != "name"}
        said = json.dumps(entries, sort_keys=True, default=repr)
        parts = tuple(part._key() for part in self.parts)
        return self.kind, said, rate, parts, self.patterns, self.exclusions

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, OptimizerRecipe) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.parts))
        if not self.parts:
            rate = self.learning_rate
            inside = f"{type(rate).__name__}" if isinstance(rate, LearningRateSchedule) else rate
        return f"{self.kind.__name__}({inside})"


def recipe_of(optimizer: Any) -> OptimizerRecipe:
    """Returns the recipe of an optimizer, which is not changed.

    Raises a `ValueError` if it is not one, or if its class and config do not fully describe it.
    """
    if isinstance(optimizer, OptimizerRecipe):
        return optimizer
    if isinstance(optimizer, type) or not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            "`optimizer` must be a Keras optimizer. Received: "
            f"optimizer={optimizer!r}. Pass one, such as `keras.optimizers.AdamW(3e-4)`."
        )
    kind = type(optimizer)
    for wrapper, inside in _WRAPPERS.items():
        if isinstance(optimizer, wrapper):
            config = _config(optimizer, inside)
            return OptimizerRecipe(kind, config, parts=(recipe_of(getattr(optimizer, inside)),))
    if hasattr(optimizer, "optimizers"):
        return _of_several(optimizer)
    config = _config(optimizer, "learning_rate")
    recipe = OptimizerRecipe(kind, config, _rate(optimizer), exclusions=decay_exclusions(optimizer))
    _check_complete(optimizer, recipe)
    return recipe


# The wrappers of one optimizer, and the attribute that holds it.
_WRAPPERS = {
    ClipFirstUpdates: "optimizer",
    keras.optimizers.LossScaleOptimizer: "inner_optimizer",
}


def _of_several(optimizer: Any) -> OptimizerRecipe:
    mapped = optimizer_map(optimizer)
    if not hasattr(mapped, "default_optimizer"):
        raise ValueError(
            "A `MultiOptimizer` must have an `OptimizerMap`, to be recreated for another batch. "
            f"Received: one with the function {mapped!r}. Write it as "
            "`keras.optimizers.OptimizerMap(default, {pattern: optimizer})`."
        )
    # The default comes last, since its rate is the one that is shown.
    held = {**dict(mapped.items()), None: mapped.default_optimizer}
    inside = list({id(each): each for each in held.values() if each is not held[None]}.values())
    inside.append(held[None])
    places = {id(each): place for place, each in enumerate(inside)}
    return OptimizerRecipe(
        type(optimizer),
        _config(optimizer, "optimizer_map"),
        parts=tuple(map(recipe_of, inside)),
        patterns=tuple((pattern, places[id(each)]) for pattern, each in held.items()),
    )


def _config(optimizer: Any, without: str) -> dict[str, Any]:
    try:
        config = dict(optimizer.get_config())
    except Exception as error:
        raise ValueError(
            "The optimizer must have a config, to be recreated for another batch. Received: "
            f"{type(optimizer).__name__}, whose `get_config` raises {error!r}. Give it, or the "
            "schedule in it, a `get_config`."
        ) from error
    if without not in config:
        raise ValueError(
            f"The optimizer's config must have its {without}. Received: {type(optimizer).__name__} "
            f"with a config of {', '.join(config)}. Add it in `get_config`."
        )
    del config[without]
    return config


def _rate(optimizer: Any) -> Any:
    rate = learning_rate_source(optimizer)
    if isinstance(rate, LearningRateSchedule):
        return rate
    if isinstance(rate, keras.Variable):
        return _as_written(rate)
    return optimizer.get_config()["learning_rate"]


def _as_written(rate: keras.Variable) -> float:
    """Returns 0.001 where a float32 variable has 0.0010000000474974513."""
    number = keras.ops.convert_to_numpy(rate)
    return float(str(number)) if number.dtype == np.float32 else float(number)


def _check_complete(optimizer: Any, recipe: OptimizerRecipe) -> None:
    """Raises if a copy made from class and config differs in what can be compared."""
    rate = recipe.learning_rate
    with without_warnings():
        # A function comes back as Keras serialized it, or not at all.
        copy = recipe.make(lambda _: {"learning_rate": 1.0 if isinstance(rate, dict) else rate})
    own, copied = _plain_attributes(optimizer), _plain_attributes(copy)
    lost = sorted(name for name in own if own[name] != copied.get(name))
    if lost:
        raise ValueError(
            "The optimizer's config must describe it fully, to recreate it for another batch. "
            f"Received: {recipe.kind.__name__}, whose config leaves out {', '.join(lost)}. Add it "
            "in `get_config`, and accept it in `__init__`."
        )


def _plain_attributes(optimizer: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(optimizer).items()
        if isinstance(value, bool | int | float | str)
        and not name.startswith("_")
        and name != "built"
    }


def rate_in_updates(recipe: OptimizerRecipe) -> LearningRate:
    """Returns the rate, checked; a schedule that the optimizer calls in micro-steps, in updates."""
    rate: Any = recipe.learning_rate
    if isinstance(rate, dict):
        raise ValueError(
            "The learning rate must be a number or a schedule, to be moved to another batch. "
            f"Received: {recipe.kind.__name__} with a function. Write it as the `__call__` of a "
            "`LearningRateSchedule`, or also pass `learning_rate` to `Regime`."
        )
    rate, steps = checked_learning_rate(rate), recipe.accumulation_steps
    if steps > 1 and isinstance(rate, LearningRateSchedule):
        return RegimeStretch(rate, 1, steps, 1.0)
    return rate
