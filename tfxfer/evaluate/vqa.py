"""Visual question answering: how many questions are answered right, of which kind, and how far the question alone goes.

An answer is right when it is the true one, but for case and blanks (`same_answer`). An answer that training never
showed can be given by no classifier; such questions stay in every figure, as wrong ones, and are counted.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError

YES_NO = frozenset(["yes", "no"])
TYPE_WORDS = 2  # words of a question that name its type, as in "what color", "is there"


def vqa(
    answers: Sequence[str],
    truths: Sequence[str],
    *,
    questions: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    known: Iterable[str] | None = None,
    training: tuple[Sequence[str], Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Score answers to questions about pictures.

    Args:
        answers: What was answered, [N].
        truths: The true answers, [N].
        questions: The questions, [N]; adds figures by question type, their first two words.
        kinds: What was asked for, [N]; by default the kind of the true answer, see `answer_kind`.
        known: Answers that training showed; adds the count of questions whose answer is not among them.
        training: Questions and answers of training; with `questions`, adds what their commonest answers score.

    Returns:
        "accuracy" and "balanced_accuracy" (mean over the true answers), "questions" (N), "identical_share" (share of
        the most frequent answer), "by_kind" and "by_type": name -> {"accuracy", "questions"}, the most frequent first;
        "unseen" (questions whose answer is not `known`), "prior_accuracy" and, in "by_kind", "prior".

    Raises:
        UserError: There are no questions, the lists differ in length, or an answer is empty (its row is named).

    Example:
        >>> found = vqa(["yes", "red"], ["yes", "Blue"], known=["yes", "red"])
        >>> found["accuracy"], found["by_kind"]["yes/no"]["accuracy"], found["unseen"]
        (0.5, 1.0, 1)
    """
    from sklearn.metrics import accuracy_score, recall_score

    given, true = _same_lengths(answers, truths=truths, questions=questions, kinds=kinds)
    right = given == true
    found: dict[str, Any] = {
        "accuracy": float(accuracy_score(true, given)),
        "balanced_accuracy": float(recall_score(true, given, labels=np.unique(true), average="macro", zero_division=0)),
        "questions": len(true),
        "identical_share": Counter(given.tolist()).most_common(1)[0][1] / len(true),
        "by_kind": _by_name([answer_kind(one) for one in truths] if kinds is None else kinds, right),
    }
    if questions is not None:
        found["by_type"] = _by_name([question_type(one) for one in questions], right)
    if known is not None:
        found["unseen"] = int((~np.isin(true, [same_answer(one) for one in known])).sum())
    if questions is not None and training is not None:
        prior = np.array([same_answer(one) for one in majority_by_question(*training, questions)]) == true
        found["prior_accuracy"] = float(prior.mean())
        named = [answer_kind(one) for one in truths] if kinds is None else list(kinds)
        for name, row in _by_name(named, prior).items():
            found["by_kind"][name]["prior"] = row["accuracy"]
    return found


def same_answer(answer: str) -> str:
    """Return the form under which two answers count as the same: without case, blanks joined.

    >>> same_answer(" Dark  Red ")
    'dark red'
    """
    return " ".join(str(answer).casefold().split())


def answer_kind(answer: str) -> str:
    """Return "yes/no", "number" or "other", the answer types of VQA (Antol et al. 2015).

    >>> [answer_kind(one) for one in ("Yes", "7", "1/2", "teal")]
    ['yes/no', 'number', 'number', 'other']
    """
    plain = same_answer(answer)
    if plain in YES_NO:
        return "yes/no"
    numbers = plain.replace(",", "").replace("−", "-").lstrip("-").split("/")
    is_number = 1 <= len(numbers) <= 2 and all(part.replace(".", "", 1).isdecimal() for part in numbers)
    return "number" if is_number else "other"


def question_type(question: str) -> str:
    """Return what kind of question it is by its first words, without case.

    >>> question_type("What color is the shape?"), question_type("Warum?")
    ('what color', 'warum?')
    """
    return " ".join(same_answer(question).split()[:TYPE_WORDS])


def majority_by_question(questions: Sequence[str], answers: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Answer without a picture: the commonest training answer to the same question, else the commonest of all.

    Args:
        questions: Training questions [M].
        answers: Their answers [M].
        asked: Questions to answer [N].

    Returns:
        N answers; of equally common ones the first in the alphabet.

    Raises:
        UserError: There are no training questions, or not as many as answers.

    Example:
        >>> majority_by_question(["is it red?"] * 3 + ["what is it?"], ["no", "yes", "no", "disc"], ["Is it  red?", "why?"])
        ['no', 'no']
    """  # noqa: E501
    if not len(questions) or len(questions) != len(answers):
        raise UserError(f"{len(questions)} training questions and {len(answers)} answers; one answer each is needed")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for question, answer in zip(questions, answers):
        counts[same_answer(question)][answer] += 1
    commonest = {question: _first(count) for question, count in counts.items()}
    overall = _first(Counter(answers))
    return [commonest.get(same_answer(question), overall) for question in asked]


def by_picture(correct: ArrayLike, picture: ArrayLike) -> np.ndarray:
    """Return a score for each picture whose mean is the accuracy over all questions.

    Questions about one picture stand or fall together, so a bootstrap has to draw pictures and not questions. Pictures
    have different numbers of them, which makes the accuracy a ratio of two sums; the scores are its linearisation,
    accuracy + (right − accuracy · questions) / mean questions a picture, whose mean varies as the ratio does
    (Cochran, Sampling Techniques, 3rd edition 1977, chapter 6). A single score may lie outside 0..1.

    Args:
        correct: bool [N], which questions were answered right.
        picture: int [N], the picture of each question, from 0 to P − 1, each at least once.

    Returns:
        float [P].

    >>> by_picture([True, True, False, True], [0, 0, 0, 1]).tolist()
    [0.625, 0.875]
    """
    places, right = np.asarray(picture), np.asarray(correct, float)
    counts = np.bincount(places)
    if not len(places) or len(places) != len(right) or not counts.all():
        raise UserError("give one picture number for each question, and no picture without questions")
    accuracy = right.mean()
    return accuracy + (np.bincount(places, weights=right) - accuracy * counts) / counts.mean()


def _by_name(names: Sequence[str], right: np.ndarray) -> dict[str, dict[str, Any]]:
    labels = np.asarray(names, dtype=np.str_)
    ordered = Counter(labels.tolist()).most_common()
    return {name: {"accuracy": float(right[labels == name].mean()), "questions": count} for name, count in ordered}


def _first(count: "Counter[str]") -> str:
    """Return the most frequent answer, the first in the alphabet of equal ones."""
    return min(count, key=lambda answer: (-count[answer], answer))


def _same_lengths(answers: Sequence[str], **others: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return both columns as `same_answer` has them, or say which list does not fit."""
    for name, values in others.items():
        if values is not None and len(values) != len(answers):
            raise UserError(f"{len(answers)} answers and {len(values)} {name}; each question needs one of both")
    if not len(answers):
        raise UserError("there is nothing to score: no answers were given")
    truths = others["truths"]
    assert truths is not None
    true = np.array([same_answer(one) for one in truths], dtype=np.str_)
    if (true == "").any():
        raise UserError(f"row {int((true == '').argmax())}: the true answer is empty; leave the question out")
    return np.array([same_answer(one) for one in answers], dtype=np.str_), true
