"""Break texts into rows, inside TensorFlow's graph.

All texts of a batch are end to end in one flat vector of N characters. Pen positions increase along it, so the end of a
row is found by one binary search, and the only loop is over the (few) rows of an image.
"""

from typing import NamedTuple

import tensorflow as tf


class Line(NamedTuple):
    """B texts end to end, N characters, and where they can be broken into rows.

    Attributes:
        splits: int64 [B + 1], where each text starts and ends.
        pens: int64 [N + 1], the pen position before each character in pixels, counted on from text to text.
        spaces: int64 [S], ascending: the characters at which a row may end.
        breaks: int64 [K], ascending: the characters at which a row must end, which are not drawn.
    """

    splits: tf.Tensor
    pens: tf.Tensor
    spaces: tf.Tensor
    breaks: tf.Tensor


class Rows(NamedTuple):
    """R rows for each of B texts.

    Attributes:
        starts: int64 [B, R], first character of a row.
        stops: int64 [B, R], the character after its last.
        rest: int64 [B], the first character that did not fit; the end of the text when all did.
    """

    starts: tf.Tensor
    stops: tf.Tensor
    rest: tf.Tensor


def one_row(line: Line, width: int) -> Rows:
    """Fill a single row of `width` pixels with as many whole characters as fit."""
    start, end = line.splits[:-1], line.splits[1:]
    stop = _fitting(line, start, end, width)
    return Rows(start[:, None], stop[:, None], stop)


def wrap(line: Line, width: int | tf.Tensor, rows: int) -> Rows:
    """Fill at most `rows` rows greedily, ending them at spaces where there are any, and at line breaks.

    A word that is longer than a row is broken where the row ends, and so is the last row. Spaces at which a
    row ends are not drawn.

    Args:
        line: The characters.
        width: Width of a row in pixels: one for all texts, or int64 [B].
        rows: Number of rows.
    """
    start, end = line.splits[:-1], line.splits[1:]
    starts, stops = [], []
    for row in range(rows):
        must = tf.minimum(_next(line.breaks, start), end)  # the next line break, or the end of the text
        stop = _fitting(line, start, must, width)
        full = stop < must
        if row < rows - 1:
            space = _last(line.spaces, stop)
            stop = tf.where(full & (space > start), space, stop)
        resume = tf.minimum(_after(line.spaces, stop), must)
        starts.append(start)
        stops.append(stop)
        start = tf.where(full & (resume < must), resume, tf.minimum(must + 1, end))
    return Rows(tf.stack(starts, 1), tf.stack(stops, 1), start)


def wrap_square(line: Line, width: int, rows: int, line_height: int) -> Rows:
    """Wrap each text so that its rows make a square: √(its area) wide, or as wide as its longest word.

    A text that this would cut uses the full width instead.

    Args:
        line: The characters.
        width: Greatest width of a row, in pixels.
        rows: Number of rows.
        line_height: Height of a row, in pixels.
    """
    end = line.splits[1:]
    area = (tf.gather(line.pens, end) - tf.gather(line.pens, line.splits[:-1])) * line_height  # [B]
    side = tf.cast(tf.math.ceil(tf.sqrt(tf.cast(area, tf.float64))), tf.int64)
    square = wrap(line, tf.clip_by_value(tf.maximum(side, _longest_word(line)), 1, width), rows)
    widest = wrap(line, width, rows)
    fits = square.rest == end
    return Rows(
        tf.where(fits[:, None], square.starts, widest.starts),
        tf.where(fits[:, None], square.stops, widest.stops),
        tf.where(fits, square.rest, widest.rest),
    )


def _longest_word(line: Line) -> tf.Tensor:
    """Return the width of each text's longest word in pixels, int64 [B]; 0 for a text without characters."""
    gaps = tf.concat([line.spaces, line.breaks], 0)
    edges = tf.sort(tf.concat([line.splits, gaps, gaps + 1], 0))
    pens = tf.gather(line.pens, edges)
    texts = tf.size(line.splits, tf.int64) - 1
    owner = tf.searchsorted(line.splits, edges[:-1], side="right", out_type=tf.int64) - 1
    longest = tf.math.unsorted_segment_max(pens[1:] - pens[:-1], tf.minimum(owner, texts - 1), texts)
    return tf.maximum(longest, 0)


def _fitting(line: Line, start: tf.Tensor, end: tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Return the first character after `start` that ends beyond `width`; marks of no width stay with their base."""
    limit = tf.gather(line.pens, start) + tf.cast(width, tf.int64)
    return tf.minimum(tf.searchsorted(line.pens[1:], limit, side="right", out_type=tf.int64), end)


def _next(positions: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """Return the first of ascending `positions` at or after each `at`, or the greatest int64 there is."""
    padded = tf.concat([positions, [tf.int64.max]], 0)
    return tf.gather(padded, tf.searchsorted(positions, at, out_type=tf.int64))


def _last(positions: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """Return the last of ascending `positions` at or before each `at`, or -1."""
    padded = tf.concat([tf.constant([-1], tf.int64), positions], 0)
    return tf.gather(padded, tf.searchsorted(positions, at, side="right", out_type=tf.int64))


def _after(positions: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
    """Return the first character from `at` on that is not in ascending `positions`."""
    # Within a run of neighbours, position minus rank is constant, so the end of a run is a binary search too.
    rank = tf.searchsorted(positions, at, out_type=tf.int64)
    drift = positions - tf.range(tf.size(positions, tf.int64), dtype=tf.int64)
    run_end = tf.searchsorted(drift, at - rank, side="right", out_type=tf.int64)
    return at + run_end - rank
