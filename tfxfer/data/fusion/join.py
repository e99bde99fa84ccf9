"""Join the images of one set and the texts of another into pairs: by key, by class, or by nearest neighbour.

The result has the images of A, each once, with one or more texts of B as its captions, and the column "pair": "true"
for pairs by key, "class" or "nearest" otherwise. A pair is in test when either of its two is, else in validation when
either is.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from tfxfer.data.dataset import Dataset
from tfxfer.data.fusion.parts import (
    CLASS,
    KEY,
    NEAREST,
    PAIR,
    TEXT_KEYS,
    TRUE,
    Load,
    Part,
    check_filled,
    fingerprint,
    images_too,
    load_part,
    shown,
    table_length,
    table_of,
    with_columns,
    with_present_classes,
    without_leaks,
)
from tfxfer.data.fusion.query import Query
from tfxfer.data.splits import SPLITS, same_text
from tfxfer.errors import UserError

NOT_KEPT = (*TEXT_KEYS, "answer", "image")  # columns of A: its texts are those of B, its images stay where they are
RANK = {split: rank for rank, split in enumerate(SPLITS)}  # a pair is in the split of the greater rank


@dataclass(frozen=True)
class Pairs:
    """P images of A with texts of B.

    Attributes:
        places: int [P], which rows of the part A.
        texts: P tuples of texts.
        splits: str [P].
        kind: "true", "class" or "nearest".
        notes: What was left out or moved, and what the pairs are.
        columns: Further columns, [P].
        made_of: Fingerprints of the sets.
    """

    places: np.ndarray
    texts: list[tuple[str, ...]]
    splits: np.ndarray
    kind: str
    notes: list[str]
    made_of: tuple[str, ...]
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def kept(self, keep: np.ndarray, notes: Sequence[str]) -> "Pairs":
        """Return some of the pairs, bool [P], and further notes."""
        texts = [text for text, stays in zip(self.texts, keep) if stays]
        columns = {name: values[keep] for name, values in self.columns.items()}
        return Pairs(
            self.places[keep], texts, self.splits[keep], self.kind, [*self.notes, *notes], self.made_of, columns
        )


def join(query: Query, load: Load, seed: int, draw: bool, where: Mapping[str, Any]) -> Dataset:
    """Join two sets as a query says.

    Args:
        query: The query.
        load: Loads a set.
        seed: Of draws, where the query gives none.
        draw: Whether sets without splits are cut into some.
        where: `data_dir` and `download`, for the features of the aligned space.

    Raises:
        UserError: A has no images, B no texts, nothing matches, or a split stays empty.
    """
    (spec_a, columns_a), (spec_b, columns_b) = query.named()
    key_a, key_b = query.keys
    if query.way == "key":
        a = load_part(load, spec_a, images_too(spec_a, columns_a, key_a), key_a)
        b = load_part(load, spec_b, columns_b, key_b)
    else:
        a, b = load_part(load, spec_a, columns_a), load_part(load, spec_b, columns_b)
    if "image" not in a.dataset.keys:
        raise UserError(f"data spec '{query.source}': {spec_a} has no images; name the set with the images first")
    if query.way == "key":
        refuse_false_pairs(b.dataset)
        pairs = by_key(a, b, query)
    elif query.way == "class":
        pairs = by_class(a, b, query, seed if query.seed is None else query.seed)
    else:
        pairs = by_nearest(a, b, load(query.via or "", {}), query, where)
    pairs = pairs.kept(*without_leaks(a.digests[pairs.places], pairs.splits, "images"))
    needed = SPLITS if query.way != "nearest" else ("train",)  # few may be sure enough, and be learned from only
    check_filled(pairs.splits, query.source, "pair", needed if draw else ())
    return paired(a, pairs, query)


def refuse_false_pairs(data: Dataset) -> None:
    """Refuse texts that were given to images by class or by nearest neighbour, where they would pass for true ones."""
    if PAIR in data.keys and any((data.splits[split].column(PAIR) != TRUE.encode()).any() for split in SPLITS):
        raise UserError(f"{data.name}: not all of its pairs are true ones; give the set of true pairs that is in it")


# === By key ===


def by_key(a: Part, b: Part, query: Query) -> Pairs:
    """Pair each image with all texts of the same key; images of one key or of the same bytes share a split."""
    keys_a, keys_b, texts = a.values(query.keys[0]), b.values(query.keys[1]), b.texts()
    rows_b: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys_b):
        if key and texts[row]:
            rows_b[key].append(row)
    places = np.array([row for row, key in enumerate(keys_a) if key in rows_b], int)
    _check_keys(Counter(keys_a[row] for row in places), rows_b, texts, keys_a, keys_b, query)
    found = [tuple(dict.fromkeys(text for row in rows_b[keys_a[p]] for text in texts[row])) for p in places]
    before, splits = _splits_by_key(a, b, places, [rows_b[keys_a[place]] for place in places], keys_a)
    unused = len(b) - sum(len(rows_b[key]) for key in {keys_a[place] for place in places})
    several = sum(len(each) > 1 for each in found)
    notes = [f"{len(places):,} pairs by {query.keys[0]} = {query.keys[1]}"]
    for count, what in (
        (len(a) - len(places), f"images of {a.dataset.name} have no text and are left out"),
        (unused, f"rows of {b.dataset.name} have no image, or no text, and are left out"),
        (several, "images have several texts"),
        (int((before != splits).sum()), "pairs moved to the stricter split of their images and texts"),
    ):
        notes += [f"{count:,} {what}"] if count else []
    return Pairs(places, found, splits, TRUE, notes, (a.dataset.fingerprint, b.dataset.fingerprint))


def _check_keys(
    counts: Counter[str],
    rows_b: dict[str, list[int]],
    texts: list[tuple[str, ...]],
    keys_a: list[str],
    keys_b: list[str],
    query: Query,
) -> None:
    """Refuse keys that match nothing, and those of several images and several texts."""
    (spec_a, spec_b), (key_a, key_b) = query.parts, query.keys
    if not counts:
        raise UserError(
            f"data spec '{query.source}': no '{key_a}' of {spec_a} is a '{key_b}' of {spec_b}: {shown(keys_a)} and "
            f"{shown(keys_b)}; name columns that hold the same keys, as in on=COLUMN_A=COLUMN_B"
        )
    distinct = {key: len({text for row in rows_b[key] for text in texts[row]}) for key in counts}
    many = [key for key, count in counts.items() if count > 1 and distinct[key] > 1]
    if many:
        raise UserError(
            f"data spec '{query.source}': {len(many):,} keys stand several times on both sides ('{many[0]:.40}': "
            f"{counts[many[0]]} images, {distinct[many[0]]} texts), so which belong together is not known; join by "
            f"another column, or by class: a.label={key_a}&b.label={key_b}&on=label"
        )


def _splits_by_key(
    a: Part, b: Part, places: np.ndarray, rows: list[list[int]], keys: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the split of each pair before and after it was made that of the strictest row it is linked with, str [P].

    A set whose splits tfxfer cut follows the other one, so that no example is moved without need.
    """
    use_a = a.own_splits or not b.own_splits
    rank_b = np.array([RANK[split] for split in b.splits])
    rank_a = np.array([RANK[split] for split in a.splits[places]], int)
    own = rank_a if use_a else np.zeros(len(places), int)
    given = np.array([max(rank_b[each]) for each in rows], int) if b.own_splits else own
    rank = np.maximum(own, given)
    links = [np.unique(values, return_inverse=True)[1] for values in (a.digests[places], [keys[p] for p in places])]
    group = _linked(links)
    strictest = np.zeros(len(places), int)
    np.maximum.at(strictest, group, rank)
    names = np.array(SPLITS)
    return names[own if use_a else given], names[strictest[group]]


