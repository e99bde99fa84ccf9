"""Distillation: a small student learns from what a trained teacher answers (Hinton et al. 2015).

    L = (1 − α) · T² · KL(teacher ‖ student) + α · cross-entropy of the labels        logits, `SoftTargets`
      + λ · ‖P·φ(student) − φ(teacher)‖² / D                                          features, P a projector
      + λ · ‖A(student) − A(teacher)‖² / (h · w)                                      attention maps

The teacher is frozen and answers once. Its answers are arrays, so that they may come from another modality (cross-modal
distillation, Gupta et al. 2016), from several teachers, and for examples without labels. docs/distill.md is the guide.
"""

from tfxfer.transfer.distill.losses import AttentionMap, FeatureMatch, SoftTargets, targets
from tfxfer.transfer.distill.network import training_network
from tfxfer.transfer.distill.students import Sizes, Student, layers_of, student
from tfxfer.transfer.distill.vocabulary import pruned_vocabulary

__all__ = [
    "AttentionMap",
    "FeatureMatch",
    "Sizes",
    "SoftTargets",
    "Student",
    "layers_of",
    "pruned_vocabulary",
    "student",
    "targets",
    "training_network",
]
