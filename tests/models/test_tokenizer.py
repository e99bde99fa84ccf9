"""The tokenizer in the folder of a model."""

import json

import pytest

from tfxfer.errors import UserError
from tfxfer.models.tokenizer import NEEDED, WordPieceTokenizer

pytestmark = pytest.mark.tensorflow


def write_folder(folder, pieces, **settings):
    """Write the folder of a tokenizer."""
    (folder / "vocab.txt").write_text("\n".join([*NEEDED, *pieces]) + "\n", encoding="utf-8")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def round_trip(tokenizer, text):
    return tokenizer.decode(tokenizer.encode([text], 16)[0])[0]


def test_a_cased_bert_keeps_case_and_accents(tmp_path):
    tokenizer = WordPieceTokenizer.from_folder(write_folder(tmp_path, ["Paris", "paris", "été"], do_lower_case=False))
    assert not tokenizer.lowercase
    assert round_trip(tokenizer, "Paris été") == "Paris été"


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": True}, {"tokenizer_class": "BertTokenizer"}])
def test_others_are_lower_cased(tmp_path, settings):
    tokenizer = WordPieceTokenizer.from_folder(write_folder(tmp_path, ["paris", "ete"], **settings))
    assert round_trip(tokenizer, "Paris Été") == "paris ete"


def test_kerashubs_own_settings_are_read_too(tmp_path):
    assets = tmp_path / "assets" / "tokenizer"
    assets.mkdir(parents=True)
    (assets / "vocabulary.txt").write_text("\n".join([*NEEDED, "Paris"]) + "\n", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(json.dumps({"config": {"lowercase": False}}))
    assert round_trip(WordPieceTokenizer.from_folder(tmp_path), "Paris") == "Paris"


def test_settings_that_cannot_be_read_are_named(tmp_path):
    (write_folder(tmp_path, ["paris"]) / "tokenizer_config.json").write_text('{"do_lower_case": fal')
    with pytest.raises(UserError, match=r"tokenizer_config\.json: is not JSON"):
        WordPieceTokenizer.from_folder(tmp_path)


def test_a_folder_without_a_vocabulary_is_named(tmp_path):
    with pytest.raises(UserError, match="has no tokenizer"):
        WordPieceTokenizer.from_folder(tmp_path)