def _linked(links: Sequence[np.ndarray]) -> np.ndarray:
    """Return int [P], equal for rows that are linked, by any chain of equal values in one of the arrays int [P]."""
    count, edges = len(links[0]), []
    offset = count
    for values in links:
        edges.append(np.stack([np.arange(count), offset + values]))
        offset += values.max() + 1
    ends = np.concatenate(edges, 1)
    graph = sparse.csr_matrix((np.ones(ends.shape[1]), tuple(ends)), shape=(offset, offset))
    return connected_components(graph, directed=False)[1][:count]


# === By class ===


def by_class(a: Part, b: Part, query: Query, seed: int) -> Pairs:
    """Pair each image with a drawn text of its class and split; each text is drawn once before one is drawn again."""
    for part, letter in ((a, "a"), (b, "b")):
        if not part.dataset.class_names:
            raise UserError(f"{part.dataset.name} has no labels; name a column that has, as in {letter}.label=COLUMN")
    classes_a, classes_b = ([same_text(name) for name in part.classes] for part in (a, b))
    shared = set(classes_a) & set(classes_b)
    if not shared:
        raise UserError(
            f"data spec '{query.source}': no class is in both sets: {shown(a.dataset.class_names)} and "
            f"{shown(b.dataset.class_names)}; write the classes alike, or name other columns with a.label= and b.label="
        )
    pools, notes = _pools(b, classes_b)
    order = np.random.default_rng(seed)
    chosen: dict[int, str] = {}
    for split in SPLITS:
        for name in sorted(shared):
            pool = pools.get((split, name), [])
            rows = [row for row, one in enumerate(classes_a) if one == name and a.splits[row] == split]
            if pool:
                drawn = [int(i) for i in order.permutation(len(pool))]
                rows = [rows[i] for i in order.permutation(len(rows))]
                chosen |= {row: pool[drawn[i % len(pool)]] for i, row in enumerate(rows)}
    for part, classes in ((a, classes_a), (b, classes_b)):
        one_sided = sorted(set(classes) - shared)
        if one_sided:
            notes.append(f"{len(one_sided):,} classes of {part.dataset.name} are in no other set: {shown(one_sided)}")
    places = np.array(sorted(chosen), int)
    if len(a) > len(places):
        notes.append(f"{len(a) - len(places):,} images have no text of their class in their split and are left out")
    said = f"{len(places):,} class-level pairs: each image has a text of its class, not one of its own"
    made_of = (a.dataset.fingerprint, b.dataset.fingerprint, str(seed))
    return Pairs(places, [(chosen[p],) for p in places], a.splits[places], CLASS, [said, *notes], made_of)


