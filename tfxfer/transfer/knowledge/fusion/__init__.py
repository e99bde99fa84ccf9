"""Knowledge fusion: one decision from an image and a text, K = f(X)·g(Y) + h(X, Y) pooled to classes.

- `HEADS`: the heads that join both sides, behind one contract (`FusionHead`).
- `HeadTrainer`: how every head is trained, the same for all.
- `FusionClassifier`: both frozen encoders with a head; it has fit, predict, score, save and load.
"""

from tfxfer.transfer.knowledge.fusion.classifier import FusionClassifier
from tfxfer.transfer.knowledge.fusion.heads import HEADS, SINGLE, FusionHead
from tfxfer.transfer.knowledge.fusion.training import HeadTrainer

__all__ = ["HEADS", "SINGLE", "FusionClassifier", "FusionHead", "HeadTrainer"]
