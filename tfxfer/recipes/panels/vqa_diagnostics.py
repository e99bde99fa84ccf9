"""The panels of visual question answering: image ablation, accuracy by kind of question, and example questions."""

from collections.abc import Mapping
from typing import Any

from tfxfer.report.panel import Panel

COLUMNS = ("kind of question", "questions", "transfer", "question only", "most frequent answer")
LISTED = 5  # unseen answers that are named


def vqa_panels(answers: Mapping[str, Any]) -> list[Panel]:
    """Return the panels.

    Args:
        answers: A dict with
            "looking": what `tfxfer.evaluate.image_ablation.image_ablation` returns;
            "alone": a sentence that compares transfer with the question-only arm, or "";
            "figures": what `tfxfer.evaluate.vqa` returns, with "by_kind" a list of dicts with "kind", "questions",
            "accuracy", "question_only" (None when not run) and "prior";
            "without": term of K -> accuracy without it;
            "unseen", "unseen_answers": number of test questions whose answer is not in the training split, and answers;
            "cut", "strange": numbers of test questions that are truncated, and that have no known word;
            "gallery": cards, dicts with "png", "question", "true", "given", "right" and "heat".
    """
    figures = answers["figures"]
    accuracy = f"{figures['accuracy'] * 100:.0f} %"
    terms = [
        f"Without {term} in K = f·g + h the accuracy is {value * 100:.0f} %; with both terms it is {accuracy}."
        for term, value in answers["without"].items()
    ]
    points = (answers["looking"]["sentence"], answers["alone"], _constant(figures), *terms, *_left_out(answers))
    ablation = Panel(
        "Image ablation: does the model use its images?",
        paragraphs=(
            f"The final model answers the {figures['questions']:,} test questions three times: with the correct "
            "images, with the images of other questions, and with the mean training image. The loss in accuracy "
            "without the correct image is the contribution of the image.",
        ),
        points=tuple(text for text in points if text),
    )
    return [ablation, _by_kind(figures), _examples(answers)]


def _constant(figures: Mapping[str, Any]) -> str:
    share, prior = (f"{figures[name] * 100:.0f} %" for name in ("identical_share", "prior_accuracy"))
    return (
        f"The most frequent answer of the model is {share} of all its answers. The most frequent training answer to "
        f"each question, given without any image, is correct for {prior} of the questions."
    )


def _left_out(answers: Mapping[str, Any]) -> list[str]:
    """Return sentences on test questions that the model cannot read or answer."""
    found = []
    if answers.get("unseen"):
        named = ", ".join(answers["unseen_answers"]) + (" …" if answers["unseen"] > LISTED else "")
        found.append(
            f"The answer of {answers['unseen']:,} test questions is not in the training split. They count as errors: "
            f"{named}"
        )
    if answers.get("cut"):
        found.append(f"{answers['cut']:,} test questions are longer than the input of the model and are truncated.")
    if answers.get("strange"):
        found.append(f"{answers['strange']:,} test questions have no word of the model's vocabulary.")
    return found


def _by_kind(figures: Mapping[str, Any]) -> Panel:
    names = ("kind", "questions", "accuracy", "question_only", "prior")
    table = {
        "caption": "Accuracy by kind of question",
        "columns": list(COLUMNS),
        "rows": [[row.get(name) for name in names] for row in figures["by_kind"]],
    }
    text = (
        "Question only is the same model with the mean image in place of every image. The most frequent answer is "
        "that of the training split to the same question."
    )
    return Panel("Accuracy by kind of question", (text,), tables=(table,))


def _examples(answers: Mapping[str, Any]) -> Panel:
    figure = {
        "name": "answers",
        "arguments": {"cards": answers["gallery"]},
        "description": "Test images, each beside the image regions that contribute to its answer, with the question "
        "and the answers below.",
        "caption": "The image; the image with the regions that contribute to the answer (attention of the tokens of "
        "the question; in a model without attention, the contribution of each region to the logit of the answer); the "
        "answer with its probability; and the next most probable answers.",
    }
    return Panel("Example questions of the test split", figures=(figure,))
