"""The figures of a report, as matplotlib `Figure`s made from records; each also shows itself in a notebook.

No state of pyplot is touched.
"""

from tfxfer.report.figures.answers import answers
from tfxfer.report.figures.arms import accuracies, differences, label_efficiency
from tfxfer.report.figures.looks import matrix, word_looks
from tfxfer.report.figures.models import confusion, reliability, training
from tfxfer.report.figures.pairs import gallery, heat
from tfxfer.report.figures.ribbons import ribbons

__all__ = [
    "accuracies",
    "answers",
    "confusion",
    "differences",
    "gallery",
    "heat",
    "label_efficiency",
    "matrix",
    "reliability",
    "ribbons",
    "training",
    "word_looks",
]
