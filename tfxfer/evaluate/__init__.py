"""Metrics and verdicts on arrays of predictions and on records. No module here imports a model or a recipe.

- `classification`: accuracy, precision, recall, F1, confusion matrix and calibration of one set of predictions.
- `captions`: BLEU, ROUGE-L, CIDEr and more of captions against references.
- `retrieval`: recall@k and ranks of a similarity matrix, in both directions.
- `vqa`: accuracy of visual question answering, by kind of question, and the accuracy of a question-only prior.
- `tfxfer.evaluate.image_ablation`: whether a model's scores depend on its images.
- `verdict`: whether arm `a` scores better than arm `b` on the same test examples.
- `summary`, `verdicts`, `headline`: the results of a whole `Comparison`.
- `tfxfer.evaluate.arms`: roles and names of arms.
"""

from tfxfer.evaluate.captions import captions
from tfxfer.evaluate.classification import calibration, classification
from tfxfer.evaluate.comparison import headline, story, summary, verdicts
from tfxfer.evaluate.retrieval import retrieval
from tfxfer.evaluate.verdict import Verdict, interval, verdict
from tfxfer.evaluate.vqa import vqa

__all__ = [
    "Verdict",
    "calibration",
    "captions",
    "classification",
    "headline",
    "interval",
    "retrieval",
    "story",
    "summary",
    "verdict",
    "verdicts",
    "vqa",
]
