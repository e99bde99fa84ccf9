"""An epoch of `DualEncoder` on cached image features, against one that runs the image encoder at each step.

    python -m benchmarks.dual_encoder                images of 224x224, MobileNetV2's own size
    python -m benchmarks.dual_encoder --side 96

The image encoder is MobileNetV2, frozen, with random weights (they do not change the speed). The text tower is a BERT
of 2 layers, 128 wide, on 16 word pieces, as in the retrieval recipe. Text tower, loss, optimiser and batches are the
same on both sides; an epoch with cached features tokenizes its texts as well. The seconds to compute the features once
are reported too. Without the cache XLA is off, because it makes a CNN slower on a CPU. The last line is JSON.
"""

import argparse
import json
import time
from dataclasses import replace

import numpy as np

PAIRS, BATCH, LENGTH, WORDS = 512, 64, 16, 2_000


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def untrained(side):
    """Return a `DualEncoder` of untrained networks."""
    from benchmarks.extract import mobile_phi
    from tfxfer.models.bert import small_bert
    from tfxfer.transfer.knowledge import DualEncoder
    from tfxfer.transfer.knowledge.text_towers import SPECIAL, bert_tower

    pieces = [*SPECIAL, *(f"w{i}" for i in range(WORDS))]
    bert = small_bert(len(pieces), num_layers=2, hidden_dim=128, num_heads=4, max_sequence_length=LENGTH)
    return DualEncoder(mobile_phi(side), bert_tower(bert, pieces, LENGTH))


def without_cache(encoder, images, texts, batch):
    """Return one model of both encoders and its batches; it is trained as `DualEncoder.fit` trains."""
    import keras
    import tensorflow as tf

    from tfxfer.transfer.knowledge.contrastive import InfoNCE

    image = keras.Input(images.shape[1:], name="image")
    token_ids = keras.Input((LENGTH,), dtype="int32", name="token_ids")
    encoder.image_encoder.trainable = False
    features = encoder.image_encoder(image, training=False)
    k = encoder.model({"features": features, "token_ids": token_ids})
    model = keras.Model({"image": image, "token_ids": token_ids}, k)
    model.compile(keras.optimizers.Adam(global_clipnorm=1.0), InfoNCE(), jit_compile=False)
    given = {"image": images, "token_ids": encoder.text_tower.encode(texts)}
    rows = tf.data.Dataset.from_tensor_slices((given, np.arange(len(images), dtype=np.int32)))
    return model, rows.batch(batch).prefetch(tf.data.AUTOTUNE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=224, help="pixels")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    args = parser.parse_args()
    from tfxfer.config import TrainingConfig

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (args.pairs, args.side, args.side, 3), dtype=np.uint8)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, WORDS, 10)) for _ in range(args.pairs)]

    encoder = untrained(args.side)
    model, batches = without_cache(encoder, images, texts, BATCH)
    encoder.features(images[:BATCH])  # the first call is slower
    found = []
    once = seconds(lambda: found.append(encoder.features(images)))
    one = TrainingConfig(steps=1, batch_size=BATCH, learning_rates=(1e-3,))
    epoch = replace(one, steps=args.pairs // BATCH)
    encoder.fit(found[0], texts, training=one, ridge_init=False)  # compile before the clock starts
    cached = min(seconds(lambda: encoder.fit(found[0], texts, training=epoch, ridge_init=False)) for _ in range(3))
    model.fit(batches.take(1), verbose=0)
    whole = min(seconds(lambda: model.fit(batches, verbose=0)) for _ in range(2))
    result = {
        "benchmark": "dual_encoder",
        "pairs": args.pairs,
        "side": args.side,
        "cached_epoch_seconds": round(cached, 3),
        "whole_epoch_seconds": round(whole, 2),
        "features_once_seconds": round(once, 2),
        "ratio": round(whole / cached, 1),
    }
    for name, value in result.items():
        print(f"  {name:26s} {value}")
    kept = {
        "epoch of DualEncoder on cached features, times faster than with the image encoder": [
            result["ratio"],
            ">=",
            10,
        ]
    }
    print(json.dumps({**result, "promises": kept if args.side == 224 else {}}))


if __name__ == "__main__":
    main()
