"""Requests that cannot work are refused before TensorFlow is imported, by the option's name and with a remedy."""

import json
import math
import subprocess
import sys

import here
import pytest

from tfxfer.config import with_options
from tfxfer.errors import UserError
from tfxfer.recipes import RECIPES
from tfxfer.recipes.checks import POSITIONS
from tfxfer.recipes.source_seeds import source_seeds

DECODER = {"transfer": "encoder_to_decoder"}
PREFIX = {"conditioning": "prefix"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_default_and_the_smoke_experiment_can_be(recipe):
    here.check(recipe)
    here.check(recipe, **RECIPES[recipe].smoke, smoke=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_encoder": "fresh:bert"}, "--image-encoder fresh:bert: has no feature maps"),
        ({"learning_rates": (3e-3, 0.0)}, "--learning-rates 0.0: a rate is a number above 0"),
        ({"learning_rates": (math.inf,)}, "--learning-rates inf"),
        ({"length_penalty": math.nan}, "--length-penalty nan: must be a finite number"),
        ({"freeze_decoder_fractions": (0.0, math.nan)}, "--freeze-decoder-fractions nan"),
        (
            {"language_model": "keras:MobileNetV2/fresh"},
            "--language-model keras:MobileNetV2/fresh: give a data set of texts",
        ),
        ({"language_model": "fresh:bert"}, "--language-model fresh:bert: give a data set of texts, .* preset:DIR"),
        ({"max_length": 65}, "--max-length 65: the BERT that is trained here has 64 positions; ask for fewer"),
        (PREFIX | {"prefix_length": 49}, "--max-length 16 and --prefix-length 49: .* 64 positions"),
    ],
)
def test_a_captioner_that_cannot_be(change, message):
    with pytest.raises(UserError, match=message):
        here.check("captioning", **change)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"max_length": 64},
        PREFIX | {"prefix_length": 48},
        {"prefix_length": 64},  # of a prefix that is not made
        {"image_encoder": "fresh:cnn/article"},
    ],
)
def test_a_captioner_that_can_be(change):
    here.check("captioning", **change)


FORMATS = {
    "Hugging Face": {"model_type": "bert", "max_position_embeddings": 24},
    "KerasHub": {"class_name": "BertBackbone", "config": {"max_sequence_length": 24}},
}


@pytest.mark.parametrize("described", FORMATS.values(), ids=FORMATS)
def test_a_given_bert_has_the_positions_that_its_folder_gives(tmp_path, described):
    (tmp_path / "config.json").write_text(json.dumps(described))
    bert = f"preset:{tmp_path}"
    here.check("captioning", language_model=bert, max_length=24)
    with pytest.raises(UserError, match=r"--max-length 16 and --prefix-length 9: preset:.* has 24 positions"):
        here.check("captioning", language_model=bert, prefix_length=9, **PREFIX)
    with pytest.raises(UserError, match="--max-length 32: preset:.* has 24 positions"):
        here.check("structure", source=bert, **DECODER)
    for recipe in ("retrieval", "vqa"):
        here.check(recipe, language_model=bert, max_length=24)
        with pytest.raises(UserError, match="--max-length 25: preset:.* has 24 positions"):
            here.check(recipe, language_model=bert, max_length=25)


@pytest.mark.parametrize("written", ["{}", "[]", "{", '{"config": {"max_sequence_length": "many"}}'])
def test_what_a_folder_does_not_give_is_left_to_the_loader(tmp_path, written):
    (tmp_path / "config.json").write_text(written)
    here.check("captioning", language_model=f"preset:{tmp_path}", max_length=400)


@pytest.mark.tensorflow
def test_the_checks_know_how_many_positions_the_bert_that_is_trained_here_has():
    from tfxfer.models.bert import small_bert

    assert small_bert(50, num_layers=1, hidden_dim=8, num_heads=1).max_sequence_length == POSITIONS


