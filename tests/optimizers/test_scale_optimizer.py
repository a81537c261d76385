"""A whole optimizer moves to another batch, or is refused with the reason."""

import math

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from keras_bigbatch.optimizers import ClipFirstUpdates, scale_optimizer
from tests.user_warnings import assert_said_once, recorded

O = keras.optimizers  # noqa: E741
K = 16
ROOT = math.sqrt(K)
NO_OPTIMIZER = ("LossScaleOptimizer", "MultiOptimizer", "Optimizer")

# Worked out by hand: the rate's factor, and the other entries that change.
MOVED = {
    "SGD": (ROOT, {}),
    "Adam": (ROOT, {"epsilon": 1e-7 / ROOT}),
    "AdamW": (ROOT, {"epsilon": 1e-7 / ROOT, "weight_decay": 0.004 * ROOT}),
    "Adamax": (ROOT, {"epsilon": 1e-7 / ROOT}),
    "Nadam": (ROOT, {"epsilon": 1e-7 / ROOT}),
    "Lamb": (ROOT, {"epsilon": 1e-7 / ROOT}),
    "RMSprop": (ROOT, {"epsilon": 1e-7 / K, "rho": 0.9**K}),
    "Adagrad": (1, {"epsilon": 1e-7 / K**2, "initial_accumulator_value": 0.1 / K**2}),
    "LARS": (1, {}),
    "MCLR": (1, {}),
    "PercentDelta": (1, {}),
    "CBLR": (1, {}),
}
# Refused; and what changes with a rule that doubles the rate.
DOUBLED = {
    "Lion": {},
    "Adadelta": {"epsilon": 1e-7 / K},
    "Ftrl": {"initial_accumulator_value": 0.1 / K**2},
    "Muon": {"weight_decay": 0.004 * K / 2, "adam_weight_decay": 0.004 * K / 2},
    "Adafactor": {},
    "ScheduleFreeAdamW": {},
}


def classes():
    """All optimizers of Keras and ours that are to be had."""
    for namespace in (O, kbb.optimizers):
        for name, kind in vars(namespace).items():
            optimizer = isinstance(kind, type) and issubclass(kind, O.Optimizer)
            if optimizer and name not in (*NO_OPTIMIZER, "LayerwiseOptimizer", "ClipFirstUpdates"):
                yield pytest.param(kind, id=name)


def made(kind, **arguments):
    if issubclass(kind, kbb.optimizers.LayerwiseOptimizer):
        arguments = {"weight_decay": 1e-3, **arguments}  # else it warns of growing weights
    if kind.__name__ == "Muon":
        arguments = {"weight_decay": 0.004, **arguments}  # older ones have another default
    return kind(0.01, **arguments)


def config(optimizer):
    return {k: v for k, v in optimizer.get_config().items() if k != "name"}


def rounded(entries):
    return {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in entries.items()}


@pytest.mark.filterwarnings("ignore:Betas of RMSprop")
@pytest.mark.parametrize("kind", list(classes()))
def test_it_is_moved_or_refused(kind):
    small = made(kind)
    before = config(small)
    if kind.__name__ in DOUBLED:
        with pytest.raises(ValueError, match=rf"no rule to move {kind.__name__} .* Name the rule"):
            scale_optimizer(small, 8, 8 * K)
        factor, changed = 2.0, DOUBLED[kind.__name__]
        changed = {name: value for name, value in changed.items() if name in before}
        large = scale_optimizer(small, 8, 8 * K, rule=lambda ratio: 2.0)
    else:
        factor, changed = MOVED[kind.__name__]
        large = scale_optimizer(small, 8, 8 * K)
    assert type(large) is type(small)
    assert large is not small
    assert config(small) == before
    expected = {**before, "learning_rate": before["learning_rate"] * factor, **changed}
    assert rounded(config(large)) == rounded(expected)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(large))
    assert config(restored) == config(large)


def test_decay_keeps_its_time():
    """`1 / (rate * decay)` updates, as samples or as a part of the training."""
    for rule, stretch in [("sqrt", 1), ("linear", 4), ("none", 0.5), ("sqrt", None)]:
        for decay in ("samples", "training"):
            small = O.SGD(0.1, weight_decay=0.01)
            with recorded():
                large = scale_optimizer(small, 8, 128, rule, stretch=stretch, decay=decay)
            times = [1 / (float(each.learning_rate) * each.weight_decay) for each in (small, large)]
            samples = times[1] * 128 / (times[0] * 8)
            longer = 16 if stretch is None else stretch
            assert samples == pytest.approx(1 if decay == "samples" else longer, rel=1e-6)


