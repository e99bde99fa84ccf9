"""Images per second of `extract` on a folder of JPEGs, and its peak memory as the folder grows.

    python -m benchmarks.extract                speed, then memory
    python -m benchmarks.extract --only speed   the bare forward pass, `extract` and `model.predict`, in turns
    python -m benchmarks.extract --only memory  peak memory at 10,000 and at 100,000 images (Linux)

φ is MobileNetV2 at 96x96 with random weights (they do not change the speed). The images are CIFAR-10 training
images from ../shared/data, enlarged, or noise when that folder is not there. The last line is JSON.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

CIFAR = Path(__file__).parent.parent.parent / "shared" / "data" / "cifar10_train.zip"
BATCH = 64


def images(count):
    """Yield (class name, image): from every part of CIFAR-10, or smooth noise."""
    if CIFAR.exists():
        with zipfile.ZipFile(CIFAR) as archive:
            names = [name for name in archive.namelist() if name.endswith(".jpg")]
            for name in islice(cycle(names[:: max(1, len(names) // count)]), count):
                yield name.split("/")[-2], Image.open(io.BytesIO(archive.read(name))).convert("RGB")
        return
    rng = np.random.default_rng(0)
    for i in range(count):
        yield f"class{i % 10}", Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))


def make_folder(root, count, side, copies=1):
    """Write train/CLASS/*.jpg, `copies` hard links of each image, and one a class for the other splits."""
    for i, (label, image) in enumerate(images(count + 20)):
        splits = ["train"] if i < count else []
        for split in ("validation", "test"):
            if not (root / split / label).exists():
                splits.append(split)
        for split in splits:
            folder = root / split / label
            folder.mkdir(parents=True, exist_ok=True)
            first = folder / f"{i:06d}.jpg"
            image.resize((side, side), Image.Resampling.BICUBIC).save(first, quality=90)
            for copy in range(1, copies if split == "train" else 1):
                os.link(first, folder / f"{i:06d}-{copy}.jpg")


def mobile_phi(side):
    import keras

    inputs = keras.Input((side, side, 3))
    body = keras.applications.MobileNetV2(
        input_tensor=keras.layers.Rescaling(1 / 127.5, -1)(inputs), include_top=False, weights=None
    )
    from tfxfer.transfer.feature import extractor

    return extractor(body)


def speed(count, side, repeats):
    import keras
    import tensorflow as tf

    import tfxfer
    from tfxfer.transfer.feature import extract
    from tfxfer.transfer.feature.stream import compiled

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make_folder(root / "jpeg", count, side)
        data = tfxfer.load(f"folder:{root / 'jpeg'}", data_dir=root / "prepared")
        phi = mobile_phi(side)
        forward = compiled(phi)
        one = next(iter(data.batches("train", BATCH, keys=("image",), image_size=(side, side), channels=3)))["image"]
        stream = keras.utils.image_dataset_from_directory(
            root / "jpeg" / "train",
            labels=None,
            image_size=(side, side),
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
        ).prefetch(tf.data.AUTOTUNE)

        def bare():
            for _ in range(count // BATCH):
                forward(one).numpy()

        runs = {
            "bare": bare,
            "extract": lambda: extract(phi, data, folder=root / f"f{time.time_ns()}", batch_size=BATCH),
            "predict": lambda: phi.predict(stream, verbose=0),
        }
        bare()
        started = time.perf_counter()
        extract(phi, data, split="validation", folder=root / "first", batch_size=BATCH)  # compiles φ
        set_up = time.perf_counter() - started
        phi.predict(stream.take(2), verbose=0)
        rates: dict = {name: [] for name in runs}
        work: dict = {name: [] for name in runs}
        for repeat in range(repeats):
            for name in list(runs)[repeat % 3 :] + list(runs)[: repeat % 3]:
                started, worked = time.perf_counter(), time.process_time()
                runs[name]()
                rates[name].append(count / (time.perf_counter() - started))
                work[name].append(1000 * (time.process_time() - worked) / count)
                print(f"  {name:8s} {rates[name][-1]:7.1f} images/s {work[name][-1]:6.2f} ms of CPU", flush=True)
    rate = {name: max(values) for name, values in rates.items()}  # other work on the machine only slows
    return {
        "images": count,
        "side": side,
        "extract_set_up_seconds": round(set_up, 2),
        **{f"{name}_per_second": round(value, 1) for name, value in rate.items()},
        "cpu_ms_per_image": {name: round(min(values), 2) for name, values in work.items()},
        "extract_of_bare": round(rate["extract"] / rate["bare"], 3),
        "extract_of_predict": round(rate["extract"] / rate["predict"], 3),
    }


def peak_memory(count):
    """Extract `count` small JPEGs in this process and print its peak memory in MiB."""
    import keras

    import tfxfer
    from tfxfer.transfer.feature import extract, extractor

    keras.utils.set_random_seed(0)
    layers = keras.layers
    cnn = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(256, 3, 2),
            layers.GlobalMaxPooling2D(),
        ]
    )
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make_folder(root / "jpeg", 1000, 32, copies=count // 1000)
        data = tfxfer.load(f"folder:{root / 'jpeg'}", data_dir=root / "prepared")
        Path("/proc/self/clear_refs").write_text("5")  # the peak from here on, not that of listing the folder
        before = memory_mib("VmRSS")
        features = extract(extractor(cnn), data, folder=root / "features", batch_size=64)
        print(json.dumps({"rows": len(features), "mib_before": before, "mib_peak": memory_mib("VmHWM")}))


def memory_mib(line):
    """Return VmRSS (now) or VmHWM (peak) of this process in MiB, from Linux's /proc."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.split(f"{line}:")[1].split()[0]) / 1024)


def memory():
    measured = []
    for count in (10_000, 100_000):
        command = [sys.executable, "-m", "benchmarks.extract", "--child", str(count)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        measured.append(json.loads(output.strip().splitlines()[-1]))
        print(f"  {measured[-1]}", flush=True)
    small, large = (m["mib_peak"] for m in measured)
    return {"mib_10k": small, "mib_100k": large, "growth": round(large / small - 1, 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--only", choices=("speed", "memory"))
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        peak_memory(args.child)
        return
    result, promises = {}, {}
    if args.only != "memory":
        result |= speed(args.images, args.side, args.repeats)
        promises["`extract` from JPEGs, share of the bare forward pass"] = [result["extract_of_bare"], ">=", 0.9]
        promises["`extract` against `model.predict`, times"] = [result["extract_of_predict"], ">=", 1.2]
    if args.only != "speed":
        result |= memory()
        promises["growth of `extract`'s peak memory, 10,000 to 100,000 rows"] = [result["growth"], "<=", 0.1]
    print(json.dumps({"benchmark": "extract", **result, "promises": promises}))


if __name__ == "__main__":
    main()