def _pools(b: Part, classes: Sequence[str]) -> tuple[dict[tuple[str, str], list[str]], list[str]]:
    """Return (split, class) -> its distinct texts, none of which is in two splits, and notes."""
    later: set[str] = set()
    pools: dict[tuple[str, str], list[str]] = defaultdict(list)
    texts, notes = b.texts(), []
    for split in reversed(SPLITS):
        rows = np.flatnonzero(b.splits == split).tolist()
        fresh = [(classes[row], text) for row in rows for text in texts[row] if same_text(text) not in later]
        left = sum(len(texts[row]) for row in rows) - len(fresh)
        notes += [f"{left:,} {split} texts are left out: they are also in a later split"] if left else []
        for name, text in dict.fromkeys(fresh):
            pools[split, name].append(text)
        later |= {same_text(text) for _, text in fresh}
    return pools, notes


# === By nearest neighbour ===


def by_nearest(a: Part, b: Part, via: Dataset, query: Query, where: Mapping[str, Any]) -> Pairs:
    """Pair each image with the nearest text of its split, in a space that is fitted on the true pairs of `via`."""
    pools, notes = _pools(b, [""] * len(b))
    candidates = {split: pools.get((split, ""), []) for split in SPLITS}
    unseen, left = _unseen(via, a)
    if left:
        notes.append(f"{left:,} pairs of {via.name} are not learned from: their images are in validation or test here")
    from tfxfer.data.fusion.nearest import aligner  # its import brings models, which nothing else here needs

    found = aligner()(unseen, a.dataset, candidates, query, where)
    places: list[int] = []
    texts: list[tuple[str, ...]] = []
    confidences: list[float] = []
    for split in SPLITS:
        rows = np.flatnonzero(a.splits == split)
        if split in found.best:
            places += rows.tolist()
            texts += [(candidates[split][i],) for i in found.best[split].tolist()]
            confidences += found.confidence[split].tolist()
    confidence = np.array(confidences, np.float32)
    pairs = Pairs(
        np.array(places, int), texts, a.splits[np.array(places, int)], NEAREST, [found.said, *notes],
        (a.dataset.fingerprint, b.dataset.fingerprint, via.fingerprint), {"confidence": confidence},
    )  # fmt: skip
    keep = confidence >= query.min_confidence
    low = int((~keep).sum())
    if len(keep) and not keep.any():
        raise UserError(
            f"data spec '{query.source}': no pair has a confidence of {query.min_confidence}; the greatest is "
            f"{confidence.max():.2f}. Ask for less, or give an encoder= that knows such images"
        )
    return pairs.kept(keep, [f"{low:,} images have a confidence below {query.min_confidence}"] if low else [])


