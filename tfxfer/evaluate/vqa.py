"""Metrics of visual question answering: accuracy, accuracy by kind of question, and that of a question-only prior.

An answer is correct when it equals the true one without case and extra blanks (`same_answer`). A classifier cannot
give an answer that is not in the training split. Such questions stay in every score, as errors, and are counted.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfxfer.errors import UserError

YES_NO = frozenset(["yes", "no"])
TYPE_WORDS = 2  # the type of a question is its first words, as in "what color", "is there"


def vqa(
    answers: Sequence[str],
    truths: Sequence[str],
    *,
    questions: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    known: Iterable[str] | None = None,
    training: tuple[Sequence[str], Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Score answers to questions about images.

    Args:
        answers: The predicted answers, [N].
        truths: The true answers, [N].
        questions: The questions, [N]; adds scores by question type, their first two words.
        kinds: The kind of each question, [N]; by default the kind of the true answer, see `answer_kind`.
        known: The answers of the training split; adds the number of questions whose answer is not among them.
        training: Questions and answers of the training split; with `questions`, adds the accuracy of
            `majority_by_question`.

    Returns:
        "accuracy" and "balanced_accuracy" (mean over the true answers), "questions" (N), "identical_share" (share of
        the most frequent answer), "by_kind" and "by_type": name -> {"accuracy", "questions"}, the most frequent first;
        "unseen" (questions whose answer is not `known`), "prior_accuracy" and, in "by_kind", "prior".

    Raises:
        UserError: There are no questions, the lists differ in length, or an answer is empty (the error names its row).

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
    """Return an answer normalised: case-folded, with single blanks.

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
    """Return the type of a question: its first two words, normalised.

    >>> question_type("What color is the shape?"), question_type("Warum?")
    ('what color', 'warum?')
    """
    return " ".join(same_answer(question).split()[:TYPE_WORDS])


def majority_by_question(questions: Sequence[str], answers: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Return the question-only prior: the most frequent training answer to the same question, else of all questions.

    Args:
        questions: Training questions [M].
        answers: Their answers [M].
        targets: Questions to answer [N].

    Returns:
        N answers; of equally frequent ones the first in the alphabet.

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
    return [commonest.get(same_answer(question), overall) for question in targets]


def scores_by_image(correct: ArrayLike, image: ArrayLike) -> np.ndarray:
    """Return a score for each image whose mean is the accuracy over all questions.

    Answers about one image are correlated, so a bootstrap has to draw images and not questions. Images have different
    numbers of questions, which makes the accuracy a ratio of two sums. The scores are its linearisation,
    accuracy + (correct − accuracy · questions) / mean questions an image, whose mean has the variance of the ratio
    (Cochran, Sampling Techniques, 3rd edition 1977, chapter 6). A single score may lie outside 0..1.

    Args:
        correct: bool [N], whether each question was answered correctly.
        image: int [N], the image of each question, from 0 to P − 1, each at least once.

    Returns:
        float [P].

    >>> scores_by_image([True, True, False, True], [0, 0, 0, 1]).tolist()
    [0.625, 0.875]
    """
    places, right = np.asarray(image), np.asarray(correct, float)
    counts = np.bincount(places)
    if not len(places) or len(places) != len(right) or not counts.all():
        raise UserError("give one image number for each question, and no image without questions")
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
    """Return both columns normalised by `same_answer`; raise `UserError` naming a list of another length."""
    for name, values in others.items():
        if values is not None and len(values) != len(answers):
            raise UserError(f"{len(answers)} answers and {len(values)} {name}; each question needs one of each")
    if not len(answers):
        raise UserError("there is nothing to score: no answers were given")
    truths = others["truths"]
    assert truths is not None
    true = np.array([same_answer(one) for one in truths], dtype=np.str_)
    if (true == "").any():
        raise UserError(f"row {int((true == '').argmax())}: the true answer is empty; leave the question out")
    return np.array([same_answer(one) for one in answers], dtype=np.str_), true
