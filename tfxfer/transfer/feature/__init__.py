"""Feature transfer, f(x) = W·φ(x) + b.

- `extraction`: φ cut out of a source model, its features kept on disk, φ and head as one model.
- `probe`: W and b by logistic regression.
- `classifier`: both as one object, `FeatureClassifier`, with fit, predict, score, save and load.
"""

from tfxfer.transfer.feature.classifier import FeatureClassifier
from tfxfer.transfer.feature.extraction import attach, extract, extractor, finetune, mlp_head
from tfxfer.transfer.feature.probe import Probe, linear_probe
from tfxfer.transfer.feature.store import Features

__all__ = [
    "FeatureClassifier",
    "Features",
    "Probe",
    "attach",
    "extract",
    "extractor",
    "finetune",
    "linear_probe",
    "mlp_head",
]
