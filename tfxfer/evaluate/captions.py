"""Caption metrics in pure Python: BLEU, ROUGE-L, CIDEr, CIDEr-D, token F1, exact match, and how alike captions are.

Texts are split at spaces and nothing else, so lower-case them and take punctuation off first, on both sides alike.
The figures are those of pycocoevalcap on the same tokens, without Java.
"""

import json
import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfxfer.errors import UserError

ORDERS = (1, 2, 3, 4)  # lengths of the n-grams
BETA = 1.2  # ROUGE-L: weight of recall over precision
SIGMA = 6.0  # CIDEr-D: tolerance of a difference in length, in tokens

Grams = Counter[tuple[str, ...]]


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many pictures' references each n-gram stands: what CIDEr weighs rare words by.

    Attributes:
        pictures: Number of pictures counted.
        counts: n-gram -> number of pictures.

    >>> found = DocumentFrequencies.of([["a cat", "the cat"], ["a dog"]])
    >>> found.pictures, found.counts[("a",)], found.counts[("cat",)]
    (2, 2, 1)
    """

    pictures: int
    counts: Counter[tuple[str, ...]]

    @classmethod
    def of(cls, references: Sequence[Sequence[str]]) -> "DocumentFrequencies":
        """Count over the references [N pictures, any number each]."""
        counts: Grams = Counter()
        for texts in references:
            counts.update(set().union(*(grams(text.split(), n) for text in texts for n in ORDERS)))
        return cls(len(references), counts)

    def save(self, path: str | Path) -> None:
        """Write as JSON, n-grams joined by spaces."""
        rows = {" ".join(gram): count for gram, count in self.counts.items()}
        text = json.dumps({"pictures": self.pictures, "counts": rows}, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "DocumentFrequencies":
        """Read what `save` wrote.

        Raises:
            UserError: The file is not of that form.
        """
        try:
            plain = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(
                int(plain["pictures"]), Counter({tuple(k.split(" ")): int(v) for k, v in plain["counts"].items()})
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: not a file of document frequencies ({error}); make it with .save") from error


def captions(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    frequencies: DocumentFrequencies | None = None,
    per_caption: bool = False,
) -> dict[str, Any]:
    """Score captions against references.

    Args:
        candidates: N captions, one a picture.
        references: N lists of one or more reference captions.
        frequencies: Document frequencies for CIDEr and CIDEr-D; by default those of `references`. With one picture
            these make every CIDEr 0.
        per_caption: Also return "per_caption": name -> float [N], for a bootstrap over captions.

    Returns:
        "bleu_1" … "bleu_4" (Papineni et al. 2002, over the whole set), "rouge_l" (Lin 2004), "cider" and "cider_d"
        (Vedantam et al. 2015, at most 10), "token_f1", "exact_match", "distinct_1", "distinct_2" (distinct n-grams
        among all, Li et al. 2016) and "identical_share" (share of the most frequent caption).

    Raises:
        UserError: No captions, other numbers of references than captions, or a caption without references.

    >>> scores = captions(["a red cat", "a dog"], [["a red cat"], ["the dog", "a small dog"]])
    >>> scores["exact_match"], round(scores["token_f1"], 3), round(scores["rouge_l"], 3)
    (0.5, 0.9, 0.886)
    """
    _check(candidates, references)
    if frequencies is None:
        frequencies = DocumentFrequencies.of(references)
        if len(references) == 1:
            warnings.warn("CIDEr of one picture is 0: give document frequencies of a larger set", stacklevel=2)
    given = [text.split() for text in candidates]
    wanted = [[text.split() for text in texts] for texts in references]
    each = {name: np.array([score(c, r) for c, r in zip(given, wanted)]) for name, score in _CAPTION_SCORES.items()}
    each |= _cider(given, wanted, frequencies)
    counts = np.array([_bleu_counts(c, r) for c, r in zip(given, wanted)])  # [N, 10]
    whole: dict[str, Any] = {f"bleu_{n}": value for n, value in zip(ORDERS, _bleu(counts.sum(0)))}
    whole |= {name: float(values.mean()) for name, values in each.items()}
    whole |= {f"distinct_{n}": _distinct(given, n) for n in (1, 2)}
    whole["identical_share"] = Counter(map(tuple, given)).most_common(1)[0][1] / len(given)
    if per_caption:
        bleus = np.array([_bleu(row) for row in counts])  # [N, 4]
        whole["per_caption"] = {f"bleu_{n}": bleus[:, n - 1] for n in ORDERS} | each
    return whole


def grams(tokens: Sequence[str], n: int) -> Grams:
    """Count the n-grams of a list of tokens."""
    return Counter(zip(*(tokens[i:] for i in range(n))))


def _check(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if not len(candidates):
        raise UserError("there are no captions to score")
    if len(candidates) != len(references):
        raise UserError(f"{len(candidates)} captions, but references of {len(references)} pictures; give one list each")
    if isinstance(candidates, str) or any(isinstance(texts, str) for texts in references):
        raise UserError("captions are a list of texts, and references a list of lists of texts")
    for row, texts in enumerate(references):
        if not len(texts):
            raise UserError(f"caption {row} ('{candidates[row]}') has no reference; leave the picture out")


def _bleu_counts(candidate: list[str], references: list[list[str]]) -> list[float]:
    """Return the right n-grams [4], the n-grams [4], the length, and the length of the closest reference."""
    right, total = [], []
    for n in ORDERS:
        most: Grams = Counter()
        for reference in references:
            most |= grams(reference, n)
        right.append((grams(candidate, n) & most).total())
        total.append(max(0, len(candidate) - n + 1))
    closest = min((abs(len(r) - len(candidate)), len(r)) for r in references)[1]
    return [*right, *total, len(candidate), closest]


def _bleu(counts: Sequence[float]) -> list[float]:
    """Return BLEU-1 … BLEU-4 of summed counts; the tiny constants are those of the COCO caption code."""
    right, total, length, closest = counts[:4], counts[4:8], counts[8], counts[9]
    ratio = (length + 1e-15) / (closest + 1e-9)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, found = 1.0, []
    for n in ORDERS:
        product *= (right[n - 1] + 1e-15) / (total[n - 1] + 1e-9)
        found.append(float(product ** (1 / n) * brevity))
    return found


def _rouge_l(candidate: list[str], references: list[list[str]]) -> float:
    """F of the longest common subsequence; precision and recall are each the best over the references."""
    common = [_longest_common(candidate, reference) for reference in references]
    precision = max(c / max(1, len(candidate)) for c in common)
    recall = max(c / max(1, len(r)) for c, r in zip(common, references))
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _longest_common(a: list[str], b: list[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


def _token_f1(candidate: list[str], references: list[list[str]]) -> float:
    """The best F1 over the references of the two bags of tokens (as SQuAD scores answers)."""
    bag = Counter(candidate)
    return max(2 * (bag & Counter(r)).total() / max(1, len(candidate) + len(r)) for r in references)


def _exact_match(candidate: list[str], references: list[list[str]]) -> float:
    return float(candidate in references)


def _distinct(given: list[list[str]], n: int) -> float:
    found: Grams = Counter()
    for tokens in given:
        found.update(grams(tokens, n))
    return len(found) / max(1, found.total())


def _cider(
    given: list[list[str]], wanted: list[list[list[str]]], frequencies: DocumentFrequencies
) -> dict[str, np.ndarray]:
    """Return CIDEr and CIDEr-D of each caption, 0 … 10.

    For n = 1 … 4 an n-gram weighs tf · (ln N − ln max(1, df)). CIDEr is the cosine of the two weighted vectors;
    CIDEr-D clips the caption's weights at the reference's and multiplies by exp(−Δℓ²/2σ²), Δℓ the difference in
    bigrams. Both are means over n and over references, times 10.
    """
    log_pictures = math.log(max(1, frequencies.pictures))

    def weights(tokens: list[str], n: int) -> dict[tuple[str, ...], float]:
        found = grams(tokens, n)
        return {g: tf * (log_pictures - math.log(max(1, frequencies.counts[g]))) for g, tf in found.items()}

    plain, clipped = np.zeros(len(given)), np.zeros(len(given))
    for i, (candidate, references) in enumerate(zip(given, wanted)):
        mine = [weights(candidate, n) for n in ORDERS]
        for reference in references:
            apart = max(0, len(candidate) - 1) - max(0, len(reference) - 1)
            penalty = math.exp(-(apart**2) / (2 * SIGMA**2))
            for n, own in zip(ORDERS, mine):
                other = weights(reference, n)
                lengths = math.hypot(*own.values()) * math.hypot(*other.values())
                if lengths:
                    share = 10 / (len(ORDERS) * len(references) * lengths)
                    plain[i] += share * sum(w * other.get(g, 0.0) for g, w in own.items())
                    clipped[i] += (
                        share * penalty * sum(min(w, other[g]) * other[g] for g, w in own.items() if g in other)
                    )
    return {"cider": plain, "cider_d": clipped}


_CAPTION_SCORES: dict[str, Callable[[list[str], list[list[str]]], float]] = {
    "rouge_l": _rouge_l,
    "token_f1": _token_f1,
    "exact_match": _exact_match,
}
