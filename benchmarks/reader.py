"""How well the reader of the `read` bridge reads, and what labels by columns cost against CTC (docs/read.md).

python -m benchmarks.reader ag_news.csv --data-dir DIR        letters right on titles and phrases, and how sure they are
python -m benchmarks.reader ag_news.csv --data-dir DIR --ctc  the same network, data and steps with CTC
"""

import argparse
import time
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from rich.progress import Progress

import tfxfer
from tfxfer.config import RunConfig
from tfxfer.models.randomness import set_initializer_seed
from tfxfer.sources.reader import HELD_OUT, ReaderTraining, Strings, disturbed, share_right, trained_reader
from tfxfer.transfer.bridges.read import ReadText, readable_form, reader_network, to_ink
from tfxfer.transfer.bridges.render import RenderText


class Printed:
    """A run without a folder."""

    say = staticmethod(lambda message, style="": print(message))
    metric = staticmethod(lambda phase, **values: None)

    @contextmanager
    def phase(self, name):
        """Count nothing."""
        yield

    def progress(self):
        """Return a bar that shows nothing."""
        return Progress(disable=True)


def drawn(texts, width):
    """Return texts as far as they fit, and their pictures at 24 pixels."""
    layer = RenderText(32, width, 24)
    texts = [readable_form(text) for text in texts]
    cut = np.asarray(layer.count(texts)["cut"])
    texts = [readable_form(text[: len(text) - n]) for text, n in zip(texts, cut)]
    return texts, np.asarray(layer(texts))


def read(reader, images):
    """Return what is read of images, and how sure it is."""
    found = [reader(images[i : i + 50]) for i in range(0, len(images), 50)]
    sure = np.concatenate([reader.confidence(part["posteriors"]).numpy() for part in found])
    return [text.decode() for part in found for text in part["text"].numpy()], sure


def by_ctc(posteriors, alphabet):
    """Return the texts of a greedy CTC decoding of posteriors [N, T, A + 1]."""
    texts = []
    for row in posteriors.argmax(-1):
        new = np.concatenate([[True], row[1:] != row[:-1]]) & (row != len(alphabet))
        texts.append(" ".join("".join(alphabet[i] for i in row[new]).split()))
    return texts


def ctc(sets):
    """Train the reader's network with CTC and print its letters right."""
    training, rate = ReaderTraining(), 3e-3
    blank = len(training.alphabet)
    set_initializer_seed(0)
    network = reader_network(blank)
    examples, change = Strings.drawn(training, training.steps * training.batch_size, 0), disturbed(training)

    def example(i, row):
        images, _ = change(row[0], row[2], tf.stack([1, tf.cast(i, tf.int32)]))
        return to_ink(images), row[1]

    rows = (examples.images, examples.letters, examples.centres)
    data = tf.data.Dataset.from_tensor_slices(rows).batch(training.batch_size).enumerate().map(example).prefetch(4)

    def loss(letters, posteriors):
        letters, logits = tf.cast(letters, tf.int32), tf.math.log(posteriors + 1e-7)
        count, columns = tf.reduce_sum(tf.cast(letters >= 0, tf.int32), 1), tf.shape(logits)[1]
        lengths = tf.fill([tf.shape(logits)[0]], columns)
        return tf.nn.ctc_loss(tf.maximum(letters, 0), logits, count, lengths, False, blank_index=blank)

    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, training.steps - 100, alpha=0.01, warmup_target=rate, warmup_steps=100
    )
    network.compile(keras.optimizers.Adam(schedule, global_clipnorm=5.0), loss)
    started = time.process_time()
    network.fit(data, verbose=0)
    print(f"CTC: {time.process_time() - started:.0f} s of processor time")
    for name, texts, images in sets:
        found = network.predict(to_ink(images), batch_size=25, verbose=0)
        print(f"{name}: {share_right(texts, by_ctc(found, training.alphabet)):.3f} of the letters right")


def main():
    """Read the titles of a CSV file, phrases, and random strings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv")
    parser.add_argument("--data-dir")
    parser.add_argument("--ctc", action="store_true")
    asked = parser.parse_args()
    titles = tfxfer.load(f"csv:{asked.csv}", text="title", data_dir=asked.data_dir).texts("train")[:200]
    phrases = tfxfer.load("languages/latin", data_dir=asked.data_dir).texts("train")[:300]
    held = Strings.drawn(ReaderTraining(), HELD_OUT, 2**31)
    changed = disturbed(ReaderTraining())(held.images, held.centres, tf.constant([2, 0]))[0].numpy()
    sets = [("random strings", held.texts, held.images), ("noisy and turned", held.texts, changed)]
    sets += [("titles", *drawn(titles, 1024)), ("phrases", *drawn(phrases, 352))]
    if asked.ctc:
        ctc(sets)
        return
    started = time.process_time()
    reader: ReadText = trained_reader(RunConfig(data_dir=asked.data_dir), Printed())
    print(f"columns: {time.process_time() - started:.0f} s of processor time")
    upright = sets[2][2]
    sets += [("titles, upside down", titles, upright[:, ::-1, ::-1]), ("titles, light on dark", titles, 255 - upright)]
    for name, texts, images in sets:
        found, sure = read(reader, images)
        print(
            f"{name}: {share_right(texts, found):.3f} of the letters right, {np.mean(np.equal(texts, found)):.2f} of "
            f"the texts; confidence {np.median(sure):.2f} ({sure.min():.2f} to {sure.max():.2f})"
        )


if __name__ == "__main__":
    main()
