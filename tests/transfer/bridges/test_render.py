"""RenderText draws what Pillow draws, for any text, and its glyphs are saved with it."""

import io
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from babel import Locale
from PIL import Image, ImageDraw, ImageFont

from tfxfer.errors import UserError
from tfxfer.transfer.bridges import atlas as atlas_module
from tfxfer.transfer.bridges.atlas import Atlas, build_atlas, face_path, load_font
from tfxfer.transfer.bridges.render import RenderText, draw

pytestmark = pytest.mark.tensorflow
LANGUAGES = ("de", "fr", "pl", "vi", "tr", "el", "ru", "ar", "he", "hi", "ja", "en")
PHRASES = [str(name) for one in LANGUAGES for name in list(Locale(one).territories.values())[:60]]
ODD = ["", " ", "fjord", "e\u0301a\u0308o\u0302", "AVAVA To", "日本語", "مرحبا", "שלום", "\U0001f600!"]


def without_kerning(face, size):
    """Pillow's font of a face whose kerning table is taken out: its basic layout, kerning off."""
    ttf = pytest.importorskip("fontTools.ttLib").TTFont(face_path(face))
    if "kern" in ttf:
        del ttf["kern"]
    file = io.BytesIO()
    ttf.save(file)
    file.seek(0)
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


def pillow(rows, font, height, width, top, margin=2):
    """Draw rows of text with Pillow, each within ascent and descent of its line: uint8 [H, W]."""
    line_height = sum(font.getmetrics())
    page = np.full((height, width), 255, np.uint8)
    for i, row in enumerate(rows):
        image = Image.new("L", (width, line_height), 255)
        ImageDraw.Draw(image).text((margin, 0), row, 0, font=font)
        page[top + i * line_height :][:line_height] = np.asarray(image)
    return page


@pytest.mark.parametrize(
    "face, size", [("DejaVuSans", 26), ("DejaVuSans", 9), ("DejaVuSerif-Italic", 20), ("DejaVuSansMono", 16)]
)
def test_a_line_is_pixel_equal_to_pillow_without_kerning_overhang_included(face, size):
    font = without_kerning(face, size)
    height = sum(font.getmetrics()) + 5
    images = draw(PHRASES + ODD[:-1], height=height, width=1000, font_size=size, face=face)
    for text, image in zip(PHRASES + ODD[:-1], images, strict=True):
        expected = pillow([text], font, height, 1000, top=2)
        np.testing.assert_array_equal(image[..., 0], expected, err_msg=repr(text))


def test_a_line_is_pixel_equal_to_pillow_as_it_is_where_there_is_no_kerning_pair():
    font = load_font("DejaVuSans", 26)
    texts = [t for t in PHRASES if font.getlength(t) == sum(font.getlength(c) for c in t)]
    assert 300 < len(texts) < len(PHRASES)  # some phrases have kerning pairs: Pillow moves those characters
    images = draw(texts, height=32, width=1000)
    for text, image in zip(texts, images, strict=True):
        expected = pillow([text], font, 32, 1000, top=0)
        np.testing.assert_array_equal(image[..., 0], expected, err_msg=repr(text))


def greedy(text, font, width, rows):
    """Wrap as `wrap` is documented, character by character: the rows and the rest."""
    found = []
    while len(found) < rows and text:
        stop, used = 0, 0
        while stop < len(text) and text[stop] != "\n" and used + font.getlength(text[stop]) <= width:
            used += font.getlength(text[stop])
            stop += 1
        if stop < len(text) and text[stop] != "\n":
            space = text.rfind(" ", 0, stop + 1)
            if len(found) < rows - 1 and space > 0:
                stop = space
            rest = text[stop:].lstrip(" ")
            rest = rest[1:] if rest.startswith("\n") else rest
        else:
            rest = text[stop + 1 :]
        found.append(text[:stop])
        text = rest
    return found, text


LONG = [" ".join(PHRASES[i : i + 5]) for i in range(0, 240, 5)]
BREAKS = ["a\nb", "a \n\n b", "\n", "word\n" * 20, "x" * 100, "aa " * 60, "   leading", "trailing   ", "a  b" * 30]


def test_rows_are_wrapped_as_an_independent_reference_wraps_them():
    font = without_kerning("DejaVuSans", 12)
    layer = RenderText(height=70, width=120, font_size=12, layout="rows")
    texts = LONG + BREAKS + ODD[:-1]
    assert layer.rows == 70 // sum(font.getmetrics())
    cut = layer.count(texts)["cut"].numpy()
    for text, image, lost in zip(texts, layer(texts).numpy(), cut, strict=True):
        rows, rest = greedy(text, font, 116, layer.rows)
        top = (70 - layer.rows * sum(font.getmetrics())) // 2
        expected = pillow(rows, font, 70, 120, top)
        np.testing.assert_array_equal(image[..., 0], expected, err_msg=repr(text))
        assert lost == len(rest), repr(text)


