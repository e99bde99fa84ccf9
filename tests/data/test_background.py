"""A data set prepared by another process, while this one does something else."""

import pytest

import tfxfer
from tfxfer.data import background
from tfxfer.data.background import prepare_in_background, unprepared
from tfxfer.data.prepared import built_in
from tfxfer.data.spec import parse
from tfxfer.recipes import RECIPES

pytestmark = pytest.mark.tensorflow
SPEC = "languages/latin"


def test_it_is_prepared_when_the_block_ends(tmp_path, data_dir):
    assert not built_in(parse(SPEC), tmp_path / "tfds").is_prepared()
    with prepare_in_background([SPEC], tmp_path):
        pass
    assert built_in(parse(SPEC), tmp_path / "tfds").is_prepared()
    here, there = (tfxfer.load(SPEC, data_dir=folder) for folder in (tmp_path, data_dir))
    assert here.fingerprint == there.fingerprint


@pytest.mark.parametrize("spec", [SPEC, "csv:nowhere.csv", "preset:./bert", "fresh:cnn"])
def test_what_is_there_or_cannot_be_prepared_starts_nothing(spec, data_dir, monkeypatch):
    tfxfer.load(SPEC, data_dir=data_dir)
    monkeypatch.setattr(background.subprocess, "Popen", None)
    with prepare_in_background([spec], data_dir):
        pass


def test_an_error_in_the_block_ends_the_other_process(tmp_path):
    with pytest.raises(RuntimeError, match="broken"), prepare_in_background(["glyphs/by_face"], tmp_path):
        raise RuntimeError("broken")
    assert not built_in(parse("glyphs/by_face"), tmp_path / "tfds").is_prepared()


FIRST = {
    "feature": "glyphs/by_face",
    "structure": "names",
    "captioning": "names/listed",
    "retrieval": "glyphs/by_character",
    "vqa": "names",
    "dictionary": "emoji",
    "fusion": "glyphs/by_character",
    "multitask": "glyphs/by_character",
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_lists_its_data_sets_in_the_order_of_use(name, tmp_path):
    recipe = RECIPES[name]
    found = unprepared(recipe.data(recipe.config()), tmp_path)
    count = 1 if name in ("dictionary", "multitask") else 2  # their encoder learns the same set
    assert found[0] == FIRST[name] and len(found) == len(set(found)) == count
