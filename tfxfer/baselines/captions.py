"""Captions without a network that trains: of the nearest training image, and in closed form."""

from collections.abc import Sequence

import numpy as np
from sklearn.preprocessing import normalize

from tfxfer.experiment import Outcome
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.tasks.captioned_images import CaptionedMaps
from tfxfer.transfer.knowledge.captioner import as_written, caption_measures
from tfxfer.transfer.knowledge.closed_form import ClosedFormCaptioner


def nearest_caption(task: CaptionedMaps, tokenizer: WordPieceTokenizer) -> Outcome:
    """Answer with the caption of the training image whose mean feature is nearest by its cosine."""
    vectors = {split: normalize(task.maps[split].mean((1, 2))) for split in ("train", "test")}
    nearest = (vectors["test"] @ vectors["train"].T).argmax(1)
    answers = as_written([task.captions["train"][i][0] for i in np.asarray(nearest)], tokenizer)
    scores = caption_measures(answers, task.captions["test"], tokenizer)
    return Outcome(None, {"method": "caption of the nearest training image"}, scores=scores, answers=answers)


def closed_form(task: CaptionedMaps, tokenizer: WordPieceTokenizer, candidates: Sequence[str] | None = None) -> Outcome:
    """Answer with the caption of the greatest f(X)·g(Y), by ridge regression from all positions of the feature map.

    Args:
        task: What is learned and answered.
        tokenizer: Which says how captions are written.
        candidates: What is chosen from; None: the training captions.
    """
    written = {split: [as_written(each, tokenizer) for each in rows] for split, rows in task.captions.items()}
    held = task.maps["validation"], written["validation"]
    fitted = ClosedFormCaptioner().fit(task.maps["train"], written["train"], validation=held)
    texts = None if candidates is None else as_written(candidates, tokenizer)
    answers = [row[0] for row in fitted.predict(task.maps["test"], texts).texts]
    settings = {"method": "ridge regression from positions to words and word pairs", "strength": fitted.strength}
    scores = caption_measures(answers, task.captions["test"], tokenizer)
    return Outcome(None, settings, fitted.trainable, scores=scores, answers=answers)