def test_a_square_is_as_wide_as_the_root_of_the_area_or_the_longest_word_or_else_full():
    font = without_kerning("DejaVuSans", 10)
    line_height = sum(font.getmetrics())
    layer = RenderText(height=96, width=96, font_size=10, layout="square")
    texts = PHRASES[:100] + LONG + ODD[:-1]
    widened = 0
    for text, image in zip(texts, layer(texts).numpy(), strict=True):
        area = sum(font.getlength(c) for c in text) * line_height
        longest = max([sum(font.getlength(c) for c in word) for word in text.split(" ")])
        side = min(92, max(1, math.ceil(math.sqrt(area)), longest))
        rows, rest = greedy(text, font, side, layer.rows)
        if rest:
            rows, rest = greedy(text, font, 92, layer.rows)
            widened += 1
        top = (96 - layer.rows * line_height) // 2
        expected = pillow(rows, font, 96, 96, top)
        np.testing.assert_array_equal(image[..., 0], expected, err_msg=repr(text))
    assert 0 < widened < len(texts)


def test_a_phrase_in_a_square_fills_rows_where_a_line_is_long_and_flat():
    ink = draw(["Papua New Guinea"], height=96, width=96, layout="square")[0, ..., 0] < 128
    high, wide = np.ptp(np.where(ink.any(1))) + 1, np.ptp(np.where(ink.any(0))) + 1
    assert 0.5 < high / wide < 2


def test_characters_are_drawn_whole_or_cut_off_and_the_cut_is_counted():
    layer = RenderText(height=32, width=100)
    font = without_kerning("DejaVuSans", layer.font_size)
    text = "Wittgenstein"
    cut = int(layer.count([text])["cut"][0])
    kept = text[: len(text) - cut]
    assert 0 < cut < len(text)
    assert font.getlength(kept) <= 96 < font.getlength(kept + text[len(kept)])
    np.testing.assert_array_equal(layer([text])[0, ..., 0], pillow([kept], font, 32, 100, 0))


def test_texts_of_any_length():
    layer = RenderText(height=64, width=64, layout="rows")
    texts = ["", "M" * 100_000, " " * 100_000, "\u0301" * 100_000, "\n" * 100_000, "a " * 50_000]
    images, counts = layer(texts).numpy(), layer.count(texts)
    assert (images[0] == 255).all()
    assert (images[1] == layer(["M" * 500]).numpy()[0]).all()
    assert counts["characters"].numpy().tolist() == [0] + [100_000] * 5
    assert counts["cut"][0] == 0 and all(c > 90_000 for c in counts["cut"][1:])
    assert layer(tf.constant([], tf.string)).shape == (0, 64, 64, 1)
    assert draw([]).shape == (0, 32, 256, 1)


def test_a_character_without_glyph_is_the_missing_box_or_nothing_and_is_counted():
    layer = RenderText()
    counts = layer.count(["日本 abc", "abc", "日" * 1000])
    assert counts["missing"].numpy().tolist() == [2, 0, 1000]
    boxes = layer(["日本 abc", "月火 abc"]).numpy()
    assert (boxes[0] == boxes[1]).all() and (boxes[0] < 255).any()
    skipped = RenderText(missing="skip")
    assert (skipped(["日本abc"]).numpy() == layer(["abc"]).numpy()).all()


@pytest.mark.parametrize(
    "text, same_as",
    [
        ("a\tb", "a b"),
        ("a\nb", "a b"),
        ("a\r\nb", "a b"),
        ("a\u2028b", "a b"),
        ("a\x00b\x07", "ab"),
        ("\ufeffa\u200db\u200e\u00ad", "ab"),  # byte order mark, joiner, mark of direction, soft hyphen
        ("☺\ufe0f", "☺"),  # variation selector
        (b"a\xffb\xc3", "a\ufffdb\ufffd"),
        ("a\ud800b", "a\ufffd\ufffd\ufffdb"),  # a lone surrogate is three invalid bytes
    ],
)
def test_special_characters(text, same_as):
    shown, plain = draw([text, same_as])
    np.testing.assert_array_equal(shown, plain)
    assert (plain < 255).any()


def test_scripts_that_would_be_shaped_keep_their_logical_order():
    alef, bet = draw(["א", "ב"], width=64)[..., 0]
    both = draw(["אב"], width=64)[0, ..., 0]
    advance = int(load_font("DejaVuSans", 26).getlength("א"))
    np.testing.assert_array_equal(both[:, : 2 + advance], alef[:, : 2 + advance])
    np.testing.assert_array_equal(both[:, 2 + advance :], bet[:, 2 : 64 - advance])


def test_a_combining_mark_adds_ink_and_no_width():
    layer = RenderText()
    plain, marked = layer(["eva", "e\u0301va"]).numpy()
    assert (marked <= plain).all() and (marked < plain).any()


def test_invert_and_channels():
    black = draw(["Österreich"])
    np.testing.assert_array_equal(draw(["Österreich"], invert=True), 255 - black)
    colour = draw(["Österreich"], channels=3)
    assert colour.shape == (1, 32, 256, 3) and (colour == black).all()
    assert black.dtype == np.uint8 and black[0, 0, 0, 0] == 255  # the background is white


