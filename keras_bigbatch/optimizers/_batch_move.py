"""An optimizer's hyperparameters at another batch: each with its rule, or why it stays."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

from keras_bigbatch._arguments import one_of
from keras_bigbatch._rates.held_warmup import with_warmup_held
from keras_bigbatch._rates.learning_rate_scaler import LearningRateScaler, Warmup
from keras_bigbatch._rates.learning_rates import LearningRate, LearningRateSchedule
from keras_bigbatch._rates.regime_stretch import RegimeStretch
from keras_bigbatch._rates.scale_learning_rate import Rule, scale_learning_rate
from keras_bigbatch._user_warnings import warn_user
from keras_bigbatch.optimizers._batch_rules import BatchRule, Betas, batch_rule
from keras_bigbatch.optimizers._optimizer_recipe import OptimizerRecipe

Decay: TypeAlias = Literal["samples", "training"]
# The unit in which the warm-up of a schedule keeps its length.
ScheduleWarmup: TypeAlias = Literal["samples", "updates"]

_BETAS = ("beta_1", "beta_2", "rho", "adam_beta_1", "adam_beta_2")
_DECAYS = ("weight_decay", "adam_weight_decay")
_CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")
_ROUNDING = 1e-9  # of a factor
# With a beta below this, an average is hardly one.
_SHORT = 0.1


@dataclass(frozen=True)
class Change:
    """A hyperparameter at the small and at the large batch, and the rule; equal if it stays."""

    name: str
    old: float
    new: float
    why: str


@dataclass(frozen=True)
class BatchMove:
    """The move from one batch size to another.

    Args:
        small_batch: Samples per update of the recipe.
        large_batch: Samples per update now.
        pace: Updates of the new training per update of the old one.
        rule: The rule for the rate; None for the table's.
        betas: The rule for betas; None for the table's.
        decay: The unit in which a weight decay's time is kept.
        accumulation_steps: Micro-batches per update now.
        schedule_warmup: The unit in which the warm-up of a schedule keeps its length.
    """

    small_batch: int
    large_batch: int
    pace: Fraction
    rule: Rule | None = None
    betas: Betas | None = None
    decay: Decay = "samples"
    accumulation_steps: int = 1
    schedule_warmup: ScheduleWarmup = "samples"

    def __post_init__(self) -> None:
        if self.betas is not None:
            one_of("betas", self.betas, get_args(Betas), "Or None, for the optimizer's rule.")
        one_of("decay", self.decay, get_args(Decay))
        one_of("schedule_warmup", self.schedule_warmup, get_args(ScheduleWarmup))

    @cached_property
    def ratio(self) -> float:
        """The large batch divided by the small one."""
        return self.large_batch / self.small_batch

    def rule_of(self, recipe: OptimizerRecipe) -> Rule:
        """Returns the rule for the rate: the one that was named, or the table's."""
        rule = self.rule or batch_rule(recipe.kind).rate
        if rule is None:
            raise self._no_rule(recipe)
        return rule

    def factor_of(self, recipe: OptimizerRecipe) -> float:
        """Returns the factor on the rate."""
        return self._factor(self.rule_of(recipe))

    def _factor(self, rule: Rule) -> float:
        return scale_learning_rate(1.0, self.small_batch, self.large_batch, rule)

    def paced(self, rate: LearningRate) -> LearningRate:
        """Returns a rate in updates of the new training, not scaled yet."""
        if self.schedule_warmup == "updates":
            return with_warmup_held(rate, self.pace)
        if self.pace == 1 or not isinstance(rate, LearningRateSchedule):
            return rate
        stretch = float(self.pace * Fraction(self.large_batch, self.small_batch))
        return RegimeStretch(rate, self.small_batch, self.large_batch, stretch)

    def scaled(
        self,
        rate: LearningRate,
        rule: Rule,
        warmup_updates: int = 0,
        warmup: Warmup = "gradual",
    ) -> LearningRateScaler:
        """Returns a rate in updates of the new training, scaled."""
        batches = self.small_batch, self.large_batch
        steps = self.accumulation_steps
        return LearningRateScaler(rate, *batches, rule, warmup_updates, steps, warmup)

    def check(self, recipe: OptimizerRecipe) -> None:
        """Raises if there is no rule for the rate, and warns if the table has a different one."""
        for each in recipe.updating:
            factor, table = self.factor_of(each), batch_rule(each.kind)
            if self.rule is not None:
                self._check_named(each, factor, table)
            self._check_betas(each)

    def changes(self, recipe: OptimizerRecipe) -> list[Change]:
        """Returns an optimizer's hyperparameters at the new batch, in the order of the table.

        Args:
            recipe: The recipe of an optimizer that makes updates, not of a wrapper.
        """
        rule = batch_rule(recipe.kind)
        found = [
            *self._betas(recipe, rule),
            *self._momentum(recipe),
            *self._epsilon(recipe, rule),
            *self._weight_decay(recipe, rule),
            *self._averages(recipe),
            *self._clipping(recipe),
        ]
        before, after = recipe.accumulation_steps, self.accumulation_steps
        if before != after:
            why = "micro-batches in an update, as asked for"
            found.append(Change("gradient_accumulation_steps", before, after, why))
        return found

    def changed(self, recipe: OptimizerRecipe) -> dict[str, Any]:
        """Returns the config entries that change at the new batch, without the rate."""
        entries: dict[str, Any] = {
            each.name: each.new for each in self.changes(recipe) if each.new != each.old
        }
        steps = self.accumulation_steps
        # Keras expects None instead of 1.
        return {**entries, "gradient_accumulation_steps": steps if steps > 1 else None}

    def _betas(self, recipe: OptimizerRecipe, rule: BatchRule) -> Iterator[Change]:
        for name in _BETAS:
            beta = recipe.config.get(name)
            if not beta:
                continue
            if (self.betas or rule.betas) == "samples":
                yield Change(name, beta, beta**self.ratio, f"^ {self.ratio:.4g}: kept in samples")
            else:
                yield Change(name, beta, beta, "left: kept in updates")

    def _momentum(self, recipe: OptimizerRecipe) -> Iterator[Change]:
        momentum = recipe.config.get("momentum")
        if momentum:
            yield Change("momentum", momentum, momentum, "left: the rate's rule is for the same")

    def _epsilon(self, recipe: OptimizerRecipe, rule: BatchRule) -> Iterator[Change]:
        entries = {"epsilon": rule.epsilon, "initial_accumulator_value": rule.accumulator}
        for name, power in entries.items():
            value = recipe.config.get(name)
            if not value:
                continue
            if power:
                divisor = self.ratio**power
                why = f"/ {divisor:.4g}: as the gradients' noise"
                yield Change(name, value, value / divisor, why)
            else:
                yield Change(name, value, value, "left: no rule")

    def _weight_decay(self, recipe: OptimizerRecipe, rule: BatchRule) -> Iterator[Change]:
        for name in _DECAYS:
            decay = recipe.config.get(name)
            if not decay:
                continue
            if rule.coupled_decay:
                yield Change(name, decay, decay, "left: a part of the gradient")
                continue
            # Its time, 1 / (rate * decay) updates, stays the same number of samples or the same
            # part of the training (Wang and Aitchison 2024; Bergsma et al. 2025).
            times = 1 / float(self.pace) if self.decay == "training" else self.ratio
            times /= self.factor_of(recipe)
            kept = "part of the training" if self.decay == "training" else "samples"
            yield Change(name, decay, decay * times, f"x {times:.4g}: its time kept in {kept}")

    def _averages(self, recipe: OptimizerRecipe) -> Iterator[Change]:
        if not recipe.config.get("use_ema"):
            return
        # Keras moves the average at each micro-step, but counts updates until it overwrites.
        power = self.ratio * recipe.accumulation_steps / self.accumulation_steps
        momentum = recipe.config["ema_momentum"]
        yield Change("ema_momentum", momentum, momentum**power, f"^ {power:.4g}: kept in samples")
        frequency = recipe.config.get("ema_overwrite_frequency")
        if frequency:
            often = max(1, round(frequency / self.ratio))
            yield Change(
                "ema_overwrite_frequency", frequency, often, f"/ {self.ratio:.4g}: kept in samples"
            )

    def _clipping(self, recipe: OptimizerRecipe) -> Iterator[Change]:
        for name in _CLIPPING:
            value = recipe.config.get(name)
            if value:
                yield Change(name, value, value, "left: no rule; a mean over more is smaller")

    def _no_rule(self, recipe: OptimizerRecipe) -> ValueError:
        name, source = recipe.kind.__name__, batch_rule(recipe.kind).source
        return ValueError(
            f"There is no rule to move {name} to another batch: {source}. Name the rule that you "
            "want, `rule='sqrt'`, 'linear' or 'none', or use Adam, AdamW, Adamax, Nadam, Lamb, "
            "RMSprop, Adagrad or SGD, which have one."
        )

    def _check_named(self, recipe: OptimizerRecipe, factor: float, table: BatchRule) -> None:
        allowed = sorted(self._factor(each) for each in table.allowed)
        if not allowed or allowed[0] * (1 - _ROUNDING) <= factor <= allowed[-1] * (1 + _ROUNDING):
            return
        rules = " or ".join(repr(each) for each in table.allowed)
        warn_user(
            f"rule={self.rule!r} multiplies the rate of {recipe.kind.__name__} by {factor:.4g}. "
            f"Its rule is {rules}, {_factors(allowed)} ({table.source}). Leave out `rule`, or "
            "ignore this if you have tuned it."
        )

    def _check_betas(self, recipe: OptimizerRecipe) -> None:
        rule = batch_rule(recipe.kind)
        short = [each for each in self._betas(recipe, rule) if each.new < _SHORT <= each.old]
        if not short:
            return
        largest = min(
            math.floor(self.small_batch * math.log(_SHORT) / math.log(each.old)) for each in short
        )
        betas = ", ".join(f"{each.old:.4g} to {each.new:.2g} ({each.name})" for each in short)
        warn_user(
            f"Betas of {recipe.kind.__name__} that are kept in samples fall from {betas}, which is "
            f"hardly an average anymore. The largest batch at which none falls below {_SHORT} is "
            f"{largest}. Use that, or `betas='keep'`."
        )


def _factors(factors: list[float]) -> str:
    return " or ".join(f"{factor:.4g}" for factor in factors)


def is_decay(recipe: OptimizerRecipe, name: str) -> bool:
    """Returns whether a config entry is a decoupled weight decay, which has a time."""
    return name in _DECAYS and not batch_rule(recipe.kind).coupled_decay