def test_averages_of_weights_look_back_over_as_many_samples():
    small = O.Adam(0.1, use_ema=True, ema_momentum=0.999, ema_overwrite_frequency=100)
    large = scale_optimizer(small, 8, 64)
    assert large.ema_momentum == pytest.approx(0.999**8)
    assert large.ema_overwrite_frequency == 12
    # Keras moves the average at each micro-step.
    large = scale_optimizer(small, 8, 64, accumulation_steps=4)
    assert large.ema_momentum == pytest.approx(0.999**2)
    assert large.ema_overwrite_frequency == 12
    again = scale_optimizer(large, 64, 64)
    assert again.ema_momentum == pytest.approx(0.999**8)
    assert scale_optimizer(small, 8, 8 * 4000).ema_overwrite_frequency == 1


@pytest.mark.parametrize("betas", [None, "keep", "samples"])
def test_betas(betas):
    found = scale_optimizer(O.Adam(0.1), 8, 16, betas=betas).get_config()
    power = 2 if betas == "samples" else 1
    assert found["beta_1"] == pytest.approx(0.9**power)
    assert found["beta_2"] == pytest.approx(0.999**power)
    rho = scale_optimizer(O.RMSprop(0.1, rho=0.99), 8, 16, betas=betas).rho
    assert rho == pytest.approx(0.99 if betas == "keep" else 0.99**2)


def test_a_beta_that_is_hardly_an_average_is_warned_of():
    with recorded() as said:
        scale_optimizer(O.AdamW(0.1), 128, 4096, betas="samples")
    # 0.9 ** (2797 / 128) is 0.1.
    assert_said_once(said, "from 0.9 to 0.034 (beta_1)", __file__)
    assert "none falls below 0.1 is 2797." in str(said[0].message)
    with recorded() as said:
        scale_optimizer(O.AdamW(0.1), 128, 2797, betas="samples")
    assert not said


@pytest.mark.parametrize(
    ("optimizer", "rule", "warns"),
    [
        ("SGD", "linear", False),
        ("SGD", lambda ratio: ratio**0.75, False),
        ("SGD", "none", True),
        ("Adam", "linear", True),
        ("Adam", lambda ratio: math.sqrt(ratio), False),
        ("Adagrad", "sqrt", True),
        ("LARS", "linear", False),
        ("Lion", "linear", False),
    ],
)
def test_another_rule_than_the_tables_is_warned_of(optimizer, rule, warns):
    kind = getattr(O, optimizer, None) or getattr(kbb.optimizers, optimizer)
    with recorded() as said:
        large = scale_optimizer(made(kind), 8, 128, rule)
    factor = {"linear": 16, "none": 1, "sqrt": 4}.get(rule) or rule(16)
    assert float(large.learning_rate) == pytest.approx(0.01 * factor, rel=1e-6)
    assert len(said) == warns
    if warns:
        assert_said_once(said, f"multiplies the rate of {optimizer} by {factor:.4g}", __file__)


def test_a_schedule_is_scaled_and_stretched():
    cosine = O.schedules.CosineDecay(0.1, 800, warmup_target=0.5, warmup_steps=80)
    for stretch, pace in [(None, 1), (1, 1 / 8), (4, 1 / 2)]:
        large = scale_optimizer(O.Adam(cosine), 16, 128, stretch=stretch, accumulation_steps=2)
        rate = large.get_config()["learning_rate"]
        rate = O.schedules.deserialize(rate)
        for update in (0, 3, 40, 99):
            expected = float(cosine(update / pace)) * math.sqrt(8)
            assert float(rate(update * 2)) == pytest.approx(expected, rel=1e-5)


def test_a_warmup_may_keep_its_updates():
    cosine = O.schedules.CosineDecay(0.1, 800, warmup_target=0.5, warmup_steps=80)
    small = O.Adam(cosine)
    large = scale_optimizer(small, 16, 128, stretch=4, schedule_warmup="updates")
    rate = O.schedules.deserialize(large.get_config()["learning_rate"])
    found = np.array([float(rate(update)) for update in (0, 40, 80, 440)]) / math.sqrt(8)
    np.testing.assert_allclose(found, [0.1, 0.3, 0.5, 0.0], atol=1e-6)
    with pytest.raises(ValueError, match="warmup_steps=80, of 80 updates in all"):
        scale_optimizer(small, 16, 176, stretch=1, schedule_warmup="updates")
    with pytest.raises(ValueError, match=r"needs a schedule whose warm-up .* Received: 0\.1"):
        scale_optimizer(O.Adam(0.1), 16, 128, schedule_warmup="updates")


def test_a_schedule_under_accumulation_is_one_in_updates_afterwards():
    """Keras calls it once a micro-step."""
    line = O.schedules.PolynomialDecay(1.0, 100, end_learning_rate=0.0)
    small = O.SGD(line, gradient_accumulation_steps=4)
    large = scale_optimizer(small, 16, 64, rule="linear")
    assert large.gradient_accumulation_steps is None
    rate = O.schedules.deserialize(large.get_config()["learning_rate"])
    assert float(rate(5)) == pytest.approx(4 * 0.8)


