"""Turn rows of glyphs into pixels, inside TensorFlow's graph.

Paper is white (255), ink dark (0). A row of text is one gather of atlas columns; only ink that overhangs a character's
advance is laid over its neighbours afterwards.
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
        rows: Where each of B texts is broken into R rows.
        columns: uint8 [K, L], atlas columns as paper; the first is blank.
        boxes: int32 [G, 4], the atlas boxes.
        width: Width of a picture in pixels.
        margin: Blank pixels before a row.

    Returns:
        uint8 [B, R·L, used], where `used` is the width up to which any row of the batch is drawn.
    """
    starts, stops = tf.reshape(rows.starts, [-1]), tf.reshape(rows.stops, [-1])  # [B·R]
    placed = tf.ragged.range(starts, stops)  # [B·R, (characters)]
    row = placed.value_rowids()
    box = tf.gather(boxes, tf.gather(glyphs, placed.values))
    first, left, advance, right = tf.unstack(box, axis=1)
    pen = tf.gather(line.pens, placed.values) - tf.gather(line.pens, tf.gather(starts, row))
    pen = tf.cast(pen, tf.int32) + margin

    # The advances of a row's characters follow each other without a gap: ranges of columns, end to end.
    inside = tf.ragged.range(first + left, first + left + advance).values
    widths = tf.gather(line.pens, stops) - tf.gather(line.pens, starts)
    index = tf.RaggedTensor.from_row_lengths(inside, widths, validate=False).to_tensor()
    used = tf.minimum(margin + tf.shape(index)[1] + tf.reduce_max(tf.pad(right, [[0, 1]])), width)
    index = tf.pad(index, [[0, 0], [margin, used - margin - tf.shape(index)[1]]])  # [B·R, used]
    paper = tf.gather(columns, tf.reshape(index, [-1]))  # [B·R·used, L]

    paper = _overhang(paper, used, columns, row, pen + advance, first + left + advance, right)
    paper = _overhang(paper, used, columns, row, pen - left, first, left)

    count, height = rows.starts.shape[1], columns.shape[1]
    paper = tf.transpose(tf.reshape(paper, tf.stack([-1, count, used, height])), [0, 1, 3, 2])
    return tf.reshape(paper, tf.stack([-1, count * height, used]))


def _overhang(
    paper: tf.Tensor,
    used: tf.Tensor,
    columns: tf.Tensor,
    row: tf.Tensor,
    x: tf.Tensor,
    first: tf.Tensor,
    count: tf.Tensor,
) -> tf.Tensor:
    """Lay `count` columns from `first` on over pixel `x` of `row`, each [M]; paper is uint8 [B·R·used, L]."""
    hangs = count > 0
    row, x, first, count = (tf.boolean_mask(v, hangs) for v in (row, x, first, count))
    at = tf.ragged.range(x, x + count)
    pixel = tf.gather(row, at.value_rowids()) * tf.cast(used, tf.int64) + tf.cast(at.values, tf.int64)
    seen = (at.values >= 0) & (at.values < used)
    pixel = tf.boolean_mask(pixel, seen)
    column = tf.boolean_mask(tf.ragged.range(first, first + count).values, seen)
    over = tf.cast(tf.gather(columns, column), tf.int32)
    under = tf.cast(tf.gather(paper, pixel), tf.int32)
    both = (under * over + 127) // 255  # the light that two layers of ink let through, rounded as Pillow does
    return tf.tensor_scatter_nd_min(paper, pixel[:, None], tf.cast(both, tf.uint8))