@pytest.mark.parametrize(
    ("recipe", "change", "message"),
    [
        ("structure", DECODER | {"max_length": 65}, "--max-length 65: the BERT .* 64 positions"),
        ("structure", DECODER | {"source": "fresh:bert"}, "--source fresh:bert"),
        ("structure", {"learning_rates": (math.nan,)}, "--learning-rates nan"),
        ("feature", {"learning_rates": (math.nan,)}, "--learning-rates nan"),
        ("feature", {"source": "run:x", "source_label": "script"}, "--source-label: run:x is a trained model"),
        ("feature", {"source_architecture": "keras:MobileNetV2"}, "give it as --source instead"),
        ("retrieval", {"temperature": math.nan}, "--temperature nan"),
        ("retrieval", {"max_length": 65}, "--max-length 65: the BERT .* 64 positions"),
        ("dictionary", {"languages": ("de",)}, "--languages de: give two different ones"),
        ("dictionary", {"languages": ("de", "de")}, "--languages de de: give two different ones"),
        ("dictionary", {"languages": ("de", "jp")}, "no names in 'jp'; known: en, de, .*ja"),
        ("dictionary", {"target": "glyphs"}, "--target glyphs: has no names in several languages; use emoji"),
        ("vqa", {"dropout": math.nan}, "--dropout nan"),
        ("vqa", {"train_set": ("norm",)}, "--train-set norm: there is no such train set; did you mean 'norms'"),
        ("retrieval", {"train_set": ("lora:0",)}, "--train-set lora:0: the number must be 1 or more"),
        ("captioning", {"train_set": ("head", "prefix:4")}, "--train-set prefix:4: the decoder has cross-attention"),
        ("structure", {"train_set": ("all",), "trainable": "norms"}, "--trainable: --train-set says what trains"),
        ("structure", {"train_set": ("prefix",), "transfer": "widen"}, "--train-set prefix: a CNN has no tokens"),
        ("feature", {"train_set": ("all",), "arms": ("transfer",)}, "--train-set: says what trains in the arm"),
        ("vqa", {"learning_rates": (math.inf,)}, "--learning-rates inf"),
        ("vqa", {"max_length": 65}, "--max-length 65: the BERT .* 64 positions"),
    ],
)
def test_other_recipes_that_cannot_work(recipe, change, message):
    with pytest.raises(UserError, match=message):
        here.check(recipe, **change)


BUDGETS = {"feature": "labels_per_class", "structure": "labels_per_class", "captioning": "pairs"}
BUDGETS |= {"retrieval": "pairs", "vqa": "images", "dictionary": "images", "multitask": "images"}
BUDGETS |= {"fusion": "labels_per_class"}


@pytest.mark.parametrize(("recipe", "budgets"), BUDGETS.items())
def test_arms_and_budgets_of_every_recipe(recipe, budgets):
    assert set(BUDGETS) == set(RECIPES)
    flag = "--" + budgets.replace("_", "-")
    if hasattr(RECIPES[recipe].config, "controls_at"):
        with pytest.raises(UserError, match=rf"--controls-at \[7\]: must be among {flag}"):
            here.check(recipe, controls_at=(7,))
    with pytest.raises(UserError, match="--arms: 'transfer' is the method under study"):
        here.check(recipe, arms=("random",))
    with pytest.raises(UserError, match=rf"{flag} 0: must be"):
        here.check(recipe, **{budgets: (0, 50)})
    with pytest.raises(UserError, match="--arms transferr: not one of its values; did you mean 'transfer'"):
        here.check(recipe, arms=("transferr",))


@pytest.mark.parametrize(
    "words",
    [
        ["captioning", "--steps", "0"],
        ["captioning", "--conditioning", "prefix", "--prefix-length", "0"],
        ["captioning", "--image-encoder", "fresh:vit"],
        ["retrieval", "--batch-size", "1"],
        ["vqa", "--image-encoder", "fresh:cnn"],
        ["structure", "--transfer", "merge"],
        ["feature", "--controls-at", "7"],
    ],
    ids=lambda words: " ".join(words),
)
def test_the_command_says_so_before_it_imports_tensorflow(words, tmp_path):
    code = (
        "import sys; from tfxfer import cli, train; code = cli.main(train.work, sys.argv[1:]); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    argv = [*words, "--run-dir", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    wanted = "--second" if "merge" in words else words[-2]
    assert wanted in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("recipe", "change", "count"),
    [
        ("structure", {}, 3),
        ("dictionary", {}, 3),
        ("feature", {}, 1),  # three would go past two minutes
        ("structure", {"seeds": 2}, 2),  # each source needs a run of its own
        ("structure", {"smoke": True}, 1),
        ("structure", {"source_seeds": 2}, 2),
        ("structure", {"source_epochs": 9}, 1),  # another training of the source may take long
        ("structure", {"source": "preset:FOLDER"}, 1),  # a given model has no luck here
        ("dictionary", {"image_encoder": "folder:DIR"}, 1),
    ],
)
def test_a_source_that_trains_in_seconds_is_trained_three_times(recipe, change, count):
    config = with_options(RECIPES[recipe].config(), **change)
    assert source_seeds(RECIPES[recipe], config) == count
