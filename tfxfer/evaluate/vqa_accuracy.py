"""The accuracy of the VQA challenges: an answer is as right as people agree with it.

Ten people answered each question. An answer that n of them gave scores min(n/3, 1); the score is averaged over all
choices of nine of the ten people. Both sides are normalised: lower case, number words as digits, no articles, no
punctuation but apostrophes and colons, and contractions with their apostrophes.

Reference: Antol et al., "VQA: Visual Question Answering", ICCV 2015; rules and evaluation code at visualqa.org. That
code leaves answers as they are when all ten people gave the same; here they are normalised too, so that "t-shirt" is
right.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from tfxfer.errors import UserError

LEAST_PEOPLE = 4  # with fewer no answer can score 1, as one of them is left out
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {"none": "0", **{word: str(i) for i, word in enumerate(NUMBERS)}}
ARTICLES = ("a", "an", "the")
PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
CONTRACTIONS = (  # as they are written; without an apostrophe they count as the same
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd "
    "he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've "
    "needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've "
    "somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll "
    "that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've "
    "we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's "
    "who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've "
    "you'll you're you've"
)
_PERIOD = re.compile(r"\.(?!\d)")  # all but those of decimal numbers
_COMMA = re.compile(r"\d,\d")


def _without_one_apostrophe(word: str) -> Iterator[str]:
    """Yield a contraction without each of its apostrophes in turn."""
    for place, letter in enumerate(word):
        if letter == "'":
            yield word[:place] + word[place + 1 :]


_WHOLE = {short: word for word in CONTRACTIONS.split() for short in _without_one_apostrophe(word)}


def normalised(answer: str) -> str:
    """Return an answer in the form in which answers are compared.

    >>> normalised("Two dogs, on the  t-shirt."), normalised("dont"), normalised("1,000"), normalised("3.5")
    ('2 dogs on t shirt', "don't", '1000', '3.5')
    """
    words = _without_punctuation(" ".join(answer.split())).lower().split()
    plain = (DIGITS.get(word, word) for word in words if word not in ARTICLES)
    return " ".join(_WHOLE.get(word, word) for word in plain)


def _without_punctuation(answer: str) -> str:
    """Return an answer without punctuation: a mark within a word becomes a blank, one beside a blank is left out."""
    found = answer
    for mark in PUNCTUATION:
        if f"{mark} " in answer or f" {mark}" in answer or _COMMA.search(answer):
            found = found.replace(mark, "")
        else:
            found = found.replace(mark, " ")
    return _PERIOD.sub("", found)


def vqa_accuracy(answers: Sequence[str], given: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the accuracy of each answer by what people gave.

    Args:
        answers: The predicted answers, [N].
        given: The answers of people to each question, [N] lists; usually ten each, and at least four.

    Returns:
        float [N] in 0..1.

    Raises:
        UserError: The lists differ in length, or a question has fewer than four answers.

    Example:
        >>> vqa_accuracy(["yes"] * 4, [["yes"] * n + ["no"] * (10 - n) for n in (1, 2, 3, 4)]).round(2).tolist()
        [0.3, 0.6, 0.9, 1.0]
    """
    if len(answers) != len(given):
        raise UserError(f"{len(answers)} answers and {len(given)} questions; each question needs one answer")
    few = next((row for row, each in enumerate(given) if len(each) < LEAST_PEOPLE), None)
    if few is not None:
        raise UserError(
            f"row {few}: {len(given[few])} answers of people; the accuracy of VQA needs {LEAST_PEOPLE} at least"
        )
    known = {answer: normalised(answer) for answer in {*answers, *(one for each in given for one in each)}}
    scores = []
    for answer, each in zip(answers, given):
        people = len(each)
        same = sum(known[one] == known[answer] for one in each)
        left = same * min(1.0, (same - 1) / 3) + (people - same) * min(1.0, same / 3)  # one of each is left out
        scores.append(left / people)
    return np.array(scores, float)
