"""The grid of `python -m benchmarks.atlas`: targets, sources, and what is run over them.

A run is one experiment of a recipe at several label counts. Each method in it gives a cell at each label count. In
options, `{data}` stands for the folder of targets that are written, and `{real}`, `{bert}` and `{cnn}` for what a
command line gives: a folder with ag_news.csv and cifar10_train.zip, a BERT's folder, and an image model's file.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LABELS = (5, 20, 50)  # a class
SIDE = 32  # pixels of the images of characters and digits
MOST = {"train": 120, "validation": 40, "test": 50}  # images a class that are written for a target
COMMON = {
    "labels_per_class": LABELS,
    "seeds": 3,
    "probe_seeds": 5,
    "max_validation": 300,
    "max_test": 400,
    "epochs": 6,
}
METHODS = {  # method -> its arm, and the control with random weights
    "probe": ("transfer", "random"),
    "finetune": ("finetune", "scratch"),
    "ngrams": ("with_ngrams", "random_with_ngrams"),
    "structure": ("transfer", "random"),
}


@dataclass(frozen=True)
class Target:
    """A task of the atlas.

    Attributes:
        options: What names it on a command line.
        gives: "text" or "image".
        letters: Whether its examples are texts in letters that the reader knows.
        write: Writes its files into a folder, where it is no built-in data set; takes also the folder of real data.
    """

    options: dict[str, Any]
    gives: str
    letters: bool
    write: Callable[[Path, str], None] | None = None


@dataclass(frozen=True)
class Source:
    """A source of the atlas: options, how it was trained in words, and whether it takes images or texts."""

    options: dict[str, Any]
    training: str
    takes: str


@dataclass(frozen=True)
class Cells:
    """One run: which source, target and methods; `options` are those of the recipe, beside `COMMON`."""

    source: str
    target: str
    bridge: str
    methods: tuple[str, ...] = ("probe",)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Names its folder."""
        words = (self.source, self.target, self.bridge, *self.methods)
        return "--".join(word.replace(" ", "-").replace(",", "") for word in words)

    @property
    def recipe(self) -> str:
        """The recipe that runs it."""
        return "structure" if self.methods == ("structure",) else "feature"

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it needs; a recipe always runs `transfer`."""
        found = [arm for method in self.methods for arm in METHODS[method]]
        return tuple(dict.fromkeys(["transfer", *found, "native"]))

    @property
    def needs(self) -> set[str]:
        """Which of "real", "bert" and "cnn" have to be given for it."""
        given = str([SOURCES[self.source].options, TARGETS[self.target].options])
        needed = {name for name in PLACES if f"{{{name}}}" in given}
        return needed | ({"real"} if self.target in REAL_TARGETS else set())

    def values(self, places: Mapping[str, str]) -> dict[str, Any]:
        """Return the options of its command, by their flat names; `places` has "data" and what is given of `PLACES`."""
        bridge = {} if self.recipe == "structure" else {"bridge": self.bridge}
        known = COMMON | SOURCES[self.source].options | TARGETS[self.target].options | bridge
        known |= {"arms": self.arms} | self.options
        if self.recipe == "structure":
            known.pop("epochs")
        return {name: value.format(**places) if isinstance(value, str) else value for name, value in known.items()}


PLACES = ("real", "bert", "cnn")


# === Targets that are written from embedded data ===


def names_of_emoji(folder: Path, real: str) -> None:
    """Write the English names of emoji with their category."""
    _write_texts(folder, "emoji", "label", "en")


def names_of_characters(folder: Path, real: str) -> None:
    """Write the Unicode names of characters with their script, each name once."""
    _write_texts(folder, "glyphs/by_character", "script", "caption", SCRIPTS)


SCRIPTS = ("Latin", "Greek", "Cyrillic", "Braille", "Canadian Aboriginal", "Arabic", "Georgian", "Armenian")
DIACRITICS = ("stroke", "diaeresis", "hook", "dot above", "caron", "acute", "dot below", "descender")


def _write_texts(folder: Path, spec: str, label: str, key: str, classes: tuple[str, ...] = ()) -> None:
    import tfxfer

    dataset = tfxfer.load(spec, label=label if label != "label" else None)
    dataset = dataset.with_classes(classes) if classes else dataset
    folder.mkdir(parents=True)
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("text", "label", "split"))
        for split in MOST:
            labels = dataset.labels(split)
            rows = dict(zip(dataset.texts(split, key), labels))
            for text, one in rows.items():
                table.writerow((text, dataset.class_names[one], split))


def images_of(spec: str, label: str | None, classes: tuple[str, ...] = ()) -> Callable[[Path, str], None]:
    """Return what writes the images of an embedded data set into class folders."""

    def write(folder: Path, real: str) -> None:
        import tfxfer

        dataset = tfxfer.load(spec, label=label)
        dataset = dataset.with_classes(classes) if classes else dataset
        for split, most in MOST.items():
            labels = dataset.labels(split)
            drawn = np.random.default_rng(0).permutation(len(labels))
            kept = np.sort([row for c in range(len(dataset.class_names)) for row in drawn[labels[drawn] == c][:most]])
            images = dataset.arrays(split)["image"]
            for row in kept:
                _save(folder / split / _plain(dataset.class_names[labels[row]]), int(row), images[row])

    return write


def digits(folder: Path, real: str) -> None:
    """Write scikit-learn's 1,797 handwritten digits, 8 x 8, four times as large."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = (255 - images.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8).repeat(SIDE // 8, 1).repeat(SIDE // 8, 2)
    drawn = np.random.default_rng(0).permutation(len(labels))
    for split, rows in zip(MOST, np.split(drawn, [len(drawn) // 2, len(drawn) * 2 // 3])):
        for row in rows:
            _save(folder / split / str(labels[row]), int(row), pixels[row, :, :, None])


def photographs(folder: Path, real: str) -> None:
    """Write some of CIFAR-10's training images, cut into splits."""
    import zipfile

    with zipfile.ZipFile(Path(real) / "cifar10_train.zip") as archive:
        classes: dict[str, list[str]] = {}
        for name in sorted(archive.namelist()):
            if name.endswith(".jpg"):
                classes.setdefault(Path(name).parent.name, []).append(name)
        for label, names in classes.items():
            drawn = np.random.default_rng(0).permutation(names)
            for split, rows in zip(MOST, np.split(drawn, np.cumsum(list(MOST.values())))):
                (folder / split / label).mkdir(parents=True)
                for name in rows:
                    (folder / split / label / Path(name).name).write_bytes(archive.read(str(name)))


def _plain(name: str) -> str:
    return name.replace(" & ", " and ").replace("/", " ")


def _save(folder: Path, row: int, image: np.ndarray) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{row:05d}.png")


# === What there is ===

OTHER_SCRIPTS = ("Armenian", "Bulgarian", "Georgian", "Greek", "Russian", "Ukrainian")
LATIN_SCRIPT = (
    *("Czech", "Danish", "Dutch", "English", "Estonian", "Finnish", "French", "German", "Hungarian", "Indonesian"),
    *("Italian", "Lithuanian", "Polish", "Portuguese", "Romanian", "Slovak", "Spanish", "Swedish", "Turkish"),
    "Vietnamese",
)
TARGETS = {
    "ten languages": Target({"target": "languages/latin"}, "text", True),
    "ten other languages": Target({"target": "languages/other"}, "text", True),
    "six languages in other scripts": Target({"target": "languages", "leave_out": LATIN_SCRIPT}, "text", False),
    "kind of a phrase": Target({"target": "languages/latin", "target_label": "kind"}, "text", True),
    "names of emoji": Target({"target": "csv:{data}/names-of-emoji/texts.csv"}, "text", True, names_of_emoji),
    "names of characters": Target(
        {"target": "csv:{data}/names-of-characters/texts.csv"}, "text", True, names_of_characters
    ),
    "digits": Target({"target": "folder:{data}/digits"}, "image", False, digits),
    "emoji": Target({"target": "folder:{data}/emoji", "image_size": 48}, "image", False, images_of("emoji", None)),
    "scripts": Target(
        {"target": "folder:{data}/scripts"}, "image", False, images_of("glyphs/by_character", "script", SCRIPTS)
    ),
    "diacritics": Target(
        {"target": "folder:{data}/diacritics"},
        "image",
        False,
        images_of("glyphs/by_character", "diacritic", DIACRITICS),
    ),
    "case": Target(
        {"target": "folder:{data}/case"}, "image", False, images_of("glyphs/by_character", "case", ("lower", "upper"))
    ),
}
REAL_TARGETS = {
    "news titles": Target({"target": "csv:{real}/ag_news.csv", "target_text": "title"}, "text", True),
    "photographs": Target({"target": "folder:{data}/photographs"}, "image", False, photographs),
}
TARGETS |= REAL_TARGETS
SOURCES = {
    "CNN of characters": Source({"source": "glyphs/by_face"}, "2 epochs of 14,000 images", "image"),
    "CNN of characters, short": Source(
        {"source": "glyphs/by_face", "source_epochs": 1, "source_max_examples": 2000},
        "1 epoch of 2,000 images",
        "image",
    ),
    "CNN of emoji": Source({"source": "emoji", "source_epochs": 8}, "8 epochs of 1,170 images", "image"),
    "untrained CNN": Source({"source": "fresh:cnn"}, "none", "image"),
    "text CNN of languages": Source(
        {"source": "languages/other", "source_epochs": 8, "width": 352}, "8 epochs of 9,000 phrases", "text"
    ),
    "BERT of names": Source(
        {"source": "names", "source_epochs": 1, "source_max_examples": 8000}, "1 epoch of 8,000 names", "text"
    ),
    "MiniLM": Source({"source": "preset:{bert}"}, "English sentences", "text"),
    "EfficientNet-Lite0": Source({"source": "file:{cnn}"}, "ImageNet", "image"),
}
READ = ("probe", "ngrams")
TUNE = {"labels_per_class": (5, 20), "controls_at": (5, 20), "learning_rates": (5e-4, 2e-3, 1e-2)}
TOKENS = {"labels_per_class": (5, 20), "learning_rates": (1e-3, 3e-3, 1e-2)}
MAP = {"transfer": "encoder_to_vision", "source_seeds": 1, "learning_rates": (1e-3, 3e-3, 1e-2)}


def _probes(source: str, bridge: str, *targets: str) -> tuple[Cells, ...]:
    return tuple(Cells(source, target, bridge) for target in targets)


TEXTS = tuple(name for name, target in TARGETS.items() if target.gives == "text" and name not in REAL_TARGETS)
GRID = (
    *_probes("CNN of characters", "render", *TEXTS),
    *_probes("CNN of characters", "none", "digits", "emoji"),
    *(Cells("text CNN of languages", name, "read", READ) for name in ("ten languages", "kind of a phrase")),
    *(Cells("text CNN of languages", name, "read", READ) for name in ("names of emoji", "names of characters")),
    *(Cells("BERT of names", name, "read", READ) for name in ("ten other languages", "names of emoji")),
    *_probes("untrained CNN", "render", "ten languages", "names of emoji", "kind of a phrase"),
    *_probes("untrained CNN", "none", "digits", "emoji", "scripts", "diacritics", "case"),
    *_probes("CNN of emoji", "none", "digits", "scripts", "diacritics", "case"),
    *_probes("CNN of emoji", "render", "ten languages", "six languages in other scripts", "names of emoji"),
    *(Cells("BERT of names", name, "tokens", ("structure",), MAP) for name in ("diacritics", "scripts", "case")),
    *_probes("CNN of characters, short", "render", "ten languages", "kind of a phrase"),
    *(
        Cells("CNN of characters", name, "render", ("finetune",), TUNE)
        for name in ("ten languages", "names of characters")
    ),
    Cells("CNN of characters", "digits", "none", ("finetune",), TUNE),
    Cells("CNN of emoji", "case", "none", ("finetune",), TUNE),
    *(Cells("BERT of names", name, "tokens", ("probe",), TOKENS) for name in ("digits", "emoji")),
    Cells("CNN of characters", "ten languages", "tokens", ("probe",), TOKENS),
    *(Cells("BERT of names", name, "read", READ) for name in ("kind of a phrase", "names of characters")),
)
LARGE = {"probe_seeds": 3, "image_size": 96}
REAL = (
    Cells("EfficientNet-Lite0", "emoji", "none", options=LARGE),
    Cells("MiniLM", "names of emoji", "read", READ),
    Cells("MiniLM", "news titles", "read", READ, {"width": 1024}),
    Cells("CNN of characters", "news titles", "render", options={"layout": "rows", "height": 96, "width": 256}),
    Cells("EfficientNet-Lite0", "photographs", "none", options=LARGE),
    *_probes("CNN of characters", "none", "photographs"),
    *_probes("CNN of emoji", "none", "photographs"),
    Cells("BERT of names", "news titles", "read", READ, {"width": 1024}),
)
