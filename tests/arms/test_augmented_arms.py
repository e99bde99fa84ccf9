"""Arms with augmentation: what validation chooses, what is learned from copies, and that nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest

from tfxfer.data.augment.policy import parsed

pytestmark = pytest.mark.tensorflow


def fake_arm(name, score, calls, answer=0):
    from tfxfer.experiment import Arm, Outcome

    def run(budget, seed):
        calls.append((score, budget, seed))
        return Outcome(np.eye(2, dtype=np.float32)[[answer] * 4], {"validation": {"1": score, "2": float("nan")}})

    return Arm(name, run, plain=True)


def test_validation_chooses_the_strength_once_a_budget():
    from tfxfer.arms.augmented import augmented_arms

    calls = []
    scores = {"text:typing:0.1": 0.6, "text:typing:0.2": 0.8}
    plain = [fake_arm("transfer", 0.7, calls), fake_arm("majority", 0.1, calls)]
    policy = parsed("text:typing:0,0.1,0.2")
    (arm,) = augmented_arms(policy, 4, plain, lambda level: [fake_arm("transfer", scores[str(level)], calls, 1)])
    assert (arm.name, arm.plain) == ("transfer_augmented", False)
    (other,) = augmented_arms(parsed("text:casing"), 4, plain, lambda level: [replace(plain[0], key="lora")])
    assert other.key.startswith("lora") and other.key != arm.key and arm.key  # records of other edits are other ones
    found = arm.run(5, 0)
    assert found.settings["policy"] == "text:typing:0.2" and found.probabilities[0].argmax() == 1
    assert [call[0] for call in calls] == [0.7, 0.6, 0.8]
    arm.run(5, 1)
    assert calls[3:] == [(0.8, 5, 1)]
    (none,) = augmented_arms(policy, 4, plain[:1], lambda level: [fake_arm("transfer", 0.7, calls, 1)])
    assert none.run(5, 0).settings["policy"] == "none"  # of equal ones the weaker


def test_an_arm_goes_on_with_the_strength_of_an_earlier_run():
    from tfxfer.arms.augmented import augmented_arms
    from tfxfer.records import Record

    calls = []
    (arm,) = augmented_arms(
        parsed("text:typing:0.1,0.2"), 4, [], lambda level: [fake_arm("native", level.parts[0].strength, calls)]
    )
    arm.recall(Record("native_augmented", 5, 0, settings={"policy": "text:typing:0.1"}))
    arm.run(5, 1)
    assert calls == [(0.1, 5, 1)]


def test_a_probe_of_shares_is_that_of_examples_with_several_labels():
    from tfxfer.transfer.feature.probe import linear_probe

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)).astype(np.float32), rng.integers(0, 3, 30)
    shares = 0.75 * np.eye(3)[y] + 0.25 * np.eye(3)[(y + 1) % 3]
    four = np.concatenate([X] * 4), np.concatenate([y, y, y, (y + 1) % 3])
    wanted, found = linear_probe(*four, strengths=[0.01]), linear_probe(X, shares, strengths=[0.01])
    np.testing.assert_allclose(found.predict_proba(X), wanted.predict_proba(X), atol=2e-3)
    np.testing.assert_allclose(
        linear_probe(X, np.eye(3)[y], strengths=[0.01]).predict_proba(X),
        linear_probe(X, y, strengths=[0.01]).predict_proba(X),
        atol=2e-3,
    )


def test_drawn_texts_without_an_edit_are_those_of_the_bridge(monkeypatch):
    from tfxfer.data.augment.policy import Policy
    from tfxfer.transfer.bridges import rendered_copies as module
    from tfxfer.transfer.bridges.render import RenderText
    from tfxfer.transfer.bridges.rendered_copies import rendered_copies

    monkeypatch.setattr(module, "FACES", ("DejaVuSerif",))
    bridge = RenderText(24, 64, 12)
    draw, texts = rendered_copies(bridge), ["one", "Größe", "ω"]
    np.testing.assert_array_equal(draw(texts, Policy(), 0), np.asarray(bridge(np.array(texts, object))))
    first, again, other = (
        draw(texts * 4, parsed("rendered:face+rendered:shift+rendered:blur"), seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape == (12, 24, 64, 1) and (first != other).any()
    assert (first.min((1, 2, 3)) < 128).all()  # every one has ink


@pytest.mark.parametrize("policy", ["images:shift", "images:mixup"])
def test_copies_join_training_and_no_other_split(policy):
    import keras

    from tfxfer.arms.classifier import ClassifierArm, TaskBatches
    from tfxfer.config import TrainingConfig
    from tfxfer.data.augment.copies import Augmentation
    from tfxfer.data.dataset import Dataset
    from tfxfer.data.rows import Rows
    from tfxfer.recipes.feature import FeatureConfig
    from tfxfer.tasks.classification import Task

    rng = np.random.default_rng(0)
    labels = np.arange(12, dtype=np.int32) % 2
    images = (rng.integers(0, 60, (12, 6, 6, 1)) + 150 * labels[:, None, None, None]).astype(np.uint8)
    rows = {split: Rows.of({"image": images, "label": labels}) for split in ("train", "validation", "test")}
    data = Dataset("made", ("dark", "light"), rows, "f")
    task = Task(data, "image", {"image_size": None, "channels": 1}, augment=Augmentation(parsed(policy), 2))
    batches = TaskBatches(task)

    def build(seed):
        x = keras.Input((6, 6, 1))
        return keras.Model(
            x, keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(keras.ops.cast(x, "float32") / 255))
        )

    training = TrainingConfig(steps=6, batch_size=4, learning_rates=(0.1,))
    arm = ClassifierArm(batches, build, training, FeatureConfig(), (4, 0))
    if policy == "images:mixup":  # labels are shares of the classes
        assert arm(4, 0).probabilities.shape == (12, 2)
    seen = list(batches.training(task.train(4, 0), 4, 6, 0))
    assert seen[0][1].shape == ((4, 2) if policy.endswith("mixup") else (4,))
    assert len(np.unique(np.concatenate([x.numpy() for x, _ in seen]), axis=0)) > 8  # more than there are examples
    np.testing.assert_array_equal(np.concatenate([x.numpy() for x in batches.inputs("test")]), images)


def test_the_report_says_whether_augmentation_helped():
    from tfxfer.experiment import with_verdicts
    from tfxfer.recipes.augmentation import described
    from tfxfer.recipes.panels.augmentation import augmentation_panel
    from tfxfer.records import Comparison, Record

    labels, rng = np.zeros(400, np.int32), np.random.default_rng(0)

    def record(arm, budget, seed, share):
        right = rng.random(400) < share
        return Record(arm, budget, seed, probabilities=np.eye(2, dtype=np.float32)[1 - right.astype(int)], trainable=1)

    shares = {
        ("transfer", 5): 0.5,
        ("transfer", 20): 0.7,
        ("transfer_augmented", 5): 0.7,
        ("transfer_augmented", 20): 0.9,
    }
    records = [record(arm, budget, seed, share) for (arm, budget), share in shares.items() for seed in range(3)]
    about = {"arms": described({"transfer": "The method."}, ["transfer_augmented"], "pairs")}
    pairs = (("transfer_augmented", "transfer"),)
    made = with_verdicts(Comparison("t", ("a", "b"), labels, tuple(records), contrasts=pairs, about=about))
    assert [row["word"] for row in made.verdicts if row["a"] == "transfer_augmented"] == ["helped"] * 3
    panel = augmentation_panel(made, "pairs")
    assert panel.points[0].startswith("Transfer with augmentation helped: +0.")
    assert "labels a class, it scores with it at" in panel.points[1] and "are saved" in panel.points[1]
    assert augmentation_panel(Comparison("t", ("a", "b"), labels, tuple(records[:6])), "pairs") is None


def test_copies_of_images_keep_their_texts():
    from tfxfer.tasks.captioned_images import CaptionedMaps
    from tfxfer.tasks.image_text_pairs import ImageTextPairs
    from tfxfer.tasks.visual_questions import Questions

    rows, words = np.arange(3.0)[:, None], [["a"], ["b", "c"], ["d"]]
    pairs = ImageTextPairs({"train": rows, "test": rows}, {"train": words, "test": words}, {"train": np.arange(3)})
    copies = np.stack([10 + np.arange(4.0)[:, None], 20 + np.arange(4.0)[:, None]])  # of four images, three are drawn
    found = pairs.with_copies(copies, [[["A"], ["B", "C"], ["D"], ["E"]]] * 2)
    assert found.features["train"].ravel().tolist() == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert found.ids["train"].tolist() == [0, 1, 2] * 3 and found.features["test"] is rows
    assert found.texts("train") == ["a", "b", "c", "d", "A", "B", "C", "D", "A", "B", "C", "D"]
    assert found.image_index("train").tolist() == [0, 1, 1, 2, 3, 4, 4, 5, 6, 7, 7, 8]
    maps = CaptionedMaps({"train": rows, "test": rows}, {"train": words, "test": words}).with_copies(copies)
    assert maps.maps["train"].ravel().tolist() == found.features["train"].ravel().tolist()
    assert maps.captions == {"train": words * 3, "test": words}
    asked = Questions(rows.astype(np.uint8), np.array([0, 2, 2]), ["x?", "y?", "z?"], ["1", "2", "3"], ["k"] * 3)
    more = asked.with_copies([rows.astype(np.uint8) + 10])
    assert more.image_index.tolist() == [0, 2, 2, 3, 5, 5] and more.answers == ["1", "2", "3"] * 2
    assert asked.about_each() == ["x? 1", "", "y? 2 z? 3"]
