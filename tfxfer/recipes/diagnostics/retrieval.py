"""Diagnostics of a dual encoder: K, what some texts retrieve, recall in both directions, a head across modalities."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfxfer.baselines.retrieval import ZERO_SHOT
from tfxfer.data.dataset import Dataset
from tfxfer.evaluate.comparison import budget_words
from tfxfer.evaluate.verdict import interval, verdict
from tfxfer.recipes.panels.retrieval import retrieval_panels, zero_shot_panel
from tfxfer.records import Comparison
from tfxfer.report.panel import Panel
from tfxfer.runs import Run
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.image_text_pairs import ImageTextPairs
from tfxfer.transfer.bridges.align import image_head, modality_gap, text_classifier
from tfxfer.transfer.knowledge import DualEncoder

MATRIX, QUERIES, FOUND = 14, 10, 8  # pairs of the heat map, texts that are queries, images that each retrieves
DIRECTIONS = ("image_to_text", "text_to_image")


def pair_panels(
    encoder: DualEncoder, data: Dataset, pairs: ImageTextPairs, how: dict[str, Any], comparison: Comparison, run: Run
) -> tuple[Panel, ...]:
    """Return the panels of a trained encoder.

    Args:
        encoder: With its final weights.
        data: The pairs' data set.
        pairs: The pairs as features.
        how: How images are read, for `Dataset.arrays`.
        comparison: The arms' records.
        run: The run.
    """
    found = shown(encoder, pairs, data.arrays("test", **how)["image"])
    found["label"] = by_label(encoder, data, pairs, run)
    found["ways"] = both_ways(comparison, len(pairs.ids["test"]), len(pairs.texts("test")))
    panels = tuple(retrieval_panels(found))
    named = zero_shot(comparison, data, run)
    return panels + ((named,) if named else ())


def shown(encoder: DualEncoder, pairs: ImageTextPairs, images: np.ndarray) -> dict[str, Any]:
    """Return some of K over the test pairs, evenly spaced, and what some texts retrieve among all test images."""
    texts, index, ids = pairs.texts("test"), pairs.image_index("test"), pairs.ids["test"]
    k = encoder.predict(pairs.features["test"], texts)  # [P, C]
    some = evenly_spaced(len(ids), MATRIX)
    firsts = np.searchsorted(index, np.arange(len(ids)))  # the first text of each image
    right = ids[:, None] == ids[index][None]  # [P, C]
    matrix = {
        "k": np.round(k[np.ix_(some, firsts[some])], 3).tolist(),
        "right": right[np.ix_(some, firsts[some])].tolist(),
        "images": [png(images[i]) for i in some],
        "texts": [texts[i] for i in firsts[some]],
    }
    ranked = pairs.ranks(k, "test")[1]
    queries = []
    for column in firsts[evenly_spaced(len(ids), QUERIES)]:
        order = np.argsort(-k[:, column], kind="stable")[:FOUND]
        found = [{"png": png(images[i]), "right": bool(right[i, column])} for i in order]
        queries.append({"text": texts[column], "rank": int(ranked[column]), "found": found})
    sizes = {"matrix": matrix, "gallery": queries, "test": len(ids), "texts": len(texts)}
    return sizes | {"temperature": round(1 / float(encoder.matrix.scale()), 4)}


def both_ways(comparison: Comparison, images: int, texts: int) -> dict[str, Any]:
    """Return recall and median rank of each arm in both directions, at the greatest budget, means over seeds.

    The last row, "guessing", is what a random order of all answers is expected to reach.
    """
    budget = comparison.budgets[-1]
    rows: dict[str, Any] = {}
    for arm in comparison.arms:
        records = comparison.select(arm, budget)
        if not records:
            continue
        medians = np.mean([record.settings["median_ranks"] for record in records], 0)
        rows[arm] = {
            direction: {
                **{
                    f"recall@{n}": float(np.mean([r.metrics[f"{direction}_recall_at_{n}"] for r in records]))
                    for n in (1, 5, 10)
                },
                "median rank": float(median),
            }
            for direction, median in zip(DIRECTIONS, medians)
        }
    rows["guessing"] = {DIRECTIONS[0]: guessing(texts, texts / images), DIRECTIONS[1]: guessing(images, 1)}
    return {"budget": budget, "arms": rows}


def zero_shot(comparison: Comparison, data: Dataset, run: Run) -> Panel | None:
    """Return the panel of zero-shot classification in closed form; None where no arm did it."""
    budget = comparison.budgets[-1]
    scores = {arm: comparison.scores(arm, budget, ZERO_SHOT) for arm in comparison.arms}
    scores = {arm: table for arm, table in scores.items() if len(table)}
    if not scores:
        return None
    commonest = np.bincount(data.labels("train")).argmax()
    majority = (data.labels("test") == commonest).astype(float)
    best = "closed_form_tower" if "closed_form_tower" in scores else next(iter(scores))
    found = verdict(scores[best], majority, names=(best, "majority"))
    about = {"arms": {best: {"phrase": f"zero-shot classification by {best}"}}}
    sentence = found.sentence(about=about)
    run.say(f"zero-shot, {len(data.class_names)} classes by their names: {sentence}")
    rows = {arm: interval(table) for arm, table in scores.items()}
    return zero_shot_panel(
        rows, float(majority.mean()), len(data.class_names), budget_words([budget], "pairs"), sentence
    )


def guessing(answers: int, right: float) -> dict[str, float]:
    """Return expected recall and median rank of a random order of answers, `right` of which are right.

    >>> guessing(100, 1)
    {'recall@1': 0.01, 'recall@5': 0.05, 'recall@10': 0.1, 'median rank': 50.0}
    """
    wrong = 1 - right / (answers - np.arange(answers))  # of each place, when no place before it was right
    found = 1 - np.cumprod(np.clip(wrong, 0, 1))  # by place
    recalls = {f"recall@{k}": round(float(found[min(k, answers) - 1]), 6) for k in (1, 5, 10)}
    return recalls | {"median rank": float(1 + (found < 0.5 - 1e-9).sum())}


def by_label(encoder: DualEncoder, data: Dataset, pairs: ImageTextPairs, run: Run) -> dict[str, Any] | None:
    """Classify texts by a head fitted on labelled images (`align`), and images by the names of the classes (zero-shot).

    Returns:
        Shares of right answers on the test split, or None without labels; "majority" always answers the commonest.
    """
    if len(data.class_names) < 2:
        return None
    labels = {split: data.labels(split) for split in data.sizes}
    head = image_head(
        encoder,
        pairs.features["train"],
        labels["train"],
        validation=(pairs.features["validation"], labels["validation"]),
        num_classes=len(data.class_names),
    )
    of_texts = text_classifier(encoder, head).predict(tf.constant(pairs.texts("test")), verbose=0).argmax(1)
    of_images = head.predict_proba(encoder.encode_images(pairs.features["test"])).argmax(1)
    zero_shot = encoder.zero_shot(pairs.features["test"], data.class_names).argmax(1)
    commonest = np.bincount(labels["train"]).argmax()
    test = labels["test"]
    shares: dict[str, Any] = {
        "texts": float(np.mean(of_texts == test[pairs.image_index("test")])),
        "images": float(np.mean(of_images == test)),
        "zero_shot": float(np.mean(zero_shot == test)),
        "majority": float(np.mean(test == commonest)),
        "classes": len(data.class_names),
        "gap": modality_gap(encoder, pairs.features["test"], pairs.texts("test")),
    }
    run.say(
        "align: a head fitted on labelled images only classifies {texts:.0%} of unseen texts and {images:.0%} of "
        "unseen images correctly, of {classes} classes; always the most frequent class {majority:.0%}; images by the "
        "names of the classes (zero-shot) {zero_shot:.0%}".format(**shares)
    )
    return shares
