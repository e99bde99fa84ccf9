"""How fast data are read: 100,000 rows of CSV beside pandas, 10,000 images beside Keras.

    python -m benchmarks.reading

Rows: `read_table`, which gives checked columns of text and classes, and `pandas.read_csv`. Images: `tfxfer.load`, which
hashes and checks every file, and all batches after it; beside them `image_dataset_from_directory` and all batches of
that. Each is measured several times in turn, and the fastest counts: other work on the machine only slows.

The images have the size of photographs (SIDE). Of small ones, hashing and checking are most of the time, and the ratio
is greater: change SIDE to see it.
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROWS, IMAGES, SIDE, BATCH, REPEATS = 100_000, 10_000, 224, 64, 3
WORDS = "the of to a in market wins after over with new deal says oil record game profit court talks rise".split()


def seconds(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the fewest seconds of each run."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(REPEATS):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
            print(f"  {name:28s} {time.perf_counter() - started:7.3f} s", flush=True)
    return best


def rows(folder: Path) -> dict[str, float]:
    """Return the seconds of reading a table of a text of twelve words and a class; pandas where it is installed."""
    import tfxfer
    from tfxfer.data.tables import read_table

    rng = np.random.default_rng(0)
    path = folder / "t.csv"
    drawn = rng.choice(WORDS, (ROWS, 12))
    path.write_text("text,label\n" + "".join(f'"{" ".join(each)}, {i}",{i % 4}\n' for i, each in enumerate(drawn)))
    runs: dict[str, Callable[[], object]] = {
        "read_table": lambda: read_table(path, "csv", {"text": ("text",), "label": ("label",)}),
        "tfxfer.load": lambda: tfxfer.load(f"csv:{path}", data_dir=folder / "prepared"),
    }
    try:
        import pandas
    except ImportError:
        print("  pandas is not installed")
    else:
        runs["pandas.read_csv"] = lambda: pandas.read_csv(path, dtype=str, keep_default_na=False)
    return seconds(runs)


def images(folder: Path) -> dict[str, float]:
    """Return the seconds of all batches of a folder of JPEG files, from nothing."""
    import keras
    from PIL import Image

    import tfxfer

    rng = np.random.default_rng(0)
    for name in "ab":
        (folder / "photos" / name).mkdir(parents=True)
    for i in range(IMAGES):
        noise = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
        image = Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        image.save(folder / "photos" / "ab"[i % 2] / f"{i:05}.jpg")

    def loaded() -> None:
        data = tfxfer.load(f"folder:{folder / 'photos'}", data_dir=folder / f"prepared-{time.time_ns()}")
        for split in data.splits:
            for _ in data.batches(split, BATCH, image_size=(SIDE, SIDE), channels=3):
                pass

    def listed() -> None:
        for _ in keras.utils.image_dataset_from_directory(
            folder / "photos", image_size=(SIDE, SIDE), batch_size=BATCH, shuffle=False, verbose=0
        ):
            pass

    return seconds({"tfxfer.load and batches": loaded, "image_dataset_from_directory": listed})


def main() -> None:
    """Measure both, and print the promises."""
    with tempfile.TemporaryDirectory() as temporary:
        table, folder = rows(Path(temporary)), images(Path(temporary))
    ratio = folder["tfxfer.load and batches"] / folder["image_dataset_from_directory"]
    promises = {"reading 10,000 images, over the seconds of `image_dataset_from_directory`": [ratio, "<=", 1.2]}
    if "pandas.read_csv" in table:
        promises["reading 100,000 rows of CSV, over the seconds of pandas"] = [
            table["read_table"] / table["pandas.read_csv"], "<=", 1.2
        ]  # fmt: skip
    print(json.dumps({"benchmark": "reading", "rows": table, "images": folder, "promises": promises}))


if __name__ == "__main__":
    main()
