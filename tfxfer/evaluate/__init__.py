"""Metrics and verdicts on arrays of predictions and on records. Nothing here knows a model.

- `classification`: accuracy, precision, recall, F1, confusion, calibration of one set of predictions.
- `captions`: BLEU, ROUGE-L, CIDEr and more of captions against references.
- `retrieval`: recall and ranks of a matrix of similarities, both ways.
- `vqa`: accuracy of answers to questions about pictures, by kind, and what the question alone gives.
- `verdict`: did arm `a` score better than arm `b` on the same test examples?
- `summary`, `verdicts`, `headline`: what a whole `Comparison` says.
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
