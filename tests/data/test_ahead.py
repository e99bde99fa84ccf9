"""A data set prepared by another process, beside what this one does."""

import pytest

import tfxfer
from tfxfer.data import ahead as module
from tfxfer.data.ahead import ahead, missing
from tfxfer.data.prepared import built_in
from tfxfer.data.spec import parse
from tfxfer.recipes import RECIPES

pytestmark = pytest.mark.tensorflow
SPEC = "languages/latin"


def test_it_is_prepared_when_the_block_ends(tmp_path, data_dir):
    assert not built_in(parse(SPEC), tmp_path / "tfds").is_prepared()
    with ahead([SPEC], tmp_path):
        pass
    assert built_in(parse(SPEC), tmp_path / "tfds").is_prepared()
    here, there = (tfxfer.load(SPEC, data_dir=folder) for folder in (tmp_path, data_dir))
    assert here.fingerprint == there.fingerprint


@pytest.mark.parametrize("spec", [SPEC, "csv:nowhere.csv", "preset:./bert", "fresh:cnn"])
def test_what_is_there_or_cannot_be_prepared_starts_nothing(spec, data_dir, monkeypatch):
    tfxfer.load(SPEC, data_dir=data_dir)
    monkeypatch.setattr(module.subprocess, "Popen", None)
    with ahead([spec], data_dir):
        pass


def test_an_error_in_the_block_ends_the_other_process(tmp_path):
    with pytest.raises(RuntimeError, match="broken"), ahead(["glyphs/by_face"], tmp_path):
        raise RuntimeError("broken")
    assert not built_in(parse("glyphs/by_face"), tmp_path / "tfds").is_prepared()


FIRST = {
    "feature": "glyphs/by_face",
    "structure": "names",
    "knowledge": "names/listed",
    "retrieval": "glyphs/by_character",
    "vqa": "names",
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_what_it_loads_and_first_what_it_needs_first(name, tmp_path):
    recipe = RECIPES[name]
    found = missing(recipe.data(recipe.config()), tmp_path)
    assert found[0] == FIRST[name] and len(found) == len(set(found)) == 2
