"""Captions without a network that trains: of the nearest training images, and in closed form."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize

from tfxfer.evaluate.cider import cider
from tfxfer.experiment import Outcome
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.tasks.captioned_images import CaptionedMaps
from tfxfer.transfer.knowledge.captioner import as_written, caption_measures
from tfxfer.transfer.knowledge.closed_form import CONSENSUS, ClosedFormCaptioner, smallest_good, word_pairs


def nearest_caption(task: CaptionedMaps, tokenizer: WordPieceTokenizer) -> Outcome:
    """Answer with the caption of the training image whose mean feature is nearest by its cosine."""
    vectors = {split: normalize(task.maps[split].mean((1, 2))) for split in ("train", "test")}
    nearest = (vectors["test"] @ vectors["train"].T).argmax(1)
    answers = as_written([task.captions["train"][i][0] for i in np.asarray(nearest)], tokenizer)
    scores = caption_measures(answers, task.captions["test"], tokenizer)
    return Outcome(None, {"method": "caption of the nearest training image"}, scores=scores, answers=answers)


def neighbour_consensus(task: CaptionedMaps, tokenizer: WordPieceTokenizer) -> Outcome:
    """Answer with the caption that is most like all others of the nearest k training images (Devlin et al. 2015).

    Two captions are alike by the cosine of their words and word pairs (TF-IDF); k is chosen on validation.
    """
    written = {split: [as_written(each, tokenizer) for each in rows] for split, rows in task.captions.items()}
    vectors = {split: normalize(maps.mean((1, 2))) for split, maps in task.maps.items()}
    words = word_pairs().fit([text for each in written["train"] for text in each])
    rows = [normalize(words.transform(each)) for each in written["train"]]

    def answers(split: str, k: int) -> list[str]:
        nearest = np.argsort(-(vectors[split] @ vectors["train"].T), axis=1, kind="stable")[:, :k]
        found = []
        for images in nearest.tolist():
            own = sparse.vstack([rows[i] for i in images])
            others = np.asarray(own @ own.sum(0).T).ravel() - own.multiply(own).sum(1).A1
            found.append([text for i in images for text in written["train"][i]][int(others.argmax())])
        return found

    k = smallest_good({k: cider(answers("validation", k), written["validation"])["cider_d"] for k in CONSENSUS})
    found = answers("test", k)
    settings = {"method": "consensus of the captions of the nearest training images", "images": k}
    return Outcome(None, settings, scores=caption_measures(found, task.captions["test"], tokenizer), answers=found)


def closed_form(task: CaptionedMaps, tokenizer: WordPieceTokenizer, candidates: Sequence[str] | None = None) -> Outcome:
    """Answer with the caption of the greatest f(X)·g(Y), by ridge regression from all positions of the feature map.

    Args:
        task: What is learned and answered.
        tokenizer: Which says how captions are written.
        candidates: What is chosen from; None: the training captions.

    Whether the best candidates decide together (consensus) is chosen on validation.
    """
    written = {split: [as_written(each, tokenizer) for each in rows] for split, rows in task.captions.items()}
    held = task.maps["validation"], written["validation"]
    texts = None if candidates is None else as_written(candidates, tokenizer)
    fitted = ClosedFormCaptioner().fit(task.maps["train"], written["train"], validation=held, candidates=texts)
    answers = [row[0] for row in fitted.predict(task.maps["test"]).texts]
    settings = {"method": "ridge regression from positions to words and word pairs", "strength": fitted.strength}
    settings["consensus"] = fitted.consensus
    scores = caption_measures(answers, task.captions["test"], tokenizer)
    return Outcome(None, settings, fitted.trainable, scores=scores, answers=answers)
