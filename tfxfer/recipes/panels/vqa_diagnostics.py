"""What the trained model is asked for the report: does it look, which questions can it answer, and where it looks."""

from typing import Any

import numpy as np

from tfxfer.arms.vqa import MEASURE, VQAArm, Lessons
from tfxfer.cache import atomic_file, write_json
from tfxfer.evaluate import verdicts
from tfxfer.evaluate.comparison import measure_name
from tfxfer.evaluate.image_ablation import image_ablation
from tfxfer.evaluate.verdict import Verdict
from tfxfer.evaluate.vqa import vqa
from tfxfer.records import Comparison
from tfxfer.runs import Run
from tfxfer.tasks.classification import png
from tfxfer.tasks.visual_questions import Questions
from tfxfer.transfer.knowledge.question_batches import QuestionBatch, truncated_and_unknown
from tfxfer.transfer.knowledge.text_towers import TextTower
from tfxfer.transfer.knowledge.visual_qa import VisualQA

SHOWN, TOP = 12, 3  # pictures in the gallery, answers that each is given


def say_read(tower: TextTower, questions: dict[str, Questions], this: Run) -> dict[str, int]:
    """Say how many questions are cut, and in how many no word is known; return both counts of the test split."""
    told = {}
    for split, asked in questions.items():
        cut, strange = truncated_and_unknown(tower.tokens, asked.texts)
        if cut.any():
            this.say(
                f"target: {cut.sum():,} of {len(cut):,} {split} questions are longer than --length "
                f"{tower.tokens.length} tokens; what follows is not read"
            )
        if strange.any():
            this.say(f"target: {strange.sum():,} of {len(cut):,} {split} questions hold no word the model knows")
        told = {"cut": int(cut.sum()), "strange": int(strange.sum())}
    return told


def save(qa: VisualQA, shape: tuple[int, int, int], this: Run) -> None:
    """Save the model, from a raw picture and a raw question to the probabilities of the answers."""
    with atomic_file(this.folder / "model.keras") as path:
        qa.model().save(path)
    described = {"task": "vqa", "input": "image", "class_names": list(qa.answers)}
    write_json(this.folder / "model.json", described | {"image_size": list(shape[:2]), "channels": shape[2]})


def write(transfer: VQAArm, lessons: Lessons, comparison: Comparison, told: dict[str, Any], this: Run) -> None:
    """Ask the final model, print what was found, and keep it in `answers.json` for the report.

    Args:
        transfer: The arm under study, with its final weights set.
        lessons: What it learned from and is asked.
        comparison: The arms' records.
        told: Counts of test questions with unseen answers, cut, and without a known word.
        this: The run.
    """
    test, train = lessons.questions["test"], lessons.questions["train"]
    looks = does_it_look(transfer, lessons)
    this.say(looks["sentence"])
    against = [row for row in verdicts(comparison, against="question_only") if row["measure"] == MEASURE]
    alone = Verdict.from_dict(against[-1]).sentence(measure_name(MEASURE)) if against else ""
    if alone:
        this.say(alone)
    answers = transfer.answers(lessons, "test")
    figures = vqa(answers, test.answers, questions=test.texts, kinds=test.kinds, known=transfer.qa.answers,
                  training=(train.texts, train.answers))  # fmt: skip
    terms = {}
    for term, name in (("dot", "f·g"), ("h", "h")):
        if transfer.qa.matrix.dot and transfer.qa.matrix.h is not None:
            without = transfer.answers(lessons, "test", without=term)
            terms[name] = float(np.mean(np.array(without) == np.array(test.answers)))
    kinds = [
        {"kind": name, **row, "question_only": _by_kind(comparison, "question_only", name)}
        for name, row in figures["by_kind"].items()
    ]
    found = {"looking": looks, "alone": alone, "figures": figures | {"by_kind": kinds}, "without": terms, **told}
    write_json(this.folder / "answers.json", found | {"gallery": gallery(transfer.qa, lessons, answers)})


def does_it_look(transfer: VQAArm, lessons: Lessons) -> dict[str, Any]:
    """Return `image_ablation` of the answers to the test questions: with their pictures, with others', with the mean."""
    test, asked = lessons.questions["test"], lessons.asked["test"]
    other = np.roll(np.arange(len(asked.sight)), max(1, len(asked.sight) // 2)).astype(np.int32)
    blank = lessons.blind().asked["test"]
    seen = {"pictures": asked, "shuffled": asked._replace(picture=other[asked.picture]), "blank": blank}
    answers = {name: _answers(transfer, one) for name, one in seen.items()}
    scores = {name: np.array(given) == np.array(test.answers) for name, given in answers.items()}
    return image_ablation(scores, answers["pictures"], measure="accuracy", what="questions", groups=test.picture)


def gallery(qa: VisualQA, lessons: Lessons, answers: list[str]) -> list[dict[str, Any]]:
    """Return some test questions with picture, true and given answers, and where the answer came from."""
    test, asked = lessons.questions["test"], lessons.asked["test"]
    rows = np.unique(np.linspace(0, len(answers) - 1, min(SHOWN, len(answers))).astype(int))
    some = asked._replace(picture=asked.picture[rows], question=asked.question[rows], labels=asked.labels[rows])
    logits, heats = qa.logits(some), qa.looks(some)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares = powers / powers.sum(1, keepdims=True)
    found = []
    for row, share, heat in zip(rows, shares, heats):
        best = np.argsort(-share, kind="stable")[:TOP]
        found.append(
            {
                "png": png(test.images[test.picture[row]]),
                "question": test.texts[row],
                "true": test.answers[row],
                "given": [[qa.answers[i], round(float(share[i]), 3)] for i in best],
                "right": answers[row] == test.answers[row],
                "heat": heat.round(4).tolist(),
            }
        )
    return found


def _answers(transfer: VQAArm, asked: QuestionBatch) -> list[str]:
    return [transfer.qa.answers[i] for i in transfer.qa.logits(asked).argmax(1)]


def _by_kind(comparison: Comparison, arm: str, kind: str) -> float | None:
    """Return an arm's accuracy on a kind of question at the greatest budget, mean over seeds; None if not run."""
    rows = comparison.select(arm, comparison.budgets[-1])
    found = [row.settings["by_kind"][kind]["accuracy"] for row in rows if kind in row.settings["by_kind"]]
    return float(np.mean(found)) if found else None
