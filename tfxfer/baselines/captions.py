"""The plain baseline of captioning: the caption of the nearest training image."""

import numpy as np
from sklearn.preprocessing import normalize

from tfxfer.experiment import Outcome
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.tasks.captioned_images import CaptionedMaps
from tfxfer.transfer.knowledge.captioner import as_written, caption_measures


def nearest_caption(task: CaptionedMaps, tokenizer: WordPieceTokenizer) -> Outcome:
    """Answer with the caption of the training image whose mean feature is nearest by its cosine."""
    vectors = {split: normalize(task.maps[split].mean((1, 2))) for split in ("train", "test")}
    nearest = (vectors["test"] @ vectors["train"].T).argmax(1)
    answers = as_written([task.captions["train"][i][0] for i in np.asarray(nearest)], tokenizer)
    scores = caption_measures(answers, task.captions["test"], tokenizer)
    return Outcome(None, {"method": "caption of the nearest training image"}, scores=scores, answers=answers)
