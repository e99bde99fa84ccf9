"""Sections that several recipes contain: an image encoder and a language model, each given or trained once."""

from dataclasses import replace
from typing import Any

from tfxfer.config import SourceConfig, section

SMOKE_SOURCES = {  # what --smoke gives to both sections
    "image_encoder_epochs": 1,
    "image_encoder_max_examples": 512,
    "language_model_epochs": 1,
    "language_model_max_examples": 512,
}


def image_encoder_section(**defaults: Any) -> Any:
    """Return the section `--image-encoder`: a CNN that learned characters, none of those in the test.

    Args:
        defaults: Fields of its `SourceConfig`; the data set that it learns is glyphs, unless `spec` names another.
    """
    return section(
        SourceConfig(**({"spec": "glyphs/by_character"} | defaults)),
        "image_encoder",
        group="source",
        help={"spec": "the image encoder: a data set that it learns, or a model's spec"},
        leave_out=("text", "architecture", "learning_rate"),
        common=("spec",),
    )


def language_model_section(start: str, **defaults: Any) -> Any:
    """Return the section `--language-model`: a BERT that learned texts.

    Args:
        start: What starts as this model, for the help text.
        defaults: Fields of its `SourceConfig`.
    """
    usual = SourceConfig("names/listed", architecture="fresh:bert", epochs=1, max_examples=0)
    return section(
        replace(usual, **defaults),
        "language_model",
        group="source",
        help={
            "spec": f"what {start} starts as: a BERT trained on texts (names, text:PATH, csv:PATH), or preset:DIR",
            "text": "text column of these texts",
            "epochs": "epochs of training it as a masked language model",
        },
        leave_out=("label", "architecture", "learning_rate", "rescale"),
        common=("spec",),
    )
