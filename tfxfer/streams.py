"""Streams of `tf.data` that end when their last batch was read, and whose order follows from a seed alone."""

import tensorflow as tf


def prompt(stream: tf.data.Dataset) -> tf.data.Dataset:
    """Return the same stream without tf.data's tuner, for whose thread the reader would have to wait at the end.

    The tuner sleeps 10 ms, 20 ms, 40 ms and so on, and cannot be woken: a training of 1.7 s may end after 2.56 s.
    Measured by `python -m benchmarks.ending`, see docs/decisions/0008-no-tuner.md. Without it AUTOTUNE means as many
    parallel calls as there are cores.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return stream.with_options(options)


def shuffled(stream: tf.data.Dataset, buffer: int, seed: int, *, anew: bool = True) -> tf.data.Dataset:
    """Return a stream in a drawn order, the same for a seed whatever TensorFlow's own seed is.

    `Dataset.shuffle(seed=…)` mixes `tf.random.set_seed` into the order; where that is 0, it gives this one.

    Args:
        stream: Any stream of tensors.
        buffer: Examples that are held; fewer than there are mix them in part.
        seed: The seed, 0 or more.
        anew: Another order in each pass.
    """
    kinds = tf.nest.flatten(stream.element_spec)
    mixed = tf.raw_ops.ShuffleDatasetV3(
        input_dataset=tf.data.experimental.to_variant(stream),
        buffer_size=buffer,
        seed=0,
        seed2=seed or 2**31 - 1,  # two zeros would ask for any order
        seed_generator=tf.raw_ops.DummySeedGenerator(),
        output_types=[kind.dtype for kind in kinds],
        output_shapes=[kind.shape for kind in kinds],
        reshuffle_each_iteration=anew,
    )
    return tf.data.experimental.from_variant(mixed, stream.element_spec)
