"""Diagnostics of visual question answering: image ablation, accuracy without a term of K, example questions."""

from typing import Any

import numpy as np

from tfxfer.arms.vqa import VQAArm, VQAExamples
from tfxfer.evaluate import verdicts
from tfxfer.evaluate.comparison import measure_name
from tfxfer.evaluate.image_ablation import image_ablation
from tfxfer.evaluate.verdict import Verdict
from tfxfer.evaluate.vqa import vqa
from tfxfer.recipes.panels.vqa_diagnostics import vqa_panels
from tfxfer.records import Comparison
from tfxfer.report.panel import Panel
from tfxfer.runs import Run
from tfxfer.tasks.examples import evenly_spaced, png
from tfxfer.tasks.visual_questions import MEASURE
from tfxfer.transfer.knowledge import VisualQA

SHOWN, TOP = 12, 3  # example questions, answers that each is given


def question_panels(
    arm: VQAArm, comparison: Comparison, counts: dict[str, Any], arms: dict[str, Any], run: Run
) -> tuple[Panel, ...]:
    """Run the final model on its own, on other and on the mean images; print and return what was found.

    Args:
        arm: The arm under study.
        comparison: The arms' records.
        counts: Numbers of test questions with unseen answers, truncated, and without a known word.
        arms: Arm -> its description.
        run: The run.
    """
    qa, examples = arm.final_qa(), arm.examples(*arm.keep)
    test, train = examples.questions["test"], examples.questions["train"]
    ablation = ablated(qa, examples)
    run.say(ablation["sentence"])
    against = [row for row in verdicts(comparison, against="question_only") if row["measure"] == MEASURE]
    alone = ""
    if against:
        alone = Verdict.from_dict(against[-1]).sentence(measure_name(MEASURE), about={"arms": arms})
        run.say(alone)
    answers = qa.predict(examples.batches["test"]).texts
    figures = vqa(
        answers,
        test.answers,
        questions=test.texts,
        kinds=test.kinds,
        known=qa.answers,
        training=(train.texts, train.answers),
    )
    terms = {}
    if qa.head.dot and qa.head.h is not None:
        for term, name in (("dot", "f·g"), ("h", "h")):
            without = qa.predict(examples.batches["test"], without=term).texts
            terms[name] = float(np.mean(np.array(without) == np.array(test.answers)))
    kinds = [
        {"kind": name, **row, "question_only": _by_kind(comparison, "question_only", name)}
        for name, row in figures["by_kind"].items()
    ]
    found = {"looking": ablation, "alone": alone, "figures": figures | {"by_kind": kinds}, "without": terms, **counts}
    return tuple(vqa_panels(found | {"gallery": cards(qa, examples, answers)}))


def ablated(qa: VisualQA, examples: VQAExamples) -> dict[str, Any]:
    """Return the `image_ablation` of the test questions: with their images, with others', with the mean image."""
    test, batch = examples.questions["test"], examples.batches["test"]
    other = np.roll(np.arange(len(batch.images)), max(1, len(batch.images) // 2)).astype(np.int32)
    inputs = {"correct": batch, "shuffled": batch._replace(image_index=other[batch.image_index])}
    inputs["blank"] = examples.blind().batches["test"]
    answers = {name: qa.predict(one).texts for name, one in inputs.items()}
    scores = {name: np.array(given) == np.array(test.answers) for name, given in answers.items()}
    return image_ablation(scores, answers["correct"], measure="accuracy", what="questions", groups=test.image_index)


def cards(qa: VisualQA, examples: VQAExamples, answers: list[str]) -> list[dict[str, Any]]:
    """Return some test questions with image, true and predicted answers, and the positions they come from."""
    test, batch = examples.questions["test"], examples.batches["test"]
    rows = evenly_spaced(len(answers), SHOWN)
    names = ("image_index", "question_index", "labels")
    some = batch._replace(**{name: getattr(batch, name)[rows] for name in names})
    found = []
    for row, shares, heat in zip(rows, qa.predict(some).probabilities, qa.attention_maps(some)):
        best = np.argsort(-shares, kind="stable")[:TOP]
        found.append(
            {
                "png": png(test.images[test.image_index[row]]),
                "question": test.texts[row],
                "true": test.answers[row],
                "given": [[qa.answers[i], round(float(shares[i]), 3)] for i in best],
                "right": answers[row] == test.answers[row],
                "heat": heat.round(4).tolist(),
            }
        )
    return found


def _by_kind(comparison: Comparison, arm: str, kind: str) -> float | None:
    """Return an arm's accuracy on a kind of question at the greatest budget, mean over seeds; None if not run."""
    rows = comparison.select(arm, comparison.budgets[-1])
    found = [row.settings["by_kind"][kind]["accuracy"] for row in rows if kind in row.settings["by_kind"]]
    return float(np.mean(found)) if found else None