def test_the_shape_of_the_strings_is_kept():
    layer = RenderText(32, 64)
    assert layer(tf.constant("a")).shape == (32, 64, 1)
    assert layer(tf.constant([["a", "b"], ["c", ""]])).shape == (2, 2, 32, 64, 1)
    assert layer.count(tf.constant([["a", "日"]]))["missing"].numpy().tolist() == [[0, 1]]
    assert layer(keras.Input((), dtype="string")).shape == (None, 32, 64, 1)


def test_an_image_does_not_depend_on_its_batch():
    together = draw(PHRASES[:50], layout="rows", height=64)
    alone = np.concatenate([draw([t], layout="rows", height=64) for t in PHRASES[:50]])
    np.testing.assert_array_equal(together, alone)


def test_it_runs_in_tf_data_with_counts():
    layer = RenderText()
    data = tf.data.Dataset.from_tensor_slices(PHRASES[:64]).batch(16)
    data = data.map(lambda t: (layer(t), layer.count(t)["cut"]), num_parallel_calls=2)
    assert data.element_spec[0].shape == (None, 32, 256, 1)
    images = np.concatenate([p for p, _ in data.as_numpy_iterator()])
    np.testing.assert_array_equal(images, draw(PHRASES[:64]))


def reader(**options):
    text = keras.Input((), dtype="string", name="text")
    x = keras.layers.Rescaling(1 / 255)(RenderText(32, 128, **options)(text))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 5, activation="relu")(x))
    return keras.Model(text, keras.layers.Dense(3, activation="softmax")(x))


def test_a_model_with_it_trains_and_predicts_from_strings():
    model = reader()
    model.compile("adam", "sparse_categorical_crossentropy")  # jit_compile="auto": no XLA with strings
    labels = np.arange(60) % 3
    history = model.fit(tf.constant(PHRASES[:60]), labels, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert model.predict(tf.constant(PHRASES[:60]), verbose=0).shape == (60, 3)


def test_a_saved_model_needs_no_font(tmp_path, monkeypatch):
    font = tmp_path / "mine.ttf"
    font.write_bytes(face_path("DejaVuSerif").read_bytes())
    model = reader(face=str(font), layout="rows", font_size=13, missing="skip", invert=True)
    before = model.predict(tf.constant(PHRASES[:40]), verbose=0)
    model.save(tmp_path / "model.keras")
    font.unlink()
    build_atlas.cache_clear()
    monkeypatch.setattr(atlas_module, "load_font", None)  # drawing would fail
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(tf.constant(PHRASES[:40]), verbose=0), before)


def test_an_exported_model_takes_strings(tmp_path):
    model = reader()
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    texts = tf.constant([*PHRASES[:20], "", "日本"])
    np.testing.assert_allclose(served.serve(texts), model.predict(texts, verbose=0), atol=1e-6)


def test_an_atlas_is_written_and_read_whole():
    built = build_atlas("DejaVuSans", 12)
    file = io.BytesIO()
    built.save(file)
    file.seek(0)
    read = Atlas.load(file)
    assert read.line_height == sum(load_font("DejaVuSans", 12).getmetrics())
    codes = np.array([ord("é"), ord("日"), 0x10FFFF, 0x200D])
    np.testing.assert_array_equal(read.find(codes), built.find(codes))
    np.testing.assert_array_equal(read.columns, built.columns)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layout": "row"}, "did you mean 'rows'"),
        ({"face": "DejaVuSnas"}, "did you mean 'DejaVuSans'"),
        ({"face": "/nowhere/a.ttf"}, "no such font file"),
        ({"font_size": 40}, "use font_size=26 or less"),
        ({"height": 32, "width": 64, "layout": "square"}, "height = width"),
        ({"channels": 2}, "has 1 or 3"),
        ({"width": 4, "margin": 2}, "no space"),
        ({"missing": "boxes"}, "'box' or 'skip'"),
    ],
)
def test_options_that_cannot_be_used_are_refused_with_a_remedy(options, message):
    with pytest.raises(UserError, match=message):
        RenderText(**options)


def test_a_file_that_is_no_font_is_named(tmp_path):
    (tmp_path / "not.ttf").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"not\.ttf: Pillow cannot read this font"):
        RenderText(face=str(tmp_path / "not.ttf"))


def test_numbers_are_refused():
    with pytest.raises(UserError, match="draws strings, but was given int32"):
        RenderText()(tf.constant([1, 2]))


def test_texts_that_are_mostly_boxes_are_refused():
    layer = RenderText(32, 64)
    layer.refuse_boxes(["plain", "日本語", "also plain", ""], "news.csv")
    with pytest.raises(UserError, match=r"news\.csv: 2 of 3 texts .* such as text 2, '中文新闻'.* --bridge tokens"):
        layer.refuse_boxes(["plain", "中文新闻", "更多的新闻 a", ""], "news.csv")
