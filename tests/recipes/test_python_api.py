"""What Python does as README shows is what the command does: the same data, seed and training give the same."""

import csv

import here
import numpy as np
import pytest
from PIL import Image

import tfxfer
from tfxfer.recipes import RECIPES
from tfxfer.runs import Run
from tfxfer.sources.load import load_language_model
from tfxfer.transfer.knowledge import Captioner

pytestmark = pytest.mark.tensorflow
NUMBERS = ("one", "two", "three", "four", "five", "six")
SIZES = {"train": 48, "validation": 8, "test": 16}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Images of a square somewhere, bright or dark, each with a caption of its own; and texts of the same words."""
    folder = tmp_path_factory.mktemp("squares")
    places = [(row, column, light) for row in range(6) for column in range(6) for light in ("bright", "dark")]
    order = np.random.default_rng(0).permutation(len(places))
    splits = [split for split, count in SIZES.items() for _ in range(count)]
    rows = [("image", "caption", "split")]
    for i, split in zip(order, splits, strict=True):
        row, column, light = places[i]
        pixels = np.zeros((32, 32), np.uint8)
        pixels[5 * row : 5 * row + 6, 5 * column : 5 * column + 6] = 250 if light == "bright" else 120
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append((f"{i}.png", f"{light} square row {NUMBERS[row]} column {NUMBERS[column]}", split))
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    texts = [f"{a} square {b} {c} column" for a in ("bright", "dark") for b in NUMBERS for c in ("row", *NUMBERS)]
    (folder / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_captioner_from_python_captions_as_the_transfer_arm(table, data_dir, tmp_path):
    config = here.check(
        "captioning",
        language_model=f"text:{table / 'texts.txt'}",
        image_encoder="fresh:cnn",
        target=f"csv:{table / 'captions.csv'}",
        pairs=(SIZES["train"],),
        pretrain_steps=0,
        ranking="decoder",
        candidates="none",
        steps=60,
        learning_rates=(1e-2,),
        max_length=12,
        num_beams=2,
        seed=3,
        data_dir=str(data_dir),
        run_dir=str(tmp_path / "run"),
    )
    run = Run("captioning", config)
    plan = RECIPES["captioning"].build(config, run)
    (transfer,) = [arm for arm in plan.arms if arm.name == "transfer"]
    wanted = transfer.run(SIZES["train"], config.seed)

    # From here on as README shows, with the model classes and `tfxfer.load` alone
    squares = tfxfer.load(config.target.spec, data_dir=data_dir)
    images = {split: squares.arrays(split)["image"] for split in SIZES}
    captions = {split: squares.captions(split) for split in SIZES}
    cnn = tfxfer.source("fresh:cnn", input_shape=squares.image_shape or images["train"].shape[1:], seed=config.seed)
    bert, tokenizer = load_language_model(config.language_model, config, run)
    captioner = Captioner(cnn, bert, tokenizer, images["train"].shape[1:], config.model, seed=config.seed)
    # the recipe draws its training images in an order, which decides the batches
    drawn = np.random.default_rng(0).permutation(SIZES["train"])
    drawn = drawn[np.random.default_rng(config.seed).permutation(SIZES["train"])]
    captioner.fit(
        images["train"][drawn],
        [captions["train"][i] for i in drawn],
        validation=(images["validation"], captions["validation"]),
        training=config.training,
        seed=config.seed,
    )
    captioner.search["num_beams"] = config.num_beams
    found = captioner.predict(images["test"], max_length=config.training.max_length)
    score = captioner.score(images["test"], captions["test"], config.training.max_length)

    test = np.random.default_rng(0).permutation(SIZES["test"])  # the recipe's test images stand in an order too
    assert [found.texts[i][0] for i in test] == list(wanted.answers)
    assert len(set(wanted.answers)) > 1
    for name, values in wanted.scores.items():
        assert score[name] == pytest.approx(values.mean(), abs=2e-3), name
    run.close()


def test_a_captioner_and_the_recipe_have_the_same_defaults():
    """What both can set has one default: both read it from one config."""
    from tfxfer.config import CaptionModelConfig, CaptionTrainingConfig

    recipe = RECIPES["captioning"].config()
    assert recipe.model == CaptionModelConfig()
    own = CaptionTrainingConfig()
    for name in ("batch_size", "max_length", "word_dropout", "label_smoothing", "freeze_decoder_fraction",
                 "decoder_lr_scale", "num_validations", "learning_rates"):  # fmt: skip
        assert getattr(recipe.training, name) == getattr(own, name), name


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_a_feature_classifier_from_python_predicts_as_the_transfer_arm(head, data_dir, tmp_path):
    from tfxfer.transfer.bridges.render import RenderText
    from tfxfer.transfer.feature import FeatureClassifier

    rng, sizes = np.random.default_rng(0), {"train": 30, "validation": 12, "test": 30}
    rows = [("text", "label", "split")]
    for split, count in sizes.items():
        for i in range(count):
            rows.append(("".join(rng.choice(list(("il.tf", "mwæOQ")[i % 2]), 9)), "thin wide".split()[i % 2], split))
    with (tmp_path / "letters.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    config = here.check(
        "feature",
        source="fresh:cnn",
        target=f"csv:{tmp_path}/letters.csv",
        labels_per_class=(4,),
        width=96,
        head=head,
        epochs=30,
        learning_rates=(3e-3,),
        seed=2,
        data_dir=str(data_dir),
        run_dir=str(tmp_path / "run"),
    )
    run = Run("feature", config)
    plan = RECIPES["feature"].build(config, run)
    wanted = plan.arms[0].run(4, config.seed)

    letters = tfxfer.load(config.target.spec, data_dir=data_dir)
    few = letters.with_labels(4, config.seed)
    cnn = tfxfer.source("fresh:cnn", seed=config.seed)
    channels = cnn.input.shape[-1]
    classifier = FeatureClassifier(
        cnn, letters.class_names, input_bridge=RenderText(32, 96, 24, channels=channels), head=head
    )
    classifier.fit(
        few.texts("train"),
        few.labels("train"),
        validation=(letters.texts("validation"), letters.labels("validation")),
        training=config.training,
        seed=config.seed,
    )
    found = classifier.predict(letters.texts("test"))
    assert len(found) == sizes["test"] and len(set(found.argmax(1))) == 2
    np.testing.assert_allclose(found, wanted.probabilities, atol=2e-3)
    np.testing.assert_array_equal(found.argmax(1), wanted.probabilities.argmax(1))
    run.close()
