"""How many planted faults `tfxfer doctor` finds, and how often it is wrong about clean data.

    python -m benchmarks.doctor

Faults are planted into the embedded data sets: phrases in ten languages, characters and emoji. They are written as
files and loaded again, as a user's data are. A false alarm is an example of the clean files that the same check names.
"""

import csv
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tfxfer
from tfxfer.doctor import examine
from tfxfer.doctor.similar_images import NEAR

SIZES = {"train": 3000, "validation": 300, "test": 600}
PLANTED = 200  # examples of each fault
FLIPPED = 0.05  # of the training labels
Rows = dict[str, list[tuple[Any, str]]]  # split -> (text or image, label)


# === Clean data ===


def phrases(rng: np.random.Generator) -> Rows:
    """Return phrases of ten languages without those that the doctor is right about: equal texts and short ones."""
    data = tfxfer.load("languages/latin")
    return _drawn({split: list(zip(data.texts(split), _names(data, split))) for split in SIZES}, rng)


def names(rng: np.random.Generator) -> Rows:
    """Return names of characters and their scripts: classes that a text tells surely."""
    data = tfxfer.load("glyphs", label="script")
    rows = {split: list(zip(data.texts(split, "caption"), _names(data, split))) for split in SIZES}
    common = {"Latin", "Greek", "Cyrillic", "Arabic", "Braille", "Georgian", "Armenian", "Canadian Aboriginal"}
    return _drawn({split: [row for row in each if row[1] in common] for split, each in rows.items()}, rng)


def pictures(spec: str, label: str | None, rng: np.random.Generator) -> Rows:
    """Return images of an embedded set and their labels."""
    data = tfxfer.load(spec, label=label) if label else tfxfer.load(spec)
    data = data.with_at_most(**SIZES)
    return {split: list(zip(data.arrays(split)["image"], _names(data, split))) for split in SIZES}


def _names(data: Any, split: str) -> list[str]:
    return [data.class_names[c] for c in data.labels(split)]


def _drawn(rows: Rows, rng: np.random.Generator) -> Rows:
    from tfxfer.doctor.similar_texts import normal

    seen: set[str] = set()
    kept: Rows = {}
    for split, most in SIZES.items():
        kept[split] = []
        for i in rng.permutation(len(rows[split])):
            text, label = rows[split][i]
            if normal(text) not in seen and len(kept[split]) < most:
                kept[split].append((text, label))
                seen.add(normal(text))
    return kept


# === Faults: each returns the rows with the fault, and the places in a split that have it ===


def copied(change: Callable[[Any, np.random.Generator], Any], least: int = 0) -> Callable[..., tuple[Rows, str, set]]:
    """Replace test examples by changed training examples of at least so many letters."""

    def plant(rows: Rows, rng: np.random.Generator) -> tuple[Rows, str, set]:
        places = rng.permutation(len(rows["test"]))[:PLANTED]
        long = [one for one in rows["train"] if not isinstance(one[0], str) or len(one[0]) >= least]
        test = list(rows["test"])
        for place, origin in zip(places, rng.permutation(len(long))):
            content, label = long[origin]
            test[place] = (change(content, rng), label)
        return rows | {"test": test}, "test", set(places.tolist())

    return plant


def flipped(rows: Rows, rng: np.random.Generator) -> tuple[Rows, str, set]:
    """Exchange training labels for another class at random."""
    names = sorted({label for _, label in rows["train"]})
    places = rng.permutation(len(rows["train"]))[: int(FLIPPED * len(rows["train"]))]
    train = list(rows["train"])
    for place in places:
        content, label = train[place]
        train[place] = (content, str(rng.choice([name for name in names if name != label])))
    return rows | {"train": train}, "train", set(places.tolist())


