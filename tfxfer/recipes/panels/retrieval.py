"""The panels of image–text retrieval: retrieved images, metrics, the matrix K, and a head across modalities."""

from collections.abc import Mapping
from typing import Any

from tfxfer.evaluate.comparison import budget_words
from tfxfer.report.panel import Panel

DIRECTIONS = {"image_to_text": "Image to text", "text_to_image": "Text to image"}
RECALLS = ("recall@1", "recall@5", "recall@10")


def retrieval_panels(pairs: Mapping[str, Any], unit: str = "pairs") -> list[Panel]:
    """Return the panels.

    Args:
        pairs: A dict with
            "test", "texts": numbers of test images and of test texts;
            "gallery": queries, dicts with "text", "rank" and "found" (dicts with "png" and "right", best first);
            "ways": "budget", and "arms": arm -> "image_to_text" and "text_to_image", each with "recall@1", "recall@5",
            "recall@10" and "median rank"; the arm "guessing" is chance level;
            "matrix": "k" [B][C], "right" [B][C], "images" [B] (base64) and "texts" [C];
            "temperature": the learned temperature;
            "label": None, or accuracies "texts", "images", "zero_shot" and "majority" of a classification head, the
            number of "classes", and the modality "gap".
        unit: The unit of the budget, `Comparison.unit`.
    """
    panels = [_gallery(pairs), _metrics(pairs, unit), _matrix(pairs)]
    return panels + ([_head(pairs["label"])] if pairs["label"] else [])


def _gallery(pairs: Mapping[str, Any]) -> Panel:
    figure = {
        "name": "retrieved_images",
        "arguments": {"queries": pairs["gallery"]},
        "description": "Texts, each with its retrieved test images, best first; correct images are framed and ticked.",
    }
    text = (
        f"The final model of transfer ranks all {pairs['test']:,} test images by their similarity K to a text. The "
        "training split has neither these images nor these texts. The first images of each text are shown, best "
        "first; the correct one is framed and ticked."
    )
    return Panel("Images retrieved for a text", (text,), figures=(figure,))


def _metrics(pairs: Mapping[str, Any], unit: str) -> Panel:
    ways = pairs["ways"]
    tables = tuple(
        {
            "caption": title,
            "columns": ["arm", *RECALLS, "median rank"],
            "rows": [_metrics_row(arm, row[direction]) for arm, row in ways["arms"].items()],
        }
        for direction, title in DIRECTIONS.items()
    )
    return Panel(
        "Retrieval in both directions",
        paragraphs=(
            f"Image to text: each image is a query, and its candidates are all {pairs['texts']:,} texts. Text to "
            f"image: each text is a query, and its candidates are all {pairs['test']:,} images. Recall@1, @5 and @10 "
            "are the shares of queries with a correct candidate among the first 1, 5 and 10. The median rank is that "
            "of the first correct candidate, 1 at best. Chance is a random order of the candidates.",
            f"The arms are trained with {budget_words([ways['budget']], unit)}; scores are means over the seeds.",
        ),
        tables=tables,
    )


def _metrics_row(arm: str, row: Mapping[str, float]) -> list[Any]:
    recalls = [float(row[name]) for name in RECALLS]
    return ["chance" if arm == "guessing" else arm, *recalls, f"{round(row['median rank'], 1):,g}"]


def _matrix(pairs: Mapping[str, Any]) -> Panel:
    k = pairs["matrix"]
    figure = {
        "name": "similarity_matrix",
        "arguments": {"k": k["k"], "images": k["images"], "texts": k["texts"], "correct": k["right"]},
        "description": "Heat map of the similarity matrix K: test images are rows, their texts are columns, and "
        "correct pairs are framed.",
        "caption": "K = f(X)·g(Y) of some test images (rows) and their texts (columns). A stronger colour is a greater "
        "similarity, from the least of the row to its greatest. Framed: the correct pairs. A dot marks the most "
        f"similar text of each image. K is divided by the learned temperature, which is {pairs['temperature']:.3f} "
        "after training.",
    }
    return Panel("The similarity matrix K", figures=(figure,))


def _head(label: Mapping[str, Any]) -> Panel:
    texts, images, zero_shot, majority = (
        f"{label[name] * 100:.0f} %" for name in ("texts", "images", "zero_shot", "majority")
    )
    return Panel(
        "A classifier fitted on images, applied to texts",
        paragraphs=(
            "Images and texts have embeddings in one space. So f(x) = W·φ(x) + b is fitted on labelled training "
            f"images alone and applied to test texts. No text has a label. Accuracy with {label['classes']} classes:",
        ),
        points=(
            f"{texts} of the texts, a modality without training examples;",
            f"{images} of the images, the modality of the training examples;",
            f"{zero_shot} of the images by zero-shot classification: nothing is fitted, the class names are the texts;",
            f"{majority} by always predicting the most frequent class.",
        ),
        notes=(
            f"The modality gap, the distance of the mean image and the mean text, is {label['gap']:.2f} (0 is none, 2 "
            "the maximum). The wider the gap, the lower the accuracy on texts tends to be.",
        ),
    )


def zero_shot_panel(
    rows: Mapping[str, tuple[float, float, float]], majority: float, classes: int, where: str, sentence: str
) -> Panel:
    """Return the panel of zero-shot classification.

    Args:
        rows: arm -> accuracy and both ends of its interval.
        majority: Accuracy of always predicting the most frequent class.
        classes: Number of classes.
        where: The budget in words.
        sentence: The verdict against majority.
    """
    table = {
        "caption": f"accuracy on test images, {classes} classes, {where}",
        "columns": ["arm", "accuracy", "95 % interval"],
        "rows": [
            *([arm, score, f"{low:.3f} to {high:.3f}"] for arm, (score, low, high) in rows.items()),
            ["always the most frequent class", majority, None],
        ],
    }
    return Panel(
        "Zero-shot classification in closed form",
        paragraphs=(
            "The names of the classes are texts like any other. An image belongs to the class whose name has the "
            "greatest K. No image had a class in training.",
        ),
        points=(sentence,),
        tables=(table,),
    )
