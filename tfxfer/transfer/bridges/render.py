"""The `render` bridge: draw text as pixels, as the input of an image model.

Super Characters (Sun et al. 2018), PIXEL (Rust et al. 2022) and CLIPPO (Tschannen et al. 2023) train image models on
rendered text. Here rendering is a layer of the model: a constant glyph atlas is made once with Pillow, and a text is a
gather of its columns in TensorFlow's graph, so a saved or exported model takes raw strings.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError, suggest
from tfxfer.transfer.bridges.atlas import EMPTY, LINE_BREAKS, MISSING, Atlas, build_atlas, largest_size
from tfxfer.transfer.bridges.paint import paint
from tfxfer.transfer.bridges.wrap import Line, Rows, one_row, wrap, wrap_square

LAYOUTS = ("line", "rows", "square")
ROW_FONT_SIZE = 16  # pixels per em where text is wrapped, as high as the patches of PIXEL and CLIPPO
# White_Space of Unicode's PropList.txt without line breaks and no-break spaces.
_SPACES = (0x09, 0x20, 0x1680, *range(0x2000, 0x2007), 0x2008, 0x2009, 0x200A, 0x205F, 0x3000)


@keras.saving.register_keras_serializable("tfxfer")
class RenderText(keras.layers.Layer):
    """Draw UTF-8 text as images: string [...] → uint8 [..., height, width, channels], black on white.

    Images are uint8 0..255 like those of every data set here: a quarter of the size of floats in a cache,
    and the image models rescale them.

    Text is drawn as Pillow's basic layout draws it with kerning off: characters in logical order, left to
    right, each at the whole pixel where the advance of the last one ended. Ink outside a character's
    advance is drawn over its neighbours as Pillow does it, with the same pixels where two characters overlap.
    Ink is cut at the edge of the image, and above the ascent and below the descent of its line.
    Nothing is shaped: Arabic letters do not join, right-to-left text keeps its logical order, and a combining
    mark is at the position that the face gives it.
    Control and format characters (joiners, marks of direction, variation selectors) draw nothing. A tab draws
    as a space, and so does a line break in layout "line". Invalid UTF-8 draws as U+FFFD.

    A character is drawn whole or is cut off. At most `width` characters a row are used, so drawing is
    bounded in time and memory for texts of any length. `count` returns how many were cut.

    Args:
        height: Height of an image in pixels.
        width: Width of an image in pixels.
        font_size: Pixels per em. None: the largest whose line fits `height` in layout "line", 16 in the
            others.
        face: A face bundled with matplotlib ("DejaVuSans", "DejaVuSerif-Bold", …) or the path of a font file.
        layout: "line": one line in the middle of the height. "rows": wrapped at spaces and line breaks into
            `height // line height` rows. "square": in a square image of such rows, each text is wrapped to
            a square at the top left, or wider when it would not fit.
        margin: Blank pixels at the left and at the right.
        invert: White on black instead.
        channels: 1, or 3 equal ones for models of colour images.
        missing: "box" draws the face's missing-glyph box where it has no glyph, "skip" draws nothing.

    Raises:
        UserError: An option cannot be used, or the face is not found.

    Example:
        >>> RenderText(height=32, width=256)(["Österreich", "日本"]).shape  # doctest: +SKIP
        TensorShape([2, 32, 256, 1])
    """

    def __init__(
        self,
        height: int = 32,
        width: int = 256,
        font_size: int | None = None,
        face: str = "DejaVuSans",
        layout: str = "line",
        margin: int = 2,
        invert: bool = False,
        channels: int = 1,
        missing: str = "box",
        **kwargs: Any,
    ):
        restored = kwargs.pop("restored", False)
        super().__init__(**kwargs)
        self._allow_non_tensor_positional_args = True  # a list of strings may be given
        self._convert_input_args = False
        self.supports_jit = False  # XLA has no strings
        _check_options(height, width, layout, margin, channels, missing)
        self.height, self.width, self.margin = int(height), int(width), int(margin)
        self.face, self.layout, self.missing = str(face), layout, missing
        self.invert, self.channels = bool(invert), int(channels)
        self._atlas: Atlas | None = None
        self._tensors: tuple[tf.Tensor, ...] | None = None
        if font_size is None:
            font_size = largest_size(face, height) if layout == "line" else ROW_FONT_SIZE
        self.font_size = int(font_size)
        if not restored:
            _ = self.atlas  # errors of the face or the size are raised here, not at the first batch

    @property
    def atlas(self) -> Atlas:
        """The drawn glyphs: those saved with the layer, or else those of the face on this machine."""
        if self._atlas is None:
            atlas = build_atlas(self.face, self.font_size)
            if atlas.line_height > self.height:
                raise UserError(
                    f"a line of {self.face} at font_size={self.font_size} is {atlas.line_height} pixels high and "
                    f"does not fit height={self.height}; use font_size={largest_size(self.face, self.height)} "
                    "or less."
                )
            self._atlas = atlas
        return self._atlas

    @property
    def rows(self) -> int:
        """Number of rows of text in an image."""
        return 1 if self.layout == "line" else self.height // self.atlas.line_height

    def call(self, texts: Any) -> tf.Tensor:
        """Draw texts: string [...] → uint8 [..., height, width, channels]."""
        texts = _as_strings(texts)
        numbers, line, rows = self._lay_out(_decode(texts))
        columns, boxes, *_ = self._constants()
        images = paint(numbers, line, rows, columns, boxes, self.width, self.margin)  # [B, R·L, used]
        above = (self.height - images.shape[1]) // 2
        below = self.height - images.shape[1] - above
        edges = [[0, 0], [above, below], [0, self.width - tf.shape(images)[2]]]
        images = tf.pad(images, edges, constant_values=tf.constant(255, tf.uint8))[..., None]
        if self.invert:
            images = 255 - images
        if self.channels > 1:
            images = tf.tile(images, [1, 1, 1, self.channels])
        tail = [self.height, self.width, self.channels]
        images = tf.reshape(images, tf.concat([tf.shape(texts), tail], 0))
        return tf.ensure_shape(images, texts.shape.concatenate(tail))

    def count(self, texts: Any) -> dict[str, tf.Tensor]:
        """Count the characters that are not drawn.

        Args:
            texts: string [...], UTF-8.

        Returns:
            int32 [...] each: "characters", how many a text has; "cut", how many at its end did not fit;
            "missing", how many in the whole text have no glyph in the face.
        """
        texts = _as_strings(texts)
        codes = _decode(texts)
        _, line, rows = self._lay_out(codes)
        total = codes.row_lengths()
        missing = codes.with_values(tf.cast(tf.equal(self._find(codes.values), MISSING), tf.int64))
        counts = {
            "characters": total,
            "cut": total - (rows.rest - line.splits[:-1]),
            "missing": tf.reduce_sum(missing, axis=1),
        }
        return {k: tf.reshape(tf.cast(v, tf.int32), tf.shape(texts)) for k, v in counts.items()}

    def fits(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Return for each text "whole", or "cut at the edge" where characters at its end did not fit."""
        cut = self.count(np.array(list(texts), object))["cut"]
        return tuple("cut at the edge" if count else "whole" for count in cut.numpy().tolist())

    def refuse_boxes(self, texts: Sequence[str], name: str) -> None:
        """Raise `UserError` when most texts are mostly characters without a glyph in the face.

        Args:
            texts: N texts.
            name: Where they come from, for the message.
        """
        given = np.array(texts, object)
        counts = {key: np.asarray(value) for key, value in self.count(given).items()}
        boxes = 2 * counts["missing"] > counts["characters"]
        written = counts["characters"] > 0
        if 2 * np.count_nonzero(boxes) <= np.count_nonzero(written):
            return
        first = int(np.flatnonzero(boxes)[0])
        raise UserError(
            f"{name}: {np.count_nonzero(boxes):,} of {np.count_nonzero(written):,} texts are mostly characters that "
            f"the face {self.face} cannot draw, such as text {first + 1}, '{given[first][:20]}'; they would be empty "
            "boxes. Use --bridge tokens, or in Python RenderText(face=...) with a font file that has them"
        )

    def _constants(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the atlas as tensors: columns [K, L] with white 255, boxes [G, 4], pages [4352], glyphs [P·256]."""
        if self._tensors is None:
            atlas = self.atlas
            with tf.init_scope():
                arrays = (255 - atlas.columns, atlas.boxes, atlas.pages, atlas.glyphs.reshape(-1))
                self._tensors = tuple(tf.constant(a) for a in arrays)
        return self._tensors

    def _find(self, codes: tf.Tensor) -> tf.Tensor:
        """Look up the glyph numbers of code points, int32 [N]."""
        _, _, pages, glyphs = self._constants()
        page = tf.gather(pages, tf.bitwise.right_shift(codes, 8))
        return tf.gather(glyphs, page * 256 + tf.bitwise.bitwise_and(codes, 255))

    def _lay_out(self, codes: tf.RaggedTensor) -> tuple[tf.Tensor, Line, Rows]:
        """Choose glyphs int32 [N] for code points [B, (T)], and break the texts into rows."""
        codes = codes[:, : self.rows * self.width]
        numbers = self._find(codes.values)
        if self.missing == "skip":
            numbers = tf.where(tf.equal(numbers, MISSING), EMPTY, numbers)
        advances = tf.gather(self.atlas.boxes[:, 2].astype(np.int64), numbers)
        pens = tf.pad(tf.cumsum(advances), [[1, 0]])
        inner = self.width - 2 * self.margin
        none = tf.zeros([0], tf.int64)
        if self.layout == "line":
            line = Line(codes.row_splits, pens, none, none)
            return numbers, line, one_row(line, inner)
        line = Line(codes.row_splits, pens, _where(codes.values, _SPACES), _where(codes.values, LINE_BREAKS))
        if self.layout == "rows":
            return numbers, line, wrap(line, inner, self.rows)
        return numbers, line, wrap_square(line, inner, self.rows, self.atlas.line_height)

    def compute_output_spec(self, texts: Any) -> keras.KerasTensor:
        """Return the symbolic output without drawing: a loaded model is rebuilt before its atlas is loaded."""
        return keras.KerasTensor((*texts.shape, self.height, self.width, self.channels), dtype="uint8")

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Return [..., height, width, channels]."""
        return (*input_shape, self.height, self.width, self.channels)

    def get_config(self) -> dict[str, Any]:
        """Return the options; the atlas is saved as an asset."""
        own = ("height", "width", "font_size", "face", "layout", "margin", "invert", "channels", "missing")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RenderText":
        """Rebuild the layer; its glyphs are saved with it, so its face need not exist here."""
        return cls(**config, restored=True)

    def save_assets(self, dir_path: str) -> None:
        """Write the atlas, so that a loaded layer draws the same without the font."""
        self.atlas.save(Path(dir_path) / "atlas.npz")

    def load_assets(self, dir_path: str) -> None:
        """Read the atlas."""
        self._atlas, self._tensors = Atlas.load(Path(dir_path) / "atlas.npz"), None


def draw(texts: Sequence[str | bytes], batch: int = 4096, **options: Any) -> np.ndarray:
    """Draw texts as an array.

    Args:
        texts: N texts.
        batch: How many are drawn at once.
        options: Those of `RenderText`.

    Returns:
        uint8 [N, height, width, channels].
    """
    layer, drawn = _compiled(tuple(sorted(options.items())))
    encoded = [t.encode("utf-8", "surrogatepass") if isinstance(t, str) else t for t in texts]
    images = np.empty((len(encoded), layer.height, layer.width, layer.channels), np.uint8)
    order = np.argsort([len(t) for t in encoded], kind="stable")  # a batch is drawn as wide as its longest text
    for start in range(0, len(encoded), batch):
        rows = order[start : start + batch]
        images[rows] = drawn(tf.constant([encoded[i] for i in rows]))
    return images


@lru_cache(maxsize=8)
def _compiled(options: tuple[tuple[str, Any], ...]) -> tuple[RenderText, Any]:
    layer = RenderText(**dict(options))
    return layer, tf.function(layer, input_signature=[tf.TensorSpec([None], tf.string)])


def _check_options(height: int, width: int, layout: str, margin: int, channels: int, missing: str) -> None:
    if layout not in LAYOUTS:
        raise UserError(f"layout '{layout}' is unknown; {suggest(layout, LAYOUTS)}")
    if missing not in ("box", "skip"):
        raise UserError(f"missing='{missing}' is unknown; use 'box' or 'skip'")
    if channels not in (1, 3):
        raise UserError(f"channels={channels}: an image has 1 or 3")
    if layout == "square" and height != width:
        raise UserError(f"layout 'square' needs height = width, not {height} x {width}; or use layout 'rows'")
    if margin < 0 or min(height, width - 2 * margin) < 1:
        raise UserError(f"an image of {height} x {width} pixels with margins of {margin} has no space for text")


def _as_strings(texts: Any) -> tf.Tensor:
    texts = tf.convert_to_tensor(texts)
    if texts.dtype != tf.string:
        raise UserError(f"RenderText draws strings, but was given {texts.dtype.name}; pass the text column as it is.")
    return texts


def _decode(texts: tf.Tensor) -> tf.RaggedTensor:
    """Decode UTF-8 strings [...] to code points int32 [B, (T)]; invalid bytes become U+FFFD."""
    return tf.strings.unicode_decode(tf.reshape(texts, [-1]), "UTF-8", errors="replace")


def _where(codes: tf.Tensor, wanted: tuple[int, ...]) -> tf.Tensor:
    """Return the positions of wanted code points, ascending int64 [S]."""
    return tf.where(tf.reduce_any(tf.equal(codes[:, None], tf.constant(wanted)), axis=1))[:, 0]
