"""The figures of a report, as matplotlib `Figure`s made from records; each also displays itself in a notebook.

No state of pyplot is changed. A `Panel` names its figures by the names in `__all__`.
"""

from tfxfer.report.figures.answers import answers
from tfxfer.report.figures.arms import accuracies, differences, label_efficiency
from tfxfer.report.figures.attention import likelihood_matrix, word_attention
from tfxfer.report.figures.augmented import augmented_images
from tfxfer.report.figures.fusion import modality_shares, robustness
from tfxfer.report.figures.interpolation import interpolation
from tfxfer.report.figures.models import confusion, reliability, training
from tfxfer.report.figures.retrieval import retrieved_images, similarity_matrix
from tfxfer.report.figures.runs import pair_differences, quality_by_cost, score_curves
from tfxfer.report.figures.sankey import sankey
from tfxfer.report.figures.steps import difference_over_steps
from tfxfer.report.figures.tasks import task_matrix

__all__ = [
    "accuracies",
    "answers",
    "augmented_images",
    "confusion",
    "difference_over_steps",
    "differences",
    "interpolation",
    "label_efficiency",
    "likelihood_matrix",
    "modality_shares",
    "pair_differences",
    "quality_by_cost",
    "reliability",
    "retrieved_images",
    "robustness",
    "sankey",
    "score_curves",
    "similarity_matrix",
    "task_matrix",
    "training",
    "word_attention",
]
