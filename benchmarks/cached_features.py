"""Fifty epochs of a head on cached features, against fifty epochs that run the frozen body each time.

    python -m benchmarks.cached_features                the head of the equation, softmax(W·φ + b)
    python -m benchmarks.cached_features --head mlp     the small MLP, which costs more of its own

The frozen body is MobileNetV2 at 96x96. Its epochs cost the same each time, so a few are timed and scaled to fifty.
The head, the batches and the optimiser's steps are the same on both sides. The last line is JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.extract import make_folder, mobile_phi

EPOCHS = 50
BATCH = 128


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--body-epochs", type=int, default=2, help="epochs of the frozen body that are timed")
    parser.add_argument("--head", choices=("linear", "mlp"), default="linear")
    args = parser.parse_args()
    import keras

    import tfxfer
    from tfxfer.transfer.feature import attach, extract, mlp_head

    def fresh_head():
        keras.utils.set_random_seed(0)
        if args.head == "mlp":
            return mlp_head(1280, 10)
        return keras.Sequential([keras.Input((1280,)), keras.layers.Dense(10, activation="softmax")])

    def fitted(model):
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make_folder(root / "jpeg", args.images, 96)
        data = tfxfer.load(f"folder:{root / 'jpeg'}", data_dir=root / "prepared")
        phi = mobile_phi(96)
        once = seconds(lambda: extract(phi, data, folder=root / "features"))
        features = extract(phi, data, folder=root / "features")
        X, y = np.asarray(features), features.labels

        head = fitted(fresh_head())
        head.fit(X[:BATCH], y[:BATCH], verbose=0)  # compile before the clock starts
        cached = seconds(lambda: head.fit(X, y, batch_size=BATCH, epochs=EPOCHS, verbose=0))

        whole = fitted(attach(phi, fresh_head()))
        batches = data.batches("train", BATCH, keys=("image", "label"), image_size=(96, 96), channels=3)
        pairs = batches.map(lambda batch: (batch["image"], batch["label"]))
        whole.fit(pairs.take(1), verbose=0)
        body = seconds(lambda: whole.fit(pairs, epochs=args.body_epochs, verbose=0)) * EPOCHS / args.body_epochs

    result = {
        "benchmark": "cached_features",
        "head": args.head,
        "images": args.images,
        "epochs": EPOCHS,
        "extract_once_seconds": round(once, 2),
        "cached_seconds": round(cached, 2),
        "body_each_epoch_seconds": round(body, 1),
        "ratio": round(body / cached, 1),
        "ratio_with_extraction": round(body / (cached + once), 1),
    }
    for name, value in result.items():
        print(f"  {name:26s} {value}")
    promises = {"50 epochs on cached features against a frozen body, times faster": [result["ratio"], ">=", 50]}
    print(json.dumps({**result, "promises": promises if args.head == "linear" else {}}))


if __name__ == "__main__":
    main()
