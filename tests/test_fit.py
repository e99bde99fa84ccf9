"""Training: exact resume after a kill, the stop at a NaN, the best weights kept; schedules, sweeps and scores."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfxfer.config import TrainingConfig
from tfxfer.errors import TfxferError, UserError
from tfxfer.fit import fit_batches, fit_in_memory, rate_schedule, sweep, validation_score, warmup_cosine

pytestmark = pytest.mark.tensorflow
PROGRAM = textwrap.dedent(
    """
    import sys, time
    import keras, numpy as np, tensorflow as tf
    from tfxfer.fit import cosine, train

    def hiding(x):
        return keras.ops.where(x == x, keras.ops.relu(x), 0.0)  # what some processors' ReLU does: NaN becomes 0

    def model(activation="relu"):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8,))
        x = keras.layers.Dense(16, activation=activation)(inputs)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Dropout(0.5, seed=3)(x)
        made = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
        made.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return made

    def batches(slow=0.0):
        rng = np.random.default_rng(1)
        x, y = rng.normal(size=(320, 8)).astype("float32"), rng.integers(0, 3, 320)

        def of(epoch, skip):
            order = np.random.default_rng(epoch).permutation(320)
            data = tf.data.Dataset.from_tensor_slices((x[order], y[order])).batch(8).skip(skip)
            if slow:
                def wait(a, b):
                    time.sleep(slow)
                    return a, b
                def waited(a, b):
                    a, b = tf.numpy_function(wait, [a, b], (tf.float32, tf.int64))
                    return tf.ensure_shape(a, [None, 8]), tf.ensure_shape(b, [None])
                data = data.map(waited)
            return data
        return of
    """
)


@pytest.fixture(scope="module")
def parts():
    space = {}
    exec(PROGRAM, space)
    return space


def test_training_learns_and_reports_each_epoch(parts):
    model, seen = parts["model"](), []
    history = parts["train"](model, parts["batches"](), 3, on_epoch=seen.append)
    assert [row["epoch"] for row in seen] == [1, 2, 3] == [row["epoch"] for row in history.rows]
    assert seen[-1]["loss"] < seen[0]["loss"]


def test_the_schedule_sets_each_epochs_learning_rate(parts):
    model, rates = parts["model"](), []
    parts["train"](
        model,
        parts["batches"](),
        3,
        learning_rate=parts["cosine"](0.1, 3),
        on_epoch=lambda row: rates.append(float(model.optimizer.learning_rate)),
    )
    assert rates == pytest.approx([0.1, 0.0505, 0.001])


def test_resume_inside_an_epoch_is_exact(parts, tmp_path):
    whole, again = parts["model"](), parts["model"]()
    parts["train"](whole, parts["batches"](), 3)

    class Killed(Exception):
        pass

    def killed_at(batches, epoch, step):
        def of(e, skip):
            data = batches(e, skip)
            if e != epoch:
                return data

            def stop(i, pair):
                if i + skip >= step:
                    raise Killed
                return i

            import tensorflow as tf

            def checked(i, pair):
                i = tf.numpy_function(lambda i: stop(i, None), [i], tf.int64)
                with tf.control_dependencies([i]):
                    return tf.identity(pair[0]), tf.identity(pair[1])

            return data.enumerate().map(checked)

        return of

    options = {"checkpoint": tmp_path / "state.npz", "checkpoint_seconds": 0.0}
    with pytest.raises(Exception, match="Killed"):
        parts["train"](again, killed_at(parts["batches"](), 1, 17), 3, **options)
    fresh = parts["model"]()
    history = parts["train"](fresh, parts["batches"](), 3, **options)
    assert history.resumed_at == (1, 17)
    for a, b in zip(whole.get_weights(), fresh.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_kill_dash_nine_then_the_same_command_gives_the_same_weights(parts, tmp_path):
    run = PROGRAM + textwrap.dedent(
        f"""
        made = model()
        history = train(made, batches(slow=0.02), 4, checkpoint={str(tmp_path / "state.npz")!r}, checkpoint_seconds=0.1)
        np.savez({str(tmp_path / "done.npz")!r}, *made.get_weights())
        print("RESUMED", history.resumed_at)
        """
    )
    first = subprocess.Popen([sys.executable, "-c", run], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 90
    while not (tmp_path / "state.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "done.npz").exists()
    second = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True)
    assert "RESUMED (" in second.stdout, second.stderr
    whole = parts["model"]()
    parts["train"](whole, parts["batches"](), 4)
    with np.load(tmp_path / "done.npz") as done:
        for a, name in zip(whole.get_weights(), done.files):
            np.testing.assert_allclose(a, done[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        ((1, "nan"), r"the loss became nan in epoch 2, step 1; the weights of epoch 1 are kept"),
        (
            ("nan", 1),
            r"the weights \S+kernel became NaN or infinite in epoch 2; the weights of epoch 1 are kept",
        ),
    ],
    ids=["in the loss", "behind a ReLU"],
)
def test_a_nan_stops_names_the_place_and_keeps_the_last_good_weights(parts, factor, message):
    model, after = parts["model"]("relu" if factor[0] == 1 else parts["hiding"]), {}
    if factor[0] == 1:
        model.compile(parts["keras"].optimizers.Adam(1e-2), "mse")

    def poisoned(epoch, skip):
        x_factor, y_factor = (float(f) if epoch == 1 else 1.0 for f in factor)
        data = parts["batches"]()(epoch, skip)
        if factor[0] == 1:
            return data.map(lambda x, y: (x, parts["tf"].cast(y, "float32")[:, None] * y_factor))
        return data.map(lambda x, y: (x * x_factor, y))

    with pytest.raises(TfxferError, match=message):
        parts["train"](model, poisoned, 3, on_epoch=lambda row: after.update(w=model.get_weights()))
    for kept, good in zip(model.get_weights(), after["w"]):
        np.testing.assert_array_equal(kept, good)
        assert np.isfinite(kept).all()


def test_the_best_epochs_weights_are_kept(parts):
    model, seen = parts["model"](), []
    validation = parts["batches"]()(99, 0)
    history = parts["train"](
        model,
        parts["batches"](),
        4,
        validation=validation,
        monitor="val_accuracy",
        learning_rate=lambda epoch: 0.01 if epoch < 2 else 10.0,  # ruins the last epochs
        on_epoch=lambda row: seen.append(row["val_accuracy"]),
    )
    assert history.best("val_accuracy")["val_accuracy"] == max(seen) > seen[-1]
    assert model.evaluate(validation, verbose=0, return_dict=True)["accuracy"] == pytest.approx(max(seen))


def test_an_empty_data_set_is_an_error_and_not_an_empty_history(parts):
    with pytest.raises(TfxferError, match="no batch"):
        parts["train"](parts["model"](), lambda epoch, skip: parts["batches"]()(0, 1000), 1)


def test_a_checkpoint_of_another_model_is_refused(parts, tmp_path):
    import keras

    state = tmp_path / "state.npz"
    parts["train"](parts["model"](), parts["batches"](), 1, checkpoint=state)
    other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation="softmax")])
    other.compile("adam", "sparse_categorical_crossentropy")
    with pytest.raises(TfxferError, match="belongs to another model"):
        parts["train"](other, parts["batches"](), 2, checkpoint=state)


# === Schedules ===


@pytest.mark.parametrize("steps", [1, 2, 5, 6, 12, 100])
def test_a_warm_up_rises_for_a_sixth_of_the_steps_and_then_falls_to_one_per_cent(steps):
    rates = [warmup_cosine(2.0, steps)(step) for step in range(steps)]
    top = int(np.argmax(rates))
    assert all(0 < rate <= 2.0 for rate in rates) and top <= -(-steps // 6)
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert steps == 1 or rates[-1] == pytest.approx(0.02)


def test_a_constant_rate_does_not_depend_on_the_number_of_steps():
    training = TrainingConfig(learning_rates=(0.5,), schedule="constant")
    long, short = rate_schedule(training, 1000), rate_schedule(training, 20)
    assert [long(i) for i in range(20)] == [short(i) for i in range(20)] and long(999) == long(10) == 0.5 > long(0) > 0
    falling = rate_schedule(replace(training, schedule="cosine"), 100)
    assert [falling(i) for i in range(100)] == [warmup_cosine(0.5, 100)(i) for i in range(100)]


def test_the_schedule_sets_each_steps_learning_rate(parts):
    model, rates = parts["model"](), []
    optimizer = model.optimizer

    class Watched(parts["keras"].callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rates.append(float(optimizer.learning_rate))

    fit = model.fit
    model.fit = lambda *given, callbacks, **how: fit(*given, callbacks=[*callbacks, Watched()], **how)
    parts["train"](model, parts["batches"](), 1, step_rate=warmup_cosine(0.1, 40))
    assert rates == pytest.approx([warmup_cosine(0.1, 40)(step) for step in range(40)])


# === Arrays in memory ===


def data(rows=40, seed=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, 8)).astype("float32"), rng.integers(0, 3, rows)


def test_arrays_are_fitted_in_batches_of_one_size_in_the_order_of_a_seed(parts):
    training, ends = TrainingConfig(steps=5, batch_size=16, learning_rates=(1e-2,)), []
    for seed in (1, 2, 1):
        model = parts["model"]()
        history = fit_in_memory(model, *data(), training, seed)
        assert int(model.optimizer.iterations) == 5 and np.isfinite(history.rows[-1]["loss"])
        ends.append(model.get_weights())
    same, other = ([np.array_equal(a, b) for a, b in zip(ends[0], ends[i])] for i in (2, 1))
    assert all(same) and not all(other)


@pytest.mark.parametrize(("rows", "steps"), [(40, 9), (5, 3)])
def test_epochs_are_steps_over_all_arrays_and_a_batch_is_never_greater_than_they_are(parts, rows, steps):
    model = parts["model"]()
    fit_in_memory(model, *data(rows), TrainingConfig(steps=0, epochs=3, batch_size=16), seed=0)
    assert int(model.optimizer.iterations) == steps


# === Choices on validation ===


RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


@pytest.mark.parametrize("top", RATES)
def test_a_sweep_climbs_to_the_best_and_looks_at_both_its_neighbours(top):
    tried = []

    def train(rate):
        tried.append(rate)
        return -abs(np.log(rate / top)), f"model {rate}"

    rate, result, scores = sweep(RATES, train)
    assert (rate, result) == (top, f"model {top}")
    place = RATES.index(top)
    assert set(RATES[max(0, place - 1) : place + 2]) <= set(tried)
    assert len(tried) == len(set(tried)) == len(scores) <= 5


def test_a_sweep_survives_values_that_fail():
    def train(rate):
        if rate > 1:
            raise TfxferError("loss became nan")
        return 1 - abs(rate - 0.1), f"model {rate}"

    rate, result, scores = sweep([0.01, 0.1, 10.0, 20.0, 30.0], train)
    assert (rate, result) == (0.1, "model 0.1")
    assert scores["0.1"] == 1.0 and np.isnan(scores["10"])
    with pytest.raises(TfxferError, match="none of the settings.*loss became nan"):
        sweep([5.0, 6.0, 7.0], train)


def test_the_users_mistake_ends_a_sweep():
    def train(rate):
        raise UserError("class 'z' has 3 examples")

    with pytest.raises(UserError, match="class 'z'"):
        sweep(RATES, train)


def test_equal_scores_keep_the_rate_that_was_tried_first():
    assert sweep(RATES, lambda rate: (0.5, rate))[0] == 3e-3  # the middle


def test_validation_accuracy_decides_and_the_loss_between_equals():
    labels = np.array([0, 1])
    good, sure, wrong = ([[0.6, 0.4], [0.4, 0.6]], [[0.9, 0.1], [0.1, 0.9]], [[0.99, 0.01], [0.51, 0.49]])
    scores = [validation_score(np.array(rows), labels) for rows in (good, sure, wrong)]
    assert scores[1] > scores[0] > scores[2]
    assert scores[0] == pytest.approx(1 + 1e-6 * np.log(0.6), abs=1e-12)
    assert np.isfinite(validation_score(np.array([[1.0, 0.0]]), np.array([1])))  # 0 counts as a very small probability
    with pytest.raises(TfxferError, match="the validation loss is nan; try a smaller learning rate"):
        validation_score(np.array([[np.nan, np.nan]]), np.array([1]))


def test_a_training_step_is_made_for_its_own_shape_whatever_was_trained_before():
    """With open shapes it would round in another way, and a training would depend on those before it."""
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, x):
            seen.append(x.shape[0])
            return x

    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(1)(Spy()(x)))
    model.compile("sgd", "mse")
    seen.clear()
    for size in (7, 8, 8, 7):
        fit_batches(model, tf.data.Dataset.from_tensors((np.ones((size, 4)), np.ones((size, 1)))), [])
    assert list(dict.fromkeys(seen)) == [7, 8] and None not in seen
    assert len(seen) < 8  # the same shape again makes no new step