def _unseen(via: Dataset, a: Part) -> tuple[Dataset, int]:
    """Return `via` without what A is tested on, and how many pairs are left out.

    Training pairs whose images are in A's validation or test leave, and validation pairs whose images are in A's test.
    """
    if not {"image", "caption"} <= set(via.keys):
        raise UserError(f"{via.name} (via=): has no pairs of images and captions to fit the space on")
    refuse_false_pairs(via)
    left = 0
    for split, later in (("train", ("validation", "test")), ("validation", ("test",))):
        keep = ~np.isin(via.digests(split), a.digests[np.isin(a.splits, later)])
        if not keep.all():
            left += int((~keep).sum())
            via = via.with_rows(split, np.flatnonzero(keep))
    return via, left


# === The joined set ===


def paired(a: Part, pairs: Pairs, query: Query) -> Dataset:
    """Return the set of the pairs: the images and other columns of A, the captions, and how each pair was made."""
    template = a.dataset.splits["train"]
    rows, count = a.rows[pairs.places], table_length(template)
    references: list[tuple[str, ...]] = [()] * count
    for row, texts in zip(rows, pairs.texts):
        references[row] = texts
    columns: dict[str, Any] = {
        name: values for name, values in table_of(template).columns.items() if name not in NOT_KEPT
    }
    if KEY in columns:
        columns = {query.keys[0]: columns.pop(KEY)} | columns
        columns.pop("image", None)  # the names of the files, where these were the keys
    columns |= {"caption": [texts[0] if texts else "" for texts in references], PAIR: [pairs.kind] * count}
    for name, values in pairs.columns.items():
        columns[name] = np.zeros(count, values.dtype)
        columns[name][rows] = values
    splits = {s: with_columns(template, columns, rows[pairs.splits == s]) for s in SPLITS}
    sure = {name: np.round(values, 3).tolist() for name, values in pairs.columns.items()}
    key = fingerprint(query, pairs.made_of, rows.tolist(), pairs.splits.tolist(), pairs.texts, sure)
    several = any(len(texts) > 1 for texts in pairs.texts)
    notes = tuple(dict.fromkeys([*pairs.notes, *a.dataset.notes]))
    made = Dataset(query.source, a.dataset.class_names, splits, key, notes, tuple(references) if several else ())
    return with_present_classes(replace(made, image_digests=a.dataset.image_digests))
