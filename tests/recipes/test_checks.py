"""Requests that cannot work are refused before TensorFlow is imported, by the option's name and with a remedy."""

import json
import math
import subprocess
import sys

import pytest

from tfxfer.config import FeatureConfig, KnowledgeConfig, RetrievalConfig, StructureConfig, VqaConfig
from tfxfer.errors import UserError
from tfxfer.recipes.checks import check_feature, check_knowledge, check_retrieval, check_structure
from tfxfer.recipes.vqa_checks import check_vqa

DECODER = {"transfer": "encoder_to_decoder"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "fresh:bert"}, "--encoder fresh:bert: has no maps"),
        ({"learning_rates": (3e-3, 0.0)}, "--learning-rates 0.0: a rate is a number above 0"),
        ({"learning_rates": (math.inf,)}, "--learning-rates inf"),
        ({"length_penalty": math.nan}, "--length-penalty nan: must be a finite number"),
        ({"frozen": math.nan}, "--frozen nan"),
        ({"source": "keras:MobileNetV2/fresh"}, "--source keras:MobileNetV2/fresh: give a data set of texts"),
        ({"source": "fresh:bert"}, "--source fresh:bert: give a data set of texts, .* preset:DIR"),
        ({"length": 65}, "--length 65: the BERT that is trained here has 64 positions; ask for fewer"),
        ({"looking": "prefix", "prefix_length": 49}, "--length 16 and --prefix-length 49: .* 64 positions"),
    ],
)
def test_a_captioner_that_cannot_be(change, message):
    with pytest.raises(UserError, match=message):
        check_knowledge(KnowledgeConfig(**change))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"length": 64},
        {"looking": "prefix", "prefix_length": 48},
        {"prefix_length": 64},  # of a prefix that is not made
        {"encoder": "fresh:cnn/article"},
    ],
)
def test_a_captioner_that_can_be(change):
    check_knowledge(KnowledgeConfig(**change))


HOUSES = {
    "Hugging Face": {"model_type": "bert", "max_position_embeddings": 24},
    "KerasHub": {"class_name": "BertBackbone", "config": {"max_sequence_length": 24}},
}


@pytest.mark.parametrize("told", HOUSES.values(), ids=HOUSES)
def test_a_given_bert_has_the_positions_that_its_folder_tells(tmp_path, told):
    (tmp_path / "config.json").write_text(json.dumps(told))
    source = f"preset:{tmp_path}"
    check_knowledge(KnowledgeConfig(source=source, length=24))
    with pytest.raises(UserError, match=r"--length 16 and --prefix-length 9: preset:.* has 24 positions"):
        check_knowledge(KnowledgeConfig(source=source, looking="prefix", prefix_length=9))
    with pytest.raises(UserError, match="--length 32: preset:.* has 24 positions"):
        check_structure(StructureConfig(source=source, **DECODER))


@pytest.mark.parametrize("told", ["{}", "[]", "{", '{"config": {"max_sequence_length": "many"}}'])
def test_what_a_folder_does_not_tell_is_left_to_the_loader(tmp_path, told):
    (tmp_path / "config.json").write_text(told)
    check_knowledge(KnowledgeConfig(source=f"preset:{tmp_path}", length=400))


@pytest.mark.parametrize(
    ("check", "config", "message"),
    [
        (check_structure, StructureConfig(**DECODER, length=65), "--length 65: the BERT .* 64 positions"),
        (check_structure, StructureConfig(**DECODER, source="fresh:bert"), "--source fresh:bert"),
        (check_structure, StructureConfig(learning_rates=(math.nan,)), "--learning-rates nan"),
        (check_feature, FeatureConfig(learning_rates=(math.nan,)), "--learning-rates nan"),
        (check_retrieval, RetrievalConfig(temperature=math.nan), "--temperature nan"),
        (check_vqa, VqaConfig(dropout=math.nan), "--dropout nan"),
        (check_vqa, VqaConfig(learning_rates=(math.inf,)), "--learning-rates inf"),
    ],
)
def test_other_recipes_that_cannot_work(check, config, message):
    with pytest.raises(UserError, match=message):
        check(config)


@pytest.mark.parametrize(
    "words", [["--updates", "0"], ["--looking", "prefix", "--prefix-length", "0"], ["--encoder", "fresh:vit"]]
)
def test_the_command_says_so_before_it_imports_tensorflow(words, tmp_path):
    code = (
        "import sys; from tfxfer import cli, train; code = cli.main(train.work, sys.argv[1:]); "
        "assert 'tensorflow' not in sys.modules; sys.exit(code)"
    )
    asked = ["knowledge", *words, "--run-dir", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", code, *asked], capture_output=True, text=True)
    assert done.returncode == 2 and " ".join(words[-2:]) in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()