def contradicted(rows: Rows, rng: np.random.Generator) -> tuple[Rows, str, set]:
    """Repeat training examples with another label."""
    names = sorted({label for _, label in rows["train"]})
    train, places = list(rows["train"]), set()
    for origin in rng.permutation(len(train))[: PLANTED // 2]:
        content, label = train[origin]
        places |= {int(origin), len(train)}
        train.append((content, str(rng.choice([name for name in names if name != label]))))
    return rows | {"train": train}, "train", places


def emptied(rows: Rows, rng: np.random.Generator) -> tuple[Rows, str, set]:
    """Take away what training examples show."""
    places = rng.permutation(len(rows["train"]))[:PLANTED]
    train = list(rows["train"])
    for place in places:
        content, label = train[place]
        train[place] = ("  " if isinstance(content, str) else np.full_like(content, int(rng.integers(256))), label)
    return rows | {"train": train}, "train", set(places.tolist())


def other_writing(text: str, rng: np.random.Generator) -> str:
    """Change case, blanks and punctuation of a text."""
    changed = [str.upper, str.lower, lambda t: f"“{t}”.", lambda t: t.replace(" ", "  "), lambda t: f" {t}!"]
    return str(changed[rng.integers(len(changed))](text))


def typing_error(text: str, rng: np.random.Generator) -> str:
    """Leave out, double or exchange one letter; another number is another text, so digits stay."""
    i = int(rng.choice([i for i in range(1, len(text) - 2) if text[i : i + 2].isalpha()]))
    kinds = [text[:i] + text[i + 1 :], text[:i] + text[i] + text[i:], text[:i] + text[i + 1] + text[i] + text[i + 2 :]]
    return kinds[rng.integers(3)] if text[i] != text[i + 1] else kinds[1]


def unchanged(content: Any, rng: np.random.Generator) -> Any:
    """Return the content as it is."""
    return content


def compressed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Save an image as JPEG of quality 60 to 90."""
    import io

    file = io.BytesIO()
    _image(image).save(file, "JPEG", quality=int(rng.integers(60, 91)))
    return np.asarray(Image.open(file)).reshape(*image.shape[:2], -1)


def scaled(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scale an image by 1.25 to 2."""
    factor = rng.uniform(1.25, 2)
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(_image(image).resize(size, Image.Resampling.BICUBIC)).reshape(*size[::-1], -1)


def brighter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change contrast and brightness."""
    return np.clip(image * rng.uniform(0.6, 0.9) + rng.uniform(5, 25), 0, 255).astype(np.uint8)


def _image(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


# === Measuring ===


def loaded(rows: Rows, folder: Path) -> Any:
    """Write rows as a table, with images beside it, and load it."""
    folder.mkdir(parents=True)
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        first = rows["train"][0][0]
        out.writerow(["text" if isinstance(first, str) else "image", "label", "split"])
        for split, each in rows.items():
            for place, (content, label) in enumerate(each):
                name = content
                if not isinstance(content, str):
                    name = f"{split}-{place}.png"
                    _image(content).save(folder / name)
                out.writerow([name, label, split])
    return tfxfer.load(f"csv:{folder / 'data.csv'}")


def found_in(data: Any, check: str, split: str) -> set[int] | None:
    """Return the places of a split that a check names; None where it says that it cannot tell."""
    diagnosis = examine(data, checks=[check])
    found = {row.place for one in diagnosis.of(check) for row in one.rows if row.split == split}
    return None if not found and diagnosis.checked[check] != "checked" else found


def measure(name: str, rows: Rows, faults: Sequence[tuple[str, str, Callable]], folder: Path) -> list[dict[str, Any]]:
    """Return a row for each fault: how many of the planted examples were found, and false alarms on the clean data."""
    clean, measured, alarms = loaded(rows, folder / "clean"), [], {}
    for number, (check, fault, plant) in enumerate(faults):
        planted, split, places = plant(rows, np.random.default_rng(number))
        if (check, split) not in alarms:
            alarms[check, split] = len(found_in(clean, check, split) or ())
        found = found_in(loaded(planted, folder / str(number)), check, split)
        told = "not told" if found is None else len(found & places)
        row = {"data": name, "check": check, "fault": fault, "planted": len(places), "found": told,
               "clean": len(rows[split]), "false alarms": alarms[check, split]}  # fmt: skip
        print(" | ".join(str(value) for value in row.values()), flush=True)
        measured.append(row)
    return measured


def hash_rival(rows: Rows, plant: Callable) -> dict[str, float]:
    """Return what a 64-bit perceptual hash (DCT, 8 x 8) finds at a distance of at most 4 bits, and its false alarms."""
    from scipy.fft import dctn

    def bits(images: Sequence[np.ndarray]) -> np.ndarray:
        small = [
            np.asarray(_image(one).convert("L").resize((32, 32), Image.Resampling.BILINEAR), float) for one in images
        ]
        low = dctn(np.stack(small), axes=(1, 2))[:, :8, :8].reshape(len(small), -1)
        return low > np.median(low, 1, keepdims=True)

    def near(each: Rows) -> set[int]:
        known, asked = (bits([content for content, _ in each[split]]) for split in ("train", "test"))
        distances = np.array([(one != known).sum(1).min() for one in asked])
        return set(np.flatnonzero(distances <= 4).tolist())

    planted, _, places = plant(rows, np.random.default_rng(1))
    return {"found": len(near(planted) & places) / len(places), "false alarms": len(near(rows)) / len(rows["test"])}


TEXT_FAULTS = [
    ("overlap", "case, blanks and punctuation changed", copied(other_writing)),
    ("near_overlap", "a typing error in 20 letters or more", copied(typing_error, 20)),
    ("conflicts", "the same text with another label", contradicted),
    ("labels", "label exchanged", flipped),
    ("empty", "text emptied", emptied),
]
IMAGE_FAULTS = [
    ("overlap", "the same file", copied(unchanged)),
    ("near_overlap", "saved as JPEG", copied(compressed)),
    ("near_overlap", "scaled", copied(scaled)),
    ("near_overlap", "brightness and contrast", copied(brighter)),
    ("conflicts", "the same file with another label", contradicted),
    ("empty", "one colour", emptied),
]


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"data | check | fault | planted | found | clean | false alarms   (images are alike from a cosine of {NEAR})")
    with tempfile.TemporaryDirectory() as folder:
        characters = pictures("glyphs", "script", rng)
        measured = [
            *measure("languages", phrases(rng), TEXT_FAULTS, Path(folder, "a")),
            *measure("names and scripts", names(rng), [TEXT_FAULTS[3]], Path(folder, "d")),
            *measure("glyphs", characters, IMAGE_FAULTS, Path(folder, "b")),
            *measure("emoji", pictures("emoji", None, rng), IMAGE_FAULTS, Path(folder, "c")),
        ]
    rival = hash_rival(characters, copied(compressed))
    print(f"a perceptual hash of 64 bits on glyphs saved as JPEG: {rival}")
    told = [row for row in measured if row["found"] != "not told"]
    share = sum(row["found"] for row in told) / sum(row["planted"] for row in told)
    worst = max(row["false alarms"] / row["clean"] for row in measured)
    promises = {
        "planted faults that `tfxfer doctor` finds": [share, ">=", 0.95],
        "its false alarms, of the clean examples, by the worst check": [worst, "<=", 0.02],
    }
    print(json.dumps({"benchmark": "doctor", "rows": measured, "hash": rival, "promises": promises}))


if __name__ == "__main__":
    main()
