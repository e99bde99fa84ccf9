"""Captions a second: beam search over a cache, against Hugging Face's `generate` and against no cache.

    python -m benchmarks.generation

A BERT decoder of 6 layers, 384 wide, 12 heads, 30,522 words attends to 16 images of 49 tokens; 4 beams, 50 tokens.
Hugging Face's `VisionEncoderDecoderModel` has the same weights, and each of 3 rounds times it and ours in turn; the
best round of each counts. In one measurement all captions are 50 tokens long; in the other they end by an end token.
Random weights do not give an end token, so on both sides its logit rises with the position, around a length drawn for
each image from a normal distribution of 12 ± 3 tokens, about the length of human captions. The seconds of compiling
are not part of the times; they are reported too.

Hugging Face's part needs the extra `oracle`. The last line is JSON.
"""

import json
import time

import numpy as np

from benchmarks.hugging_face import twin

LAYERS, WIDTH, HEADS, WORDS, POSITIONS = 6, 384, 12, 30_522, 512
IMAGES, MEMORY, BEAMS, LENGTH = 16, 49, 4, 50
START, END, THREADS, ROUNDS = 101, 102, 2, 3
NEVER = -1e4  # the end token's logit where nothing may end


def random_decoder():
    """Return a decoder whose logits and cross-attention vary enough for captions to differ."""
    from tfxfer.models.decoder import causal_decoder

    decoder = causal_decoder(
        WORDS, num_layers=LAYERS, hidden_dim=WIDTH, num_heads=HEADS, max_sequence_length=POSITIONS, dropout=0.0
    )
    rng = np.random.default_rng(0)
    for variable in decoder.variables:
        if "kernel" in variable.path or "embedding/" in variable.path:
            variable.assign(rng.normal(0, 0.05, variable.shape))
    return decoder


def rise(position, lengths):
    """Return what is added to the end token's logit: below 0 before an image's length, above 0 after it."""
    return 2.0 * (position - lengths)


def beam(decoder, search):
    """Return the beam search as one compiled graph of memory and lengths [B]."""
    import tensorflow as tf

    from tfxfer.generate import beam_search
    from tfxfer.models.decoder import incremental_decoder

    @tf.function(jit_compile=True)
    def found(memory, lengths):
        decode, cache, keys_and_values = incremental_decoder(decoder, memory, BEAMS, LENGTH)

        def step(tokens, position, cache, context, beam_indices):
            logits, cache = decode(tokens, position, cache, context[0], beam_indices)
            more = rise(tf.cast(position, tf.float32), context[1])[:, None]
            return logits + tf.one_hot(END, WORDS)[:, None, None] * more, cache  # [V, B, K]

        context = (keys_and_values, lengths)
        return beam_search(step, cache, IMAGES, search, in_place=True, vocabulary_first=True, context=context)

    return found


def uncached(decoder, search):
    """Return the same search that runs the decoder on all tokens so far at every step; logits of the last only."""
    import keras
    import tensorflow as tf

    from tfxfer.generate import beam_search

    body = keras.Model(decoder.input, decoder.get_layer("head_norm").output)
    words, bias = decoder.get_layer("token_embedding").embeddings, decoder.get_layer("head_bias").bias

    @tf.function
    def found(memory):
        def step(tokens, position, cache):
            history = tf.where(tf.range(LENGTH) == position, tokens[..., None], cache)
            flat = tf.reshape(history, [-1, LENGTH])[:, : position + 1]
            hidden = body({"token_ids": flat, "padding_mask": tf.ones_like(flat), "memory": memory_of_beams})
            logits = tf.matmul(hidden[:, -1], words, transpose_b=True) + bias
            return tf.reshape(logits, [IMAGES, BEAMS, WORDS]), history

        memory_of_beams = tf.repeat(memory, BEAMS, axis=0)
        return beam_search(step, tf.zeros([IMAGES, LENGTH], tf.int32), IMAGES, search)

    return found


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak():
    """Return the FLOP/s of TensorFlow's product of two large matrices, the best of several."""
    import tensorflow as tf

    a = tf.random.normal([2048, 2048])
    return 2 * 2048**3 / min(seconds(lambda: tf.matmul(a, a).numpy()) for _ in range(8))


def flops(steps):
    """Return the operations that no search of this many steps can do without, for a batch."""
    rows = IMAGES * BEAMS
    products = LAYERS * (4 + 2 + 8) * WIDTH**2 + WIDTH**2 + WIDTH * WORDS  # self, cross, feed-forward; the head
    attention = LAYERS * 2 * WIDTH * (MEMORY + (steps + 1) / 2)
    return 2 * (rows * steps * (products + attention) + IMAGES * MEMORY * LAYERS * 2 * WIDTH**2)


