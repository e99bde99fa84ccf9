"""The panels of an image ablation of a captioner, of its attention, and of the likelihood of captions."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfxfer.evaluate.comparison import measure_name
from tfxfer.report.panel import Panel

INPUTS = {
    "correct": "the correct image",
    "shuffled": "the image of another example",
    "blank": "the mean training image",
}


def image_ablation_panels(
    measures: Mapping[str, Mapping[str, Any]], words: Sequence[Mapping[str, Any]], matrix: Mapping[str, Any]
) -> list[Panel]:
    """Return the panels.

    Args:
        measures: measure -> what `tfxfer.evaluate.image_ablation.image_ablation` returns.
        words: Captioned images for the attention figure: dicts with "png" (base64), "true" (a reference caption) and
            "words", each with "word" and "heat" [h][w]. Empty for a decoder without cross-attention.
        matrix: "png" [B] (base64), "captions" [B] and "values" [B][B], log p(caption | image) in nats a token.
    """
    panels = [_scores(measures)]
    if words:
        panels.append(_attention(words))
    return [*panels, _likelihood(matrix)]


def _scores(measures: Mapping[str, Mapping[str, Any]]) -> Panel:
    share = next(iter(measures.values()))["identical_share"]
    kinds = [kind for kind in INPUTS if all(kind in found["means"] for found in measures.values())]
    table = {
        "caption": "Scores with and without the correct image",
        "columns": ["input image", *map(measure_name, measures)],
        "rows": [[INPUTS[kind], *(float(found["means"][kind]) for found in measures.values())] for kind in kinds],
    }
    return Panel(
        "Image ablation: does the model use its images?",
        paragraphs=(
            "The final model is evaluated three times: with the correct images, with the images of other examples, "
            "and with the mean training image. The loss in score without the correct image is the "
            "contribution of the image.",
        ),
        points=(
            *(found["sentence"] for found in measures.values()),
            f"The most frequent caption is {share * 100:.0f} % of all captions.",
        ),
        tables=(table,),
    )


def _attention(words: Sequence[Mapping[str, Any]]) -> Panel:
    figure = {
        "name": "word_attention",
        "arguments": {"captions": [dict(row) for row in words]},
        "description": "Images with the words of their generated captions; behind each word the cross-attention of "
        "that word over the image.",
        "caption": "Left: the image, with its reference caption. Then each word of the generated caption, over its "
        "attention (cross-attention, mean over heads and blocks).",
    }
    return Panel("Attention of each word", figures=(figure,))


def _likelihood(matrix: Mapping[str, Any]) -> Panel:
    figure = {
        "name": "likelihood_matrix",
        "arguments": {"images": matrix["png"], "captions": matrix["captions"], "values": matrix["values"]},
        "description": "Heat map of the likelihood of captions: images are rows, captions are columns, and correct "
        "pairs are framed.",
        "caption": "K: the log-likelihood of each caption (column) under each image (row), minus the mean of the "
        "caption. Framed: the correct pairs. A dot marks the caption whose likelihood an image raises most.",
    }
    return Panel("Likelihood of captions under images", figures=(figure,))
