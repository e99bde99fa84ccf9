"""Which test examples are shown to raters, and attention checks with known answers among them."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfxfer.errors import UserError
from tfxfer.rate.systems import System
from tfxfer.rate.test_set import TestSet

EVERY = 10  # one attention check for so many items, unless asked otherwise


@dataclass(frozen=True)
class Scale:
    """What is rated from 1 to 5.

    Attributes:
        name: Its name.
        question: What raters are asked.
        low: What 1 means.
        high: What 5 means.
    """

    name: str
    question: str
    low: str
    high: str


SCALES = {
    "correctness": Scale("correctness", "Is what it says true?", "all wrong", "all right"),
    "detail": Scale("detail", "Does it say what matters?", "nothing of it", "all of it"),
    "fluency": Scale("fluency", "Does it read well?", "not readable", "as a person writes"),
}
USUAL = {"captions": tuple(SCALES), "answers": ("correctness",), "classes": ("correctness",)}


@dataclass(frozen=True)
class Candidate:
    """A text that is rated.

    Attributes:
        id: Says nothing about its origin.
        text: The text.
        systems: Positions of the systems that gave it; none in an attention check.
        role: "system", or in an attention check "true" or "foreign".
    """

    id: str
    text: str
    systems: tuple[int, ...]
    role: str = "system"


@dataclass(frozen=True)
class Item:
    """One screen.

    Attributes:
        id: Says nothing about its content.
        row: The test example.
        kind: "item" or "check".
        question: What is asked about the image; "" where nothing is.
        text: The text of the example; "" where it is an image.
        references: Its true captions, answer or class.
        candidates: What is rated.
        scores: System -> measure -> its automatic score here.
        image: A PNG or JPEG, or None.
    """

    id: str
    row: int
    kind: str
    question: str
    text: str
    references: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    scores: dict[int, dict[str, float]] = field(default_factory=dict, repr=False)
    image: bytes | None = field(default=None, repr=False)


def new_id() -> str:
    """Return a random id."""
    return secrets.token_hex(6)


def draw(
    systems: Sequence[System], test: TestSet, *, items: int, checks: int | None, ask: str, seed: int
) -> tuple[list[Item], dict[str, Any]]:
    """Draw the screens of a session, in the order in which every rater gets them.

    For a choice between two, only examples are drawn to which the two systems gave different answers; how many that
    are is counted, so that a report can speak of the whole test set. With more systems the pairs take turns.

    Args:
        systems: The systems.
        test: The test examples.
        items: At most so many.
        checks: Attention checks; None for one in ten items, at least two.
        ask: "scales" or "choice".
        seed: Of the draw.

    Returns:
        The items, and counts: "examples" of the test set, and "different", for each pair "i-j" of systems the number
        of examples with different answers.

    Raises:
        UserError: A choice has nothing to choose between.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(test.references))
    pairs = [(i, j) for j in range(len(systems)) for i in range(j)]
    unlike = {(i, j): [row for row in order if differ(systems[i], systems[j], row)] for i, j in pairs}
    counts = {
        "examples": len(order),
        "different": {f"{i}-{j}": len(rows) for (i, j), rows in unlike.items()},
    }
    if ask == "choice":
        shown = _chosen_pairs(unlike, items)
        if not shown:
            raise UserError("the systems gave the same answer to every test example; there is nothing to choose")
    else:
        shown = [(int(row), tuple(range(len(systems)))) for row in order[:items]]
    found = [_item(row, which, systems, test) for row, which in shown]
    wanted = max(2, round(len(found) / EVERY)) if checks is None else checks
    return _mixed(found, _checks(test, [row for row, _ in shown], wanted, rng), rng), counts


def differ(one: System, two: System, row: int) -> bool:
    """Return whether two systems gave different answers to a test example."""
    return same(one.texts[row]) != same(two.texts[row])


def same(text: str) -> str:
    """Return an answer as raters see it: spaces do not count, and half a surrogate pair is written out."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode("utf-8").split())


def _chosen_pairs(unlike: dict[tuple[int, int], list[int]], items: int) -> list[tuple[int, tuple[int, ...]]]:
    """Return (row, pair) in turn over the pairs; no row comes twice while another is left."""
    used: set[int] = set()
    found: list[tuple[int, tuple[int, ...]]] = []
    left = {pair: list(rows) for pair, rows in unlike.items()}
    while len(found) < items and any(left.values()):
        for pair, rows in left.items():
            if rows and len(found) < items:
                row = next((r for r in rows if r not in used), rows[0])
                rows.remove(row)
                used.add(row)
                found.append((int(row), pair))
    return found


def _item(row: int, which: Sequence[int], systems: Sequence[System], test: TestSet) -> Item:
    """Return the screen of a test example; systems with the same answer share a candidate."""
    by_text: dict[str, list[int]] = {}
    for i in which:
        by_text.setdefault(same(systems[i].texts[row]), []).append(i)
    candidates = tuple(Candidate(new_id(), text, tuple(own)) for text, own in by_text.items())
    scores = {i: {name: float(values[row]) for name, values in systems[i].scores.items()} for i in which}
    return Item(new_id(), row, "item", *_context(row, test), candidates, scores)


def _context(row: int, test: TestSet) -> tuple[str, str, tuple[str, ...]]:
    question = test.questions[row] if test.questions else ""
    return question, test.texts[row] if test.texts else "", tuple(test.references[row])


def _checks(test: TestSet, rows: Sequence[int], wanted: int, rng: np.random.Generator) -> list[Item]:
    """Return screens whose answer is known: a true reference beside one of another example that fits least."""
    apart = [row for row in range(len(test.references)) if row not in set(rows)]
    pool = [*rng.permutation(apart), *rng.permutation(rows)] if apart else list(rng.permutation(rows))
    found: list[Item] = []
    for row in pool:
        foreign = _least_alike(int(row), test, rng)
        if foreign and len(found) < wanted:
            true = same(test.references[row][0])
            pair = (Candidate(new_id(), true, (), "true"), Candidate(new_id(), foreign, (), "foreign"))
            found.append(Item(new_id(), int(row), "check", *_context(int(row), test), pair))
    return found


def _least_alike(row: int, test: TestSet, rng: np.random.Generator) -> str:
    """Return the reference of another example that shares the smallest part of its words with those of a row."""
    own = {word for text in test.references[row] for word in text.lower().split()}

    def shared(text: str) -> float:
        words = set(text.lower().split())
        return len(words & own) / max(1, len(words | own))

    others = {same(test.references[other][0]) for other in rng.permutation(len(test.references))[:200]}
    others -= {same(text) for text in test.references[row]}
    return min(sorted(others), key=shared, default="")


def _mixed(items: list[Item], checks: list[Item], rng: np.random.Generator) -> list[Item]:
    """Return the items with the checks spread among them, one in each stretch, never the first screen."""
    found = list(items)
    step = max(1, len(items) // max(1, len(checks)))
    for number, check in reversed(list(enumerate(checks))):
        found.insert(min(len(items), number * step + 1 + int(rng.integers(0, step))), check)
    return found


def digest_of(items: Sequence[Item]) -> str:
    """Return a digest of what raters see, without the images."""
    parts = [f"{item.id}\t{item.row}\t" + "\t".join(f"{c.id}\t{c.text}" for c in item.candidates) for item in items]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "backslashreplace")).hexdigest()
