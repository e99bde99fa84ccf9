"""Diagnostics of a captioner: image ablation, attention of each word, K of images and captions."""

from typing import Any

import numpy as np

from tfxfer.arms.captioning import NEW, CaptioningArm
from tfxfer.evaluate.image_ablation import image_ablation
from tfxfer.recipes.panels.caption_choice import choice_panel
from tfxfer.recipes.panels.image_ablation import image_ablation_panels
from tfxfer.records import Comparison
from tfxfer.report.panel import Panel
from tfxfer.runs import Run
from tfxfer.tasks.captioned_images import CaptionedMaps
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.transfer.knowledge.captioner import Captioner, FeatureMaps

DRAWN, COMPARED = 5, 12  # images whose words' attention is shown, and images in K
MEASURED = (("cider_d", "CIDEr-D"), ("log_likelihood", "log-likelihood in nats a token"))


def caption_panels(
    arm: CaptioningArm,
    task: CaptionedMaps,
    images: np.ndarray,
    comparison: Comparison,
    run: Run,
) -> tuple[Panel, ...]:
    """Run the final model on its own, on other and on the mean images; print and return what was found.

    Args:
        arm: The arm under study.
        task: Whose test split is captioned.
        images: The test images, uint8 [N, H, W, C].
        comparison: The records of all arms.
        run: The run.
    """
    captioner = arm.final_captioner()
    maps, captions = task.maps["test"], task.captions["test"]
    other = np.roll(np.arange(len(maps)), max(1, len(maps) // 2))  # each image stands in for another
    inputs = {"correct": maps, "shuffled": maps[other], "blank": np.zeros_like(maps) + task.maps["train"].mean(0)}
    answers, scores = {}, {}
    for name, rows in inputs.items():
        answers[name], scores[name] = arm.caption(FeatureMaps(rows), captions)
    measures = {}
    for measure, title in MEASURED:
        values = {name: each[measure] for name, each in scores.items()}
        measures[measure] = image_ablation(values, answers["correct"], measure=title)
        run.say(measures[measure]["sentence"])
    words = _attention(captioner, task, images, arm.training.max_length) if captioner.attends else []  # type: ignore[attr-defined]
    panels = image_ablation_panels(measures, words, _matrix(captioner, task, images))
    choice = choice_panel(new_captions(comparison))
    for sentence in choice.points if choice else ():
        run.say(sentence)
    return (*panels, *([choice] if choice else []))


def new_captions(comparison: Comparison) -> dict[str, dict[int, float]]:
    """Return arm -> budget -> the share of its answers that no training image has, the mean over seeds."""
    found: dict[str, dict[int, float]] = {}
    for arm in comparison.arms:
        for budget in comparison.budgets:
            shares = [r.settings[NEW] for r in comparison.select(arm, budget) if NEW in r.settings]
            if shares:
                found.setdefault(arm, {})[budget or 0] = float(np.mean(shares))
    return found


def _attention(captioner: Captioner, task: CaptionedMaps, images: np.ndarray, max_length: int) -> list[dict[str, Any]]:
    """Return a few images with their captions word by word, and the attention of each word."""
    rows = evenly_spaced(len(images), DRAWN)
    found = captioner.predict(FeatureMaps(task.maps["test"][rows]), max_length=max_length)
    tokenizer, shown = captioner.tokenizer, []
    for row, _texts, token_ids in zip(rows, found.texts, found.token_ids[:, 0]):
        attention = captioner.attention_of(task.maps["test"][row], token_ids)  # [T - 1, h, w]
        place, words = 0, []
        for pieces, word in zip(tokenizer.group_pieces(token_ids), tokenizer.decode_words(token_ids)):
            heat = attention[place : place + len(pieces)].mean(0)
            words.append({"word": word, "heat": heat.round(4).tolist()})
            place += len(pieces)
        shown.append({"png": png(images[row]), "true": task.captions["test"][row][0], "words": words})
    return shown


def _matrix(captioner: Captioner, task: CaptionedMaps, images: np.ndarray) -> dict[str, Any]:
    """Return K of some images and their captions: log p(caption | image) in nats a token, [images][captions]."""
    rows = evenly_spaced(len(images), COMPARED)
    captions = [task.captions["test"][i][0] for i in rows]
    maps = FeatureMaps(task.maps["test"][np.repeat(rows, len(rows))])
    values = captioner.caption_likelihoods(maps, [[text] for text in captions] * len(rows), 16)
    table = values.reshape(len(rows), len(rows)).round(3)
    return {"png": [png(images[i]) for i in rows], "captions": captions, "values": table.tolist()}
