"""`from_run`: any saved model of tfxfer by its folder, ready to predict."""

from pathlib import Path
from typing import Any

from tfxfer.errors import UserError, suggest
from tfxfer.models.saved_folder import describe_folder
from tfxfer.transfer.classifier import Classifier
from tfxfer.transfer.feature import FeatureClassifier
from tfxfer.transfer.knowledge import Captioner, Dictionary, DualEncoder, MultiTask, VisualQA
from tfxfer.transfer.knowledge.fusion import FusionClassifier
from tfxfer.transfer.knowledge.language_model import LanguageModel

CLASSES: dict[str, Any] = {
    one.__name__: one
    for one in (
        Classifier,
        FeatureClassifier,
        Captioner,
        VisualQA,
        DualEncoder,
        Dictionary,
        LanguageModel,
        FusionClassifier,
        MultiTask,
    )
}


def from_run(folder: str | Path) -> Any:
    """Return the model of a run, or of a folder that a model's `save` wrote.

    Args:
        folder: The folder, such as "runs/feature-20261128-090000", or the .keras file in it.

    Returns:
        A `FeatureClassifier`, `Classifier`, `Captioner`, `VisualQA`, `DualEncoder`, `Dictionary`, `LanguageModel`,
        `FusionClassifier` or `MultiTask`: each has fit (a `Classifier` has none), predict, score, save and load.

    Raises:
        UserError: There is no such folder, it holds no finished model, or its files are damaged.

    Example:
        >>> tfxfer.from_run("runs/vqa-20261128-090000").predict(images, questions).texts     # doctest: +SKIP
    """
    folder, described = describe_folder(folder)
    kind = described["class"]
    if kind not in CLASSES:
        raise UserError(f"{folder / 'model.json'}: there is no model class '{kind}'; {suggest(kind, CLASSES)}")
    return CLASSES[kind].load(folder)