def test_wrappers_are_made_anew():
    adam = O.Adam(0.1)
    clipped = ClipFirstUpdates(O.LossScaleOptimizer(adam, initial_scale=8.0), 2.0, updates=7)
    large = scale_optimizer(clipped, 8, 32)
    assert type(large) is type(clipped)
    assert (large.updates, large.global_clipnorm) == (7, 2.0)
    assert large.optimizer.initial_scale == 8.0
    inner = large.inner_optimizer
    assert isinstance(inner, O.Adam)
    assert inner is not adam
    assert float(inner.learning_rate) == pytest.approx(0.2)
    assert float(adam.learning_rate) == pytest.approx(0.1)


@pytest.mark.skipif(not hasattr(O, "MultiOptimizer"), reason="older than MultiOptimizer")
def test_each_part_of_several_has_its_own_rule():
    shared = O.Adam(0.1)
    parts = O.OptimizerMap(O.SGD(0.1), {"a/.*": shared, "b": O.Adagrad(0.1), "c": shared})
    large = scale_optimizer(O.LossScaleOptimizer(O.MultiOptimizer(parts)), 8, 32)
    moved = large.inner_optimizer._optimizer_map
    assert moved["c"] is moved["a/x"] is not shared
    rates = [float(moved[path].learning_rate) for path in ("a/x", "b", "elsewhere")]
    assert rates == pytest.approx([0.2, 0.1, 0.2])
    assert [type(moved[path]).__name__ for path in ("c", "b", "d")] == ["Adam", "Adagrad", "SGD"]
    with pytest.raises(ValueError, match="must have an `OptimizerMap`"):
        scale_optimizer(O.MultiOptimizer(lambda variable: O.SGD(0.1)), 8, 32)


def test_what_decays_not_is_still_left_out():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    adamw = O.AdamW(0.1, weight_decay=0.5)
    adamw.exclude_from_weight_decay(var_list=[model.weights[0]], var_names=["bias"])
    large = scale_optimizer(adamw, 8, 32)
    large.build(model.trainable_variables)
    zeros = [keras.ops.zeros(each.shape) for each in model.trainable_variables]
    for each in model.weights:
        each.assign(np.ones(each.shape))
    large.apply(zeros)
    means = [float(np.mean(each)) for each in model.get_weights()]
    assert means == pytest.approx([1, 1, 1 - 0.2 * 1.0, 1])


class Tuned(O.Adam):
    """Adam of somebody's own, with what no config says."""

    def __init__(self, learning_rate=0.1, extra=1.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.extra = extra


def test_a_class_of_ones_own_needs_a_rule_and_a_whole_config():
    with pytest.raises(ValueError, match=r"Tuned .* a custom subclass of Adam"):
        scale_optimizer(Tuned(), 8, 32)
    large = scale_optimizer(Tuned(epsilon=1e-4), 8, 32, rule="sqrt")
    assert type(large) is Tuned
    assert large.epsilon == pytest.approx(5e-5)
    with pytest.raises(ValueError, match="Tuned, whose config leaves out extra"):
        scale_optimizer(Tuned(extra=2.0), 8, 32, rule="sqrt")


def test_what_is_no_recipe_is_refused():
    for wrong in ("adam", O.Adam, None, 0.1):
        with pytest.raises(ValueError, match="`optimizer` must be a Keras optimizer"):
            scale_optimizer(wrong, 8, 32)
    with pytest.raises(ValueError, match="with a function"):
        scale_optimizer(O.Adam(named_rate), 8, 32)
    for name, value in [("betas", "best"), ("decay", "updates"), ("schedule_warmup", "epochs")]:
        with pytest.raises(ValueError, match=f"`{name}` must be one of"):
            scale_optimizer(O.Adam(0.1), 8, 32, **{name: value})
    for name in ("small_batch", "large_batch", "stretch", "accumulation_steps"):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            scale_optimizer(O.Adam(0.1), **{"small_batch": 8, "large_batch": 32, name: 0})


@keras.saving.register_keras_serializable("keras_bigbatch_tests")
def named_rate():
    return 0.1


def test_an_optimizer_that_has_trained_moves_as_it_is_now():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(O.Adam(0.1), "mse", jit_compile=False)
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    model.optimizer.learning_rate = 0.05
    large = scale_optimizer(model.optimizer, 4, 16)
    assert float(large.learning_rate) == pytest.approx(0.1)
    assert int(large.iterations + 0) == 0
    assert int(model.optimizer.iterations + 0) == 1
