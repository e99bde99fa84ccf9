"""The checks of `tfxfer doctor`: each looks at one kind of fault. `CHECKS` is their table."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tfxfer.data.splits import SPLITS
from tfxfer.doctor import similar_images, similar_texts, suspect_labels
from tfxfer.doctor.examined import Examined, shortened
from tfxfer.doctor.findings import Finding, Row

MANY = 0.05  # the share of equal training examples from which they are a warning
LEAST_OF_CLASS = 5  # training examples
LONGEST_IN_WORDS = 60
CAPTIONS = 20  # at most so many different captions for so many times as many images look like classes
IMAGES_A_CAPTION = 5
LEAK = 0.01  # the share of test examples from which a leak is an error
HOLD_MORE = "`--layout rows`, a larger --width or a smaller --font-size hold more."
NO_BOXES = "They become boxes; use n-grams or a text model."
NOT_LOOKED_AT = "images were not looked at"
SAMPLE = 4000  # training texts that say how near is usual
UNLIKE = 0.2  # Cramér's V of class and split from which the splits differ
SURELY = 1e-4  # the p of that difference


@dataclass(frozen=True)
class Check:
    """A row of the table of checks.

    Attributes:
        title: What it looks for, in a few words.
        look: Takes the data set, and the source or None; yields findings, and strings that say what could not be told.
    """

    title: str
    look: Callable[[Examined, Examined | None], Iterator[Finding | str]]


# === The same content in two splits ===


def overlap(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find test and validation examples whose content is in an earlier split too."""
    for split, before in (("test", ("train", "validation")), ("validation", ("train",))):
        rows = _repeated(data, split, _contents(data, before))
        if rows:
            share = len(rows) / data.dataset.sizes[split]
            yield Finding(
                "overlap",
                "error" if split == "test" and share >= LEAK else "warning",
                f"{len(rows):,} of {data.dataset.sizes[split]:,} {split} examples ({share:.1%}) are also in "
                f"{' or '.join(before)}.",
                "Remove them from one of the splits, or give a 'split' column that keeps equal examples together.",
                rows,
            )