def hugging_face(decoder):
    """Return (memory, lengths) → token numbers by Hugging Face, or None where it is not installed."""
    try:
        import torch
        from transformers.modeling_outputs import BaseModelOutput
    except ImportError:
        return None
    torch.set_num_threads(THREADS)
    whole = twin(decoder, WIDTH, HEADS, POSITIONS)
    settings = {"num_beams": BEAMS, "early_stopping": True, "do_sample": False}
    settings |= {"decoder_start_token_id": START, "eos_token_id": END, "pad_token_id": 0}
    now = {}

    def raise_end(module, arguments, output):
        output.logits[:, -1, END] += rise(now["position"], now["lengths"])
        now["position"] += 1

    whole.decoder.register_forward_hook(raise_end)

    def generate(memory, lengths, most=LENGTH):
        now.update(position=0, lengths=torch.tensor(lengths).repeat_interleave(BEAMS))
        encoded = BaseModelOutput(torch.tensor(memory))
        return whole.generate(encoder_outputs=encoded, max_length=most, **settings).numpy()

    generate(np.zeros((IMAGES, MEMORY, WIDTH), np.float32), np.zeros(IMAGES, np.float32), 5)
    return generate


def side_by_side(found, theirs, memory, lengths):
    """Return seconds of both (the best of the rounds), our tokens a caption and how many captions are the same."""
    given = found(memory, lengths)  # both have run before the clock starts
    tokens, counts = given.tokens.numpy()[:, 0], given.lengths.numpy()[:, 0]
    ours, other, answers = [], [], []
    for _ in range(ROUNDS):
        ours.append(seconds(lambda: found(memory, lengths).tokens.numpy()))
        if theirs:
            other.append(seconds(lambda: answers.append(theirs(memory, lengths))))
    same = [list(a[:n]) == list(b[:n]) for wanted in answers[:1] for a, b, n in zip(tokens, wanted, counts)]
    return min(ours), min(other, default=None), counts, sum(same)


def main():
    import tensorflow as tf

    from tfxfer.generate import GenerationConfig

    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    decoder, rng = random_decoder(), np.random.default_rng(1)
    memory = rng.normal(0, 1, (IMAGES, MEMORY, WIDTH)).astype(np.float32)
    never = np.full(IMAGES, -NEVER, np.float32)
    drawn = np.clip(rng.normal(12, 3, IMAGES), 4, 30).astype(np.float32)
    search = GenerationConfig(START, END, num_beams=BEAMS, max_length=LENGTH)
    found, theirs = beam(decoder, search), hugging_face(decoder)
    compiling = seconds(lambda: found(memory, never).tokens.numpy())
    floor = flops(LENGTH - 1) / peak()
    figures = {"compiling_seconds": round(compiling, 1), "floor_captions_per_second": round(IMAGES / floor, 2)}
    promises = {}
    for kind, lengths, bound in (("50 tokens", never, 2), ("natural stopping", drawn, 3)):
        ours, other, counts, same = side_by_side(found, theirs, memory, lengths)
        now = {"captions_per_second": round(IMAGES / ours, 2), "tokens": sorted(counts.tolist())}
        if kind == "50 tokens":
            now["share_of_floor"] = round(floor / ours, 3)
        if theirs:
            now |= {"hugging_face": round(IMAGES / other, 2), "same_captions": same}
            what = f"beam search, {kind}: times Hugging Face's captions a second"
            promises[what] = [round(other / ours, 2), ">=", bound]
        figures[kind] = now
        print(kind, now, flush=True)
    decoder.get_layer("head_bias").bias.assign(tf.one_hot(END, WORDS) * NEVER)
    without = uncached(decoder, search).get_concrete_function(tf.TensorSpec(memory.shape))
    figures["uncached_captions_per_second"] = round(IMAGES / seconds(lambda: without(tf.constant(memory))), 3)
    times = figures["50 tokens"]["captions_per_second"] / figures["uncached_captions_per_second"]
    promises["beam search of 50 tokens with a cache, times faster than without"] = [round(times, 1), ">=", 8]
    if not theirs:
        figures["without_hugging_face"] = "needs the extra `oracle`: pip install -e '.[oracle]'"
    print(json.dumps({"benchmark": "generation", **figures, "promises": promises}))


if __name__ == "__main__":
    main()
