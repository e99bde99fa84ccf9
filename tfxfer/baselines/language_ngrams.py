"""The plain rival of a language model: n-grams of word pieces, smoothed after Witten and Bell."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfxfer.experiment import Outcome
from tfxfer.models.tokenizer import WordPieceTokenizer

ORDERS = (1, 2, 3)  # pieces of an n-gram; validation chooses


class NGrams:
    """Probabilities of the next piece after up to n − 1 pieces (Witten and Bell 1991).

    p(w | h) = (count(h, w) + T(h) · p(w | h')) / (count(h) + T(h)), where h' is h without its first piece, T(h) is how
    many different pieces followed h, and 1/V stands behind the shortest.

    Args:
        rows: Token numbers of texts, each begun by a start token and closed by an end token.
        order: n.
        size: Number of pieces V.

    >>> model = NGrams([[0, 1, 2], [0, 1, 1, 2]], order=2, size=4)
    >>> round(model.probability((1,), 2), 4)  # after 1: 2 twice, 1 once; alone: 2 and 1 in 2 and 3 of 5, T = 2
    0.5429
    >>> round(sum(model.probability((1,), w) for w in range(4)), 9)
    1.0
    """

    def __init__(self, rows: Sequence[Sequence[int]], order: int, size: int) -> None:
        self.order, self.size = order, size
        self.followers: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for row in rows:
            for place in range(1, len(row)):
                for back in range(min(order, place + 1)):
                    self.followers[tuple(row[place - back : place])][row[place]] += 1

    def probability(self, history: tuple[int, ...], piece: int) -> float:
        """Return p(piece | history), of a history of at most n − 1 pieces."""
        found, shorter = 1 / self.size, len(history)
        for start in range(shorter, -1, -1):
            seen = self.followers.get(history[start:])
            if seen is None:
                break  # no longer history was seen either
            different = len(seen)
            found = (seen[piece] + different * found) / (seen.total() + different)
        return found

    def log_likelihood(self, row: Sequence[int]) -> float:
        """Return the mean log-probability of a text's pieces, in nats a token, its end among them."""
        gains = [
            np.log(self.probability(tuple(row[max(0, i - self.order + 1) : i]), row[i])) for i in range(1, len(row))
        ]
        return float(np.mean(gains))


def native_language(train: Sequence[str], validation: Sequence[str], test: Sequence[str], words: WordPieceTokenizer,
                    length: int) -> Outcome:  # fmt: skip
    """Answer with the likelihood of test texts under n-grams of the training texts; validation chooses n.

    Args:
        train: Texts.
        validation: Texts that choose.
        test: Texts that are judged.
        words: The vocabulary, the same as the decoder's: nats a token would not compare otherwise.
        length: Tokens that a text is cut to.
    """
    rows, held, asked = (_rows(texts, words, length) for texts in (train, validation, test))
    tried = {order: NGrams(rows, order, len(words.vocabulary)) for order in ORDERS}
    scores = {order: float(np.mean([model.log_likelihood(row) for row in held])) for order, model in tried.items()}
    best = max(scores, key=lambda order: scores[order])
    found = np.array([tried[best].log_likelihood(row) for row in asked])
    settings: dict[str, Any] = {
        "method": "n-grams of word pieces, smoothed after Witten and Bell",
        "n": best,
        "validation": {str(order): round(score, 4) for order, score in scores.items()},
    }
    return Outcome(None, settings, scores={"log_likelihood": found}, answers=nats(found))


def nats(likelihoods: np.ndarray) -> list[str]:
    """Return likelihoods [N] for people.

    >>> nats(np.array([-2.345]))
    ['−2.35 nats a token']
    """
    return [f"{value:.2f} nats a token".replace("-", "−") for value in likelihoods]


def _rows(texts: Sequence[str], words: WordPieceTokenizer, length: int) -> list[list[int]]:
    numbers, _ = words.encode(texts, length)
    return [[int(number) for number in row if number != words.pad_id] for row in numbers]