def source_overlap(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find test examples that the source was trained on."""
    if source is None:
        yield "no source was given"
        return
    if data.by_image != source.by_image:
        yield "source and target have different modalities"
        return
    rows = _repeated(data, "test", _contents(source, SPLITS))
    if rows:
        share = len(rows) / data.dataset.sizes["test"]
        yield Finding(
            "source_overlap",
            "error",
            f"{len(rows):,} of {data.dataset.sizes['test']:,} test examples ({share:.1%}) are in the source: what the "
            "source learned from them is not transfer.",
            "Remove them from the source before it is trained.",
            rows,
        )


def near_overlap(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find test and validation examples that nearly equal a training example, of the target or of the source."""
    pairs = [(data, "test", data, "train"), (data, "validation", data, "train")]
    if source is not None and source.by_image == data.by_image:
        pairs.append((data, "test", source, "train"))
    for one, split, other, train in pairs:
        found = _near(one, split, other, train)
        if isinstance(found, str):
            yield found
            continue
        equal = set(_contents(other, (train,)))
        contents = _content(one, split)
        rows = [
            (i, j, c) for i, j, c in found if contents[i] not in equal and _same_class(one, split, i, other, train, j)
        ]
        if rows:
            share = len(rows) / one.dataset.sizes[split]
            yield Finding(
                "near_overlap",
                "error" if split == "test" and share >= LEAK else "warning",
                f"{len(rows):,} of {one.dataset.sizes[split]:,} {split} examples ({share:.1%}) nearly equal one of "
                f"{other.name}{train}.",
                "Look at them. If they are copies, keep each with its original in one split.",
                one.rows(split, [i for i, _, _ in rows],
                         [f"like {other.where(train, j)}: {other.content(train, j)} ({c:.3f})" for _, j, c in rows]),
            )  # fmt: skip


def groups(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find groups, such as a speaker or a product, that have examples in two splits."""
    if not data.groups:
        yield "no column of groups was given (--group)"
        return
    place = defaultdict(set)
    for split, values in data.groups.items():
        for value in values:
            place[value].add(split)
    torn = {value for value, splits in place.items() if "test" in splits and len(splits) > 1}
    rows = [i for i, value in enumerate(data.groups["test"]) if value in torn]
    if rows:
        yield Finding(
            "groups",
            "error",
            f"{len(torn):,} of {len(place):,} groups are in the test split and in another: {len(rows):,} of "
            f"{data.dataset.sizes['test']:,} test examples.",
            "Give a 'split' column that keeps each group in one split.",
            data.rows("test", rows, [f"group '{shortened(data.groups['test'][i])}'" for i in rows]),
        )


def duplicates(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find training examples that stand there twice."""
    first: dict[str, int] = {}
    rows = []
    for place, content in enumerate(_content(data, "train")):
        if content and content in first:
            rows.append((place, first[content]))
        first.setdefault(content, place)
    if rows:
        share = len(rows) / data.dataset.sizes["train"]
        yield Finding(
            "duplicates",
            "warning" if share >= MANY else "note",
            f"{len(rows):,} of {data.dataset.sizes['train']:,} training examples ({share:.1%}) are there already.",
            "Remove them, or know that they count twice.",
            data.rows("train", [i for i, _ in rows], [f"the same as {data.where('train', j)}" for _, j in rows]),
        )


# === Labels ===


def conflicts(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find equal examples with different labels."""
    if not data.labels:
        yield "there are no labels"
        return
    names = data.dataset.class_names
    found: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for split in SPLITS:
        for place, content in enumerate(_content(data, split)):
            if content:
                found[content].append((split, place))
    rows: list[Row] = []
    for places in found.values():
        labels = {names[data.labels[split][place]] for split, place in places}
        if len(labels) > 1:
            for split, place in places:
                rows += data.rows(split, [place], [f"labelled '{names[data.labels[split][place]]}', elsewhere not"])
    if rows:
        yield Finding(
            "conflicts",
            "warning",
            f"{len(rows):,} examples have equals with another label.",
            "Decide on one label for each, or remove them: no model can be right about both.",
            tuple(rows),
        )


def labels(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find training labels that cross-validation is sure are wrong."""
    if not data.labels:
        yield "there are no labels"
        return
    if data.by_image and not data.signatures:
        yield NOT_LOOKED_AT
        return
    places, known = _enough_of_each(data)
    if len(np.unique(known)) < 2:
        yield f"fewer than two classes have {suspect_labels.FOLDS} training examples"
        return
    classes, inner = np.unique(known, return_inverse=True)
    if len(classes) > suspect_labels.MOST_CLASSES:
        yield f"there are {len(classes):,} classes; doubtful labels are looked for among {suspect_labels.MOST_CLASSES}"
        return
    probabilities = suspect_labels.out_of_fold(_features(data, places), inner, data.seed)
    accuracy = float((probabilities.argmax(1) == inner).mean())
    if accuracy < suspect_labels.LEAST:
        yield f"a plain classifier is right about {accuracy:.0%} of held-out examples, too few to doubt a label"
        return
    found, other = suspect_labels.suspects(probabilities, inner)
    if len(found):
        names = data.dataset.class_names
        own = probabilities[found, inner[found]]
        why = [
            f"labelled '{names[classes[inner[i]]]}' ({p:.2f}), more probably '{names[classes[k]]}' "
            f"({probabilities[i, k]:.2f})"
            for i, k, p in zip(found, other, own)
        ]
        yield Finding(
            "labels",
            "warning" if len(found) / len(places) >= 0.01 else "note",
            f"{len(found):,} of {len(places):,} training labels ({len(found) / len(places):.1%}) are doubtful: a "
            f"classifier that has not seen them is sure of another class (right about {accuracy:.0%}).",
            "Look at the first ones. What is ambiguous is no mistake.",
            data.rows("train", places[found], why),
        )


def balance(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find classes that a split lacks, and splits with other shares of the classes."""
    if not data.labels:
        yield "there are no labels"
        return
    names = data.dataset.class_names
    counts = {split: np.bincount(data.labels[split], minlength=len(names)) for split in SPLITS}
    few = [names[c] for c in range(len(names)) if 0 < counts["train"][c] < LEAST_OF_CLASS]
    if few:
        yield Finding(
            "balance",
            "warning",
            f"{len(few):,} classes have fewer than {LEAST_OF_CLASS} training examples: {_listed(few)}.",
            "Add examples, or join classes.",
        )
    untested = [names[c] for c in range(len(names)) if counts["train"][c] and not counts["test"][c]]
    if untested:
        yield Finding(
            "balance",
            "note",
            f"{len(untested):,} classes have no test example: {_listed(untested)}.",
            "Their accuracy cannot be measured.",
        )
    unlike = _unlike(np.stack([counts["train"], counts["test"]]))
    if unlike is not None:
        yield Finding(
            "balance",
            "warning",
            f"The classes have other shares in test than in train (Cramér's V {unlike:.2f}).",
            "Split again by chance within each class, or report the accuracy of each class.",
        )


# === Captions ===


def captions(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find captions that are classes."""
    if "caption" not in data.dataset.keys:
        yield "there are no captions"
        return
    texts = Counter(text for split in SPLITS for text in data.normal[split])
    count = sum(texts.values())
    if len(texts) <= CAPTIONS and count >= IMAGES_A_CAPTION * len(texts):
        yield Finding(
            "captions",
            "error",
            f"{count:,} images have {len(texts)} different captions: these are classes.",
            "Name the column as label, and use `tfxfer train feature`.",
        )


# === What an encoder does not get ===


def empty(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find texts without a letter, and images that show nothing."""
    for split in SPLITS:
        rows = [i for i, text in enumerate(data.texts.get(split, ())) if not text.strip()]
        if rows:
            yield Finding("empty", "warning", f"{len(rows):,} texts of {split} are empty.",
                          "Give them a text, or remove them.", data.rows(split, rows))  # fmt: skip
        plain: np.ndarray = np.zeros(0, int)
        if data.signatures:
            plain = np.flatnonzero(similar_images.blank(data.signatures[split]))
        if len(plain):
            yield Finding("empty", "warning", f"{len(plain):,} images of {split} show nothing: they have one colour.",
                          "Look at the files; they may be damaged.", data.rows(split, plain))  # fmt: skip


def drawing(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find texts that the bridge `render` would cut, or could draw as boxes only."""
    if data.text_key != "text" or data.by_image:
        yield "there are no texts to be drawn"
        return
    from tfxfer.transfer.bridges.render import RenderText

    bridge = RenderText(height=32, width=224, font_size=24)
    counts = bridge.count(np.array(data.texts["test"], object))
    for what, name, remedy in (
        ("are cut at the edge of an image of 224 pixels", "cut", HOLD_MORE),
        ("hold a character that the typeface cannot draw", "missing", NO_BOXES),
    ):  # fmt: skip
        rows = np.flatnonzero(np.asarray(counts[name]))
        if len(rows):
            share = len(rows) / data.dataset.sizes["test"]
            yield Finding(
                "drawing",
                "warning" if share >= MANY else "note",
                f"By `--bridge render`, {len(rows):,} of {data.dataset.sizes['test']:,} test texts ({share:.1%}) "
                f"{what}.",
                remedy,
                data.rows("test", rows),
            )


def length(data: Examined, source: Examined | None) -> Iterator[Finding | str]:
    """Find texts that are far longer than what a small text encoder reads."""
    if not data.texts:
        yield "there are no texts"
        return
    for split in ("train", "test"):
        rows = [i for i, text in enumerate(data.texts[split]) if len(text.split()) > LONGEST_IN_WORDS]
        if len(rows) > MANY * data.dataset.sizes[split]:
            yield Finding(
                "length",
                "note",
                f"{len(rows):,} of {data.dataset.sizes[split]:,} texts of {split} have more than {LONGEST_IN_WORDS} "
                "words; their ends are not read by default.",
                "A larger --max-length takes more, and time.",
                data.rows(split, rows),
            )


CHECKS = {
    "overlap": Check("equal examples in two splits", overlap),
    "near_overlap": Check("nearly equal examples in two splits", near_overlap),
    "source_overlap": Check("test examples in the source", source_overlap),
    "groups": Check("groups in two splits", groups),
    "duplicates": Check("equal training examples", duplicates),
    "conflicts": Check("equal examples with different labels", conflicts),
    "labels": Check("doubtful labels", labels),
    "balance": Check("classes and splits", balance),
    "captions": Check("captions that are classes", captions),
    "empty": Check("empty texts and images", empty),
    "drawing": Check("texts that cannot be drawn whole", drawing),
    "length": Check("long texts", length),
}


# === Parts ===


def _content(data: Examined, split: str) -> list[str]:
    """Return what makes each example of a split the same as another, "" where nothing does."""
    if data.by_image:
        return [f"{digest:x}" for digest in data.dataset.digests(split, "image").tolist()]
    return data.normal[split]


def _contents(data: Examined, splits: tuple[str, ...]) -> dict[str, str]:
    """Return content -> the address of the first example with it, in some splits."""
    found: dict[str, str] = {}
    for split in splits:
        for place, content in enumerate(_content(data, split)):
            found.setdefault(content, data.where(split, place))
    return found


def _repeated(data: Examined, split: str, seen: dict[str, str]) -> tuple[Row, ...]:
    """Return the examples of a split whose content was seen; content -> where."""
    where = {place: seen[one] for place, one in enumerate(_content(data, split)) if one and one in seen}
    return data.rows(split, list(where), [f"the same as {address}" for address in where.values()])


def _near(one: Examined, split: str, other: Examined, train: str) -> list[tuple[int, int, float]] | str:
    """Return (place, place of the nearest training example, how near it is) of near ones; or why it cannot be told."""
    if one.by_image:
        if not one.signatures or not other.signatures:
            return NOT_LOOKED_AT
        places, cosines = similar_images.nearest(one.signatures[split], other.signatures[train])
        found = np.flatnonzero(cosines >= similar_images.NEAR)
        return [(int(i), int(places[i]), float(cosines[i])) for i in found]
    drawn = _some(other.normal[train], similar_texts.LONGEST, other.seed)
    known = [other.normal[train][i] for i in drawn]
    asked = [i for i, text in enumerate(one.normal[split]) if len(text) >= similar_texts.SHORTEST]
    if not known or not asked:
        return f"the texts of {split} are too short"
    limit = similar_texts.limit_of(_nearness_within(other, train))
    if limit is None:
        return "many training texts are nearly equal to one another, as names built by rule are; only equal ones count"
    places, near = similar_texts.nearest([one.normal[split][i] for i in asked], known)
    return [(i, int(drawn[j]), float(value)) for i, j, value in zip(asked, places, near) if value >= limit]


def _nearness_within(data: Examined, train: str) -> np.ndarray:
    """Return how similar training texts and their nearest others of the same class are, of a draw, float [n]."""
    long = [i for i, text in enumerate(data.normal[train]) if len(text) >= similar_texts.SHORTEST]
    places = [long[i] for i in _some([data.normal[train][i] for i in long], SAMPLE, data.seed)]
    if len(places) < 2:
        return np.zeros(0)
    texts = [data.normal[train][i] for i in places]
    nearest, near = similar_texts.nearest(texts, texts, same=True)
    alike = [_same_class(data, train, places[i], data, train, places[j]) for i, j in enumerate(nearest.tolist())]
    return np.where(alike, near, 0.0)


def _same_class(one: Examined, split: str, i: int, other: Examined, train: str, j: int) -> bool:
    """Return whether two examples have one class, or are not of one set with classes: then near texts may be a leak."""
    if one is not other or not one.labels:
        return True
    return bool(one.labels[split][i] == other.labels[train][j])


def _some(rows: list[str], most: int, seed: int) -> np.ndarray:
    """Return the places of all rows, or of `most` drawn ones."""
    if len(rows) <= most:
        return np.arange(len(rows))
    return np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])


def _enough_of_each(data: Examined) -> tuple[np.ndarray, np.ndarray]:
    """Return places and labels of training examples whose class has one for each fold, at most `MOST` of them."""
    known = data.labels["train"]
    counts = np.bincount(known, minlength=len(data.dataset.class_names))
    places = np.flatnonzero(counts[known] >= suspect_labels.FOLDS)
    if len(places) > suspect_labels.MOST:
        places = np.sort(np.random.default_rng(data.seed).permutation(places)[: suspect_labels.MOST])
        counts = np.bincount(known[places], minlength=len(counts))
        places = places[counts[known[places]] >= suspect_labels.FOLDS]
    return places, known[places]


def _features(data: Examined, places: np.ndarray) -> object:
    """Return what a plain classifier sees of some training examples: n-grams, or principal axes of signatures."""
    if data.by_image:
        from sklearn.decomposition import PCA

        rows = data.signatures["train"][places]
        width = min(100, len(rows) - 1, rows.shape[1])
        return 10 * PCA(width, svd_solver="randomized", random_state=0).fit_transform(rows)
    from sklearn.feature_extraction.text import TfidfVectorizer

    made = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, min_df=2, dtype=np.float32)
    return made.fit_transform([data.texts["train"][i] for i in places])


def _unlike(counts: np.ndarray) -> float | None:
    """Return Cramér's V of class and split [2, C] where they depend on one another, else None."""
    from scipy.stats import chi2_contingency

    table = counts[:, counts.sum(0) > 0]
    if table.shape[1] < 2 or not table.sum(1).all():
        return None
    found = chi2_contingency(table, correction=False)
    strength = float(np.sqrt(found.statistic / table.sum()))
    return strength if found.pvalue < SURELY and strength >= UNLIKE else None


def _listed(names: list[str]) -> str:
    return ", ".join(shortened(name) for name in names[:5]) + (
        f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    )
