"""Predictions of single models on the page: confusion matrix, calibration, and examples of the test split."""

import base64
import binascii
from typing import Any

import numpy as np

from tfxfer.evaluate import classification
from tfxfer.evaluate.comparison import budget_words
from tfxfer.records import Comparison, Record
from tfxfer.report.svg import figure_svg

IMAGE_BYTES = 1_000_000  # of base64 for all example images together, so that a page stays below 2 MB
TEXT_LENGTH = 240
EXAMPLES = 24


def predictions(comparison: Comparison) -> dict[str, Any]:
    """Return confusion matrix, calibration and examples at the largest budget at which transfer succeeded."""
    budget, record = _last_success(comparison, "transfer")
    if record is None or record.probabilities is None:
        found: dict[str, Any] = dict.fromkeys(("confusion", "reliability", "shown"))
        found |= {"confusions": [], "examples": []}
        arms = [a for a in comparison.arms if any(r.answers is not None for r in comparison.select(a, budget))]
        if record is None or not arms:
            return found
        unit = budget_words([budget], comparison.unit)
        return found | {"examples": _examples(comparison, budget, arms), "shown": unit}
    from tfxfer.report.figures.models import MOST_CLASSES

    names = comparison.class_names
    counts = np.sum(
        [
            classification(comparison.labels, r.probabilities, names)["confusion"]
            for r in comparison.select("transfer", budget)
            if r.probabilities is not None
        ],
        axis=0,
    )  # [C, C], all seeds together
    arms = [arm for arm in ("transfer", "random") if comparison.correct(arm, budget).size]
    return {
        "confusion": figure_svg("confusion", counts, names),
        "confusions": _top_confusions(counts, names),
        "all_classes_shown": len(names) <= MOST_CLASSES,
        "reliability": figure_svg("reliability", comparison, arms, budget),
        "examples": _examples(comparison, budget, arms),
        "shown": budget_words([budget], comparison.unit),
    }


def _last_success(comparison: Comparison, arm: str) -> tuple[int | None, Record | None]:
    for budget in reversed(comparison.budgets):
        for record in comparison.select(arm, budget):
            return budget, record
    return None, None


def _top_confusions(counts: np.ndarray, names: tuple[str, ...], top: int = 5) -> list[dict[str, Any]]:
    """Return the largest off-diagonal cells: both classes, the count and its share of the true class."""
    off = counts - np.diag(np.diag(counts))
    order = np.argsort(-off, axis=None, kind="stable")[:top]
    total = counts.sum(1)  # [C]
    rows = []
    for i, j in (divmod(int(place), len(names)) for place in order):
        if off[i, j]:
            share = {"count": int(off[i, j]), "of": int(total[i]), "share": off[i, j] / total[i]}
            rows.append({"true": names[i], "predicted": names[j], **share})
    return rows


def _examples(comparison: Comparison, budget: int | None, arms: list[str]) -> list[dict[str, Any]]:
    """Return example cards: the input, its class, and each arm's answer with the first seed."""
    records = [comparison.select(arm, budget)[0] for arm in arms]
    cards, left = [], IMAGE_BYTES
    for example in comparison.examples[:EXAMPLES]:
        index = example.get("index")
        if not isinstance(index, int) or not 0 <= index < len(comparison.labels):
            continue
        image = _image(example.get("png"))
        image = image if len(image) <= left else ""
        left -= len(image)
        text = " ".join(str(example.get("text") or "").split())
        cards.append(
            {
                "text": text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…",
                "image": image,
                "true": _true(comparison, example),
                "answers": [_answer(record, index, comparison) for record in records],
            }
        )
    return cards


def _true(comparison: Comparison, example: dict[str, Any]) -> str:
    """Return the true answer of an example: the text that a recipe gives as "true", else its class."""
    return str(example["true"]) if "true" in example else comparison.class_names[comparison.labels[example["index"]]]


def _answer(record: Record, index: int, comparison: Comparison) -> dict[str, Any]:
    if record.probabilities is None:
        assert record.answers is not None  # only arms with answers are shown
        return {"arm": record.arm, "name": str(record.answers[index]), "probability": None, "right": None}
    row = record.probabilities[index]  # [C]
    best = int(row.argmax())
    return {
        "arm": record.arm,
        "name": comparison.class_names[best],
        "probability": float(row[best]),
        "right": best == int(comparison.labels[index]),
    }


def _image(given: Any) -> str:
    """Return the base64 text of a PNG, or "" when it is not one, so that a data URI holds nothing else."""
    try:
        raw = base64.b64decode(given, validate=True) if isinstance(given, str) else b""
    except binascii.Error:
        return ""
    return base64.b64encode(raw).decode("ascii") if raw.startswith(b"\x89PNG\r\n\x1a\n") else ""
