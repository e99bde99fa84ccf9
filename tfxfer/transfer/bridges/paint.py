"""Draw rows of glyphs as pixels, inside TensorFlow's graph.

The background is white (255), ink black (0). A row of text is one gather of atlas columns; only ink outside a
character's advance is drawn over its neighbours afterwards.
"""

import tensorflow as tf

from tfxfer.transfer.bridges.wrap import Line, Rows


def paint(
    glyphs: tf.Tensor, line: Line, rows: Rows, columns: tf.Tensor, boxes: tf.Tensor, width: int, margin: int
) -> tf.Tensor:
    """Draw laid-out glyphs.

    Args:
        glyphs: int32 [N], the glyph of each character.
        line: The texts, with pen positions.
        rows: The R rows of each of B texts.
        columns: uint8 [K, L], atlas columns, white 255; the first is blank.
        boxes: int32 [G, 4], the atlas boxes.
        width: Width of an image in pixels.
        margin: Blank pixels before a row.

    Returns:
        uint8 [B, R·L, used], where `used` is the width of the longest row of the batch.
    """
    starts, stops = tf.reshape(rows.starts, [-1]), tf.reshape(rows.stops, [-1])  # [B·R]
    placed = tf.ragged.range(starts, stops)  # [B·R, (characters)]
    row = placed.value_rowids()
    box = tf.gather(boxes, tf.gather(glyphs, placed.values))
    first, left, advance, right = tf.unstack(box, axis=1)
    pen = tf.gather(line.pens, placed.values) - tf.gather(line.pens, tf.gather(starts, row))
    pen = tf.cast(pen, tf.int32) + margin

    # The advances of a row's characters have no gaps between them: ranges of columns, end to end.
    inside = tf.ragged.range(first + left, first + left + advance).values
    widths = tf.gather(line.pens, stops) - tf.gather(line.pens, starts)
    index = tf.RaggedTensor.from_row_lengths(inside, widths, validate=False).to_tensor()
    used = tf.minimum(margin + tf.shape(index)[1] + tf.reduce_max(tf.pad(right, [[0, 1]])), width)
    index = tf.pad(index, [[0, 0], [margin, used - margin - tf.shape(index)[1]]])  # [B·R, used]
    pixels = tf.gather(columns, tf.reshape(index, [-1]))  # [B·R·used, L]

    pixels = _overhang(pixels, used, columns, row, pen + advance, first + left + advance, right)
    pixels = _overhang(pixels, used, columns, row, pen - left, first, left)

    count, height = rows.starts.shape[1], columns.shape[1]
    pixels = tf.transpose(tf.reshape(pixels, tf.stack([-1, count, used, height])), [0, 1, 3, 2])
    return tf.reshape(pixels, tf.stack([-1, count * height, used]))


def _overhang(
    pixels: tf.Tensor,
    used: tf.Tensor,
    columns: tf.Tensor,
    row: tf.Tensor,
    x: tf.Tensor,
    first: tf.Tensor,
    count: tf.Tensor,
) -> tf.Tensor:
    """Draw `count` columns from `first` on at pixel `x` of `row`, each [M]; pixels is uint8 [B·R·used, L]."""
    overhangs = count > 0
    row, x, first, count = (tf.boolean_mask(v, overhangs) for v in (row, x, first, count))
    at = tf.ragged.range(x, x + count)
    pixel = tf.gather(row, at.value_rowids()) * tf.cast(used, tf.int64) + tf.cast(at.values, tf.int64)
    inside = (at.values >= 0) & (at.values < used)
    pixel = tf.boolean_mask(pixel, inside)
    column = tf.boolean_mask(tf.ragged.range(first, first + count).values, inside)
    over = tf.cast(tf.gather(columns, column), tf.int32)
    under = tf.cast(tf.gather(pixels, pixel), tf.int32)
    both = (under * over + 127) // 255  # two layers of ink multiply; rounded as in Pillow
    return tf.tensor_scatter_nd_min(pixels, pixel[:, None], tf.cast(both, tf.uint8))
