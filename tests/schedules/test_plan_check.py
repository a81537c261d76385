"""A `fit` that is not the plan's raises before its first update."""

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from keras_bigbatch import GhostBatchNormalization, Regime
from keras_bigbatch._backend import active
from tests.user_warnings import recorded

REGIME = Regime(batch=10, epochs=4, examples=100, learning_rate={0: 0.1, 2: 0.01})
PLAN = REGIME.at(batch=25, stretch=1)  # 4 steps in each of 4 epochs
X = np.random.default_rng(0).normal(size=(100, 3)).astype("float32")
Y = X[:, :1]


def model(plan=PLAN, accumulate=None, norm=None, **compiled):
    layers = [keras.Input((3,)), keras.layers.Dense(1)]
    if norm is not None:
        layers.insert(1, norm)
    made = keras.Sequential(layers)
    optimizer = keras.optimizers.SGD(plan.learning_rate, gradient_accumulation_steps=accumulate)
    made.compile(optimizer, "mse", jit_compile=False, **compiled)
    return made


def updates(made):
    return int(keras.ops.convert_to_numpy(made.optimizer.iterations))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 3}, r"epochs=3 for a plan of 4\. Pass `epochs=plan\.epochs`"),
        ({"batch_size": 10}, r"Received: 10 for a plan of 4\. .* 25 samples: `batch_size=25`, or"),
        ({"validation_split": 0.4}, r"Received: 3 for a plan of 4.* 51 to 75 samples inst.*=100"),
        ({"batch_size": 10}, r"Received: 10 for a plan of 4\. A batch must have 25 samples"),
        ({"steps_per_epoch": 2}, r"Received: 2 for a plan of 4"),
    ],
)
def test_it_raises_before_the_first_update(changed, message):
    made = model()
    before = made.get_weights()
    arguments = {**PLAN.fit_arguments(X), "verbose": 0, **changed}
    with pytest.raises(ValueError, match=message):
        made.fit(X, Y, **arguments)
    assert updates(made) == 0
    np.testing.assert_equal(made.get_weights(), before)


def test_the_plans_own_fit_passes():
    made = model()
    made.fit(X, Y, verbose=0, **PLAN.fit_arguments(X))
    assert updates(made) == PLAN.updates == 16


def test_a_remainder_that_the_plan_leaves_out():
    plan = Regime(10, 4, 105, 0.1, drop_remainder=True).at(50, stretch=1)
    x = np.concatenate([X, X[:5]])
    cure = r"Received: 3 for a plan of 2\. 105 samples are 2 batches of 50 and one of 5: .*=False"
    with pytest.raises(ValueError, match=cure):
        model(plan).fit(x, x[:, :1], verbose=0, **plan.fit_arguments(x))


@pytest.mark.parametrize(("planned", "used"), [(1, 5), (5, None), (5, 2)])
def test_accumulation_is_compared(planned, used):
    plan = REGIME.at(batch=25, stretch=1, accumulation_steps=planned)
    made = model(plan, accumulate=used)
    message = rf"gradient_accumulation_steps={used or 1} for a plan of {planned}"
    with pytest.raises(ValueError, match=message):
        made.fit(X, Y, verbose=0, **plan.fit_arguments(X))
    assert updates(made) == 0


def test_accumulation_that_agrees():
    plan = REGIME.at(batch=50, stretch=1, accumulation_steps=2)
    made = model(plan, accumulate=2)
    made.fit(X, Y, verbose=0, **plan.fit_arguments(X))
    assert updates(made) == plan.updates == 8


def test_a_rate_of_another_plan():
    made = model(REGIME.at(50, stretch=1))
    message = r"scaled from a batch of 10 to 50 with accumulation_steps=1 for a plan from .* to 25 "
    with pytest.raises(ValueError, match=message):
        made.fit(X, Y, verbose=0, **PLAN.fit_arguments(X))
    # Without the accumulation, it would fall twice too early.
    plan = REGIME.at(batch=50, stretch=1, accumulation_steps=2)
    made = model(REGIME.at(50, stretch=1), accumulate=2)
    with pytest.raises(ValueError, match=r"_steps=1 for a plan .*accumulation_steps=2\. Pass this"):
        made.fit(X, Y, verbose=0, **plan.fit_arguments(X))
    assert updates(made) == 0


class Killed(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("first", [True, False])
def test_a_resumed_fit_passes(tmp_path, first):
    def fit(*more):
        made = model()
        backup = [keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))]
        own = [PLAN.callback()]
        callbacks = [*own, *backup] if first else [*backup, *own]
        arguments = {**PLAN.fit_arguments(X), "callbacks": [*callbacks, *more], "verbose": 0}
        return made, lambda: made.fit(X, Y, **arguments)

    _, run = fit(Killed())
    with pytest.raises(KeyboardInterrupt):
        run()
    made, run = fit()
    run()
    assert updates(made) == PLAN.updates


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="Keras needs an optimizer there")
def test_a_training_step_that_needs_no_optimizer():
    class Trained(keras.Model):
        def call(self, inputs):
            return inputs

        def train_step(self, data):
            return {"loss": 0.0}

    made = Trained()
    made.compile(optimizer=None)
    made.fit(X, Y, verbose=0, **PLAN.fit_arguments(X))


def test_initial_epoch_and_several_calls_pass():
    made = model()
    several = PLAN.callback(check_epochs=False)
    made.fit(X, Y, batch_size=25, epochs=2, verbose=0, callbacks=[several])
    made.fit(X, Y, initial_epoch=2, verbose=0, **PLAN.fit_arguments(X))
    assert updates(made) == PLAN.updates
    with pytest.raises(ValueError, match=r"Received: 5 for a plan of 4"):
        made.fit(X, Y, batch_size=20, epochs=2, verbose=0, callbacks=[several])


