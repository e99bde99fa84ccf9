"""Register the classes of tfxfer with Keras, so that `keras.models.load_model` opens every saved model of tfxfer."""

import importlib
from types import ModuleType
from typing import Any

SERIALIZABLE = {  # class that is registered as "tfxfer>CLASS" -> its module
    "Adapter": "tfxfer.models.adapters",
    "BertBackbone": "tfxfer.models.hugging_face",
    "BetweenBlanks": "tfxfer.transfer.knowledge.dictionary",
    "Body": "tfxfer.transfer.bridges.body",
    "Concatenation": "tfxfer.transfer.knowledge.fusion.heads",
    "CaptionHead": "tfxfer.transfer.knowledge.caption_head",
    "DiscriminativeAdam": "tfxfer.transfer.knowledge.caption_training",
    "FeatureModulation": "tfxfer.transfer.knowledge.fusion.heads",
    "FiLMInteraction": "tfxfer.transfer.knowledge.answer_head",
    "GatedUnit": "tfxfer.transfer.knowledge.fusion.heads",
    "FixedStatistics": "tfxfer.models.adapters",
    "ImageWordLogits": "tfxfer.transfer.knowledge.image_word_logits",
    "InfoNCE": "tfxfer.transfer.knowledge.contrastive",
    "KnowledgeMatrix": "tfxfer.transfer.knowledge.knowledge_matrix",
    "LowRankAdam": "tfxfer.models.low_rank",
    "LateAverage": "tfxfer.transfer.knowledge.fusion.heads",
    "LowRankBilinear": "tfxfer.transfer.knowledge.fusion.heads",
    "MeanOfKnown": "tfxfer.transfer.knowledge.text_towers",
    "OneModality": "tfxfer.transfer.knowledge.fusion.heads",
    "OutputBias": "tfxfer.models.decoder",
    "PairAttention": "tfxfer.transfer.knowledge.interactions",
    "PairNetwork": "tfxfer.transfer.knowledge.interactions",
    "Preprocess": "tfxfer.models.sources",
    "PromptTokens": "tfxfer.models.adapters",
    "QuestionAttention": "tfxfer.transfer.knowledge.answer_head",
    "ReadText": "tfxfer.transfer.bridges.read",
    "RenderText": "tfxfer.transfer.bridges.render",
    "RobertaBackbone": "tfxfer.models.hugging_face",
    "SmoothedCrossEntropy": "tfxfer.transfer.knowledge.caption_training",
    "Standardise": "tfxfer.transfer.knowledge.fusion.classifier",
    "TextTokens": "tfxfer.transfer.bridges.tokens",
    "TokenAttention": "tfxfer.transfer.knowledge.fusion.heads",
    "TrimTokens": "tfxfer.transfer.bridges.read",
    "VQAHead": "tfxfer.transfer.knowledge.answer_head",
    "VisualPrefix": "tfxfer.transfer.knowledge.caption_model",
    "VisualTokens": "tfxfer.transfer.knowledge.caption_model",
    "WindowPooling": "tfxfer.transfer.feature.pooling",
    "WordPieces": "tfxfer.transfer.knowledge.text_towers",
}


class LazyClass:
    """A class in Keras' registry whose module is imported when a saved model needs it.

    The import replaces this entry with the class itself, by its decorator `register_keras_serializable`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def from_config(self, config: dict[str, Any]) -> Any:
        """Import the class and return an instance of it."""
        return getattr(importlib.import_module(SERIALIZABLE[self.name]), self.name).from_config(config)


def register_with_keras(keras: ModuleType | None = None) -> None:
    """Register every class of `SERIALIZABLE` with Keras; a class that is already registered stays.

    No module of tfxfer is imported here: `tfxfer/__init__.py` calls this function at the end of the import of Keras,
    often in the middle of the import of a module that defines one of the classes.
    """
    keras = keras or importlib.import_module("keras")
    registry = keras.saving.get_custom_objects()
    for name in SERIALIZABLE:
        registry.setdefault(f"tfxfer>{name}", LazyClass(name))