def batches(size):
    for start in range(0, 100, size):
        yield X[start : start + size], Y[start : start + size]


@pytest.mark.filterwarnings("ignore:.*input ran out of data")
@pytest.mark.parametrize(("size", "warns"), [(25, False), (20, True), (50, True)])
def test_steps_that_fit_does_not_know_are_counted(size, warns):
    plan = Regime(10, 1, 100, 0.1).at(25, stretch=1)
    made = model(plan)
    with recorded() as caught:
        made.fit(batches(size), verbose=0, **plan.fit_arguments(batches(size)))
    ours = [each for each in caught if "in its first epoch" in str(each.message)]
    assert len(ours) == warns
    for each in ours:
        assert f"made {100 // size} steps in its first epoch, but the plan" in str(each.message)
        assert each.filename == __file__


def test_steps_that_keras_reports_in_another_order():
    """It dispatches the ends of batches to several threads."""
    check = PLAN.callback()
    check.set_model(model())
    check.set_params({"steps": None, "epochs": PLAN.epochs})
    for _ in range(2):  # two calls of `fit`
        check.on_train_begin()
        check.on_epoch_begin(0)
        for batch in (0, 3, 1, 2):
            check.on_train_batch_end(batch)
        check.on_epoch_end(0)  # warnings are errors here


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras refuses steps_per_execution on torch"
)
@pytest.mark.parametrize("steps", [2, 3])
def test_several_steps_an_execution(steps):
    made = model(steps_per_execution=steps)
    made.fit(X, Y, verbose=0, **PLAN.fit_arguments(X))
    assert updates(made) == PLAN.updates


def test_replicas_must_share_a_batch_evenly(monkeypatch):
    monkeypatch.setattr(active().replicas, "parts_of_a_batch", lambda model: 4)
    with pytest.raises(ValueError, match=r"4 replicas, batches of 25 samples.* as 28"):
        model().fit(X, Y, verbose=0, **PLAN.fit_arguments(X))


def test_one_device_does_not_divide_a_batch():
    assert active().replicas.parts_of_a_batch(model()) == 1


@pytest.mark.parametrize(("virtual_batch", "warns"), [(25, True), (26, True), (24, False)])
def test_a_ghost_batch_that_is_the_batch(virtual_batch, warns):
    norm = GhostBatchNormalization(virtual_batch)
    made = model(norm=norm)
    with recorded() as caught:
        made.fit(X, Y, verbose=0, **PLAN.fit_arguments(X))
    ours = [each for each in caught if "is not smaller than the batch of 25" in str(each.message)]
    assert len(ours) == warns
    for each in ours:
        assert f"`virtual_batch={virtual_batch}`" in str(each.message)
        assert each.filename == __file__


def test_keras_may_be_asked_to_cut_each_fit_short(monkeypatch):
    if not hasattr(keras.config, "max_epochs"):
        pytest.skip("this Keras has no such limits")
    monkeypatch.setattr(keras.config, "max_epochs", lambda: 1)
    model().fit(X, Y, verbose=0, **{**PLAN.fit_arguments(X), "epochs": 1})
    monkeypatch.setattr(keras.config, "max_steps_per_epoch", lambda: 2)
    model().fit(X, Y, verbose=0, steps_per_epoch=2, **PLAN.fit_arguments(X))


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"`check_epochs` must be True or False.*'no'"):
        PLAN.callback(check_epochs="no")


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras refuses steps_per_execution on torch"
)
@pytest.mark.parametrize(("steps", "warns"), [(2, False), (3, True)])
def test_executions_that_make_more_steps_than_fit_was_told(steps, warns):
    """Keras makes whole executions of `steps_per_epoch` steps: two of 3 where 4 were asked for."""
    tf = pytest.importorskip("tensorflow")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(25).repeat()
    made = model(steps_per_execution=steps)
    with recorded() as caught:
        made.fit(data, steps_per_epoch=4, verbose=0, **PLAN.fit_arguments(data))
    assert (updates(made) > PLAN.updates) == warns
    ours = [str(each.message) for each in caught if "in its first epoch" in str(each.message)]
    assert len(ours) == warns
    assert all("made 6 steps in its first epoch" in each for each in ours)


def test_a_rate_that_was_left_a_number_warns():
    made = model()
    made.compile(keras.optimizers.SGD(0.25), "mse", jit_compile=False)
    with recorded() as caught:
        made.fit(X, Y, verbose=0, **PLAN.fit_arguments(X))
    (said,) = [each for each in caught if "is the number 0.25, not" in str(each.message)]
    assert said.filename == __file__


def test_a_number_that_is_the_plans_or_that_a_callback_sets_is_right():
    plan = Regime(10, 2, 100, 0.1).at(40, stretch=1)
    made = model()
    made.compile(keras.optimizers.SGD(0.2), "mse", jit_compile=False)
    made.fit(X, Y, verbose=0, **plan.fit_arguments(X))
    reduce = keras.callbacks.ReduceLROnPlateau("loss")
    made.compile(keras.optimizers.SGD(0.3), "mse", jit_compile=False)
    with pytest.warns(UserWarning, match="ReduceLROnPlateau sets the learning rate"):
        arguments = plan.fit_arguments(X, [reduce])
    made.fit(X, Y, verbose=0, **arguments)


def test_stages_have_plans_of_their_own():
    stages = [kbb.training.BatchStage(25, epochs=4), kbb.training.BatchStage(50, epochs=1)]
    with pytest.raises(ValueError, match=r"A plan's callback is for `fit`.*Leave it out"):
        kbb.training.fit_stages(model(), X, Y, stages, callbacks=[PLAN.callback()])
