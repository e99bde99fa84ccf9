"""Caption metrics in pure Python: BLEU, ROUGE-L, CIDEr, CIDEr-D, token F1, exact match, and diversity of captions.

Texts are split at spaces only. Lower-case them and remove punctuation first, in candidates and references alike. The
scores equal those of pycocoevalcap on the same tokens, without Java.
"""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfxfer.errors import UserError
from tfxfer.evaluate.cider import ORDERS, DocumentFrequencies, cider

__all__ = ["DocumentFrequencies", "captions", "cider"]

BETA = 1.2  # ROUGE-L: weight of recall over precision

Grams = Counter[tuple[str, ...]]


def captions(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    frequencies: DocumentFrequencies | None = None,
    per_caption: bool = False,
) -> dict[str, Any]:
    """Score captions against references.

    Args:
        candidates: N captions, one for each image.
        references: N lists of one or more reference captions.
        frequencies: Document frequencies for CIDEr and CIDEr-D; by default those of `references`. With one image
            these make every CIDEr 0.
        per_caption: Also return "per_caption": name -> float [N], for a bootstrap over captions.

    Returns:
        "bleu_1" … "bleu_4" (Papineni et al. 2002, over the whole set), "rouge_l" (Lin 2004), "cider" and "cider_d"
        (Vedantam et al. 2015, at most 10), "token_f1", "exact_match", "distinct_1", "distinct_2" (distinct n-grams
        among all, Li et al. 2016) and "identical_share" (share of the most frequent caption).

    Raises:
        UserError: No captions, unequal numbers of captions and lists of references, or a caption without references.

    >>> scores = captions(["a red cat", "a dog"], [["a red cat"], ["the dog", "a small dog"]])
    >>> scores["exact_match"], round(scores["token_f1"], 3), round(scores["rouge_l"], 3)
    (0.5, 0.9, 0.886)
    """
    _check(candidates, references)
    if frequencies is None and len(references) == 1:
        warnings.warn("CIDEr of one image is 0: give document frequencies of a larger set", stacklevel=2)
    given = [text.split() for text in candidates]
    wanted = [[text.split() for text in texts] for texts in references]
    each = {name: np.array([score(c, r) for c, r in zip(given, wanted)]) for name, score in _CAPTION_SCORES.items()}
    each |= cider(candidates, references, frequencies)
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
        raise UserError(
            f"{len(candidates)} captions, but references of {len(references)} images; give one list for each caption"
        )
    if isinstance(candidates, str) or any(isinstance(texts, str) for texts in references):
        raise UserError("captions must be a list of texts, and references a list of lists of texts")
    for row, texts in enumerate(references):
        if not len(texts):
            raise UserError(f"caption {row} ('{candidates[row]}') has no reference; leave the image out")


def _bleu_counts(candidate: list[str], references: list[list[str]]) -> list[float]:
    """Return matched n-grams [4], n-grams [4], the length, and the length of the closest reference, in tokens."""
    matched, total = [], []
    for n in ORDERS:
        most: Grams = Counter()
        for reference in references:
            most |= grams(reference, n)
        matched.append((grams(candidate, n) & most).total())
        total.append(max(0, len(candidate) - n + 1))
    closest = min((abs(len(r) - len(candidate)), len(r)) for r in references)[1]
    return [*matched, *total, len(candidate), closest]


def _bleu(counts: Sequence[float]) -> list[float]:
    """Return BLEU-1 … BLEU-4 of summed counts; the small constants are those of the COCO caption code."""
    matched, total, length, closest = counts[:4], counts[4:8], counts[8], counts[9]
    ratio = (length + 1e-15) / (closest + 1e-9)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, found = 1.0, []
    for n in ORDERS:
        product *= (matched[n - 1] + 1e-15) / (total[n - 1] + 1e-9)
        found.append(float(product ** (1 / n) * brevity))
    return found


def _rouge_l(candidate: list[str], references: list[list[str]]) -> float:
    """F score of the longest common subsequence; precision and recall are each the maximum over the references."""
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
    """Maximum over the references of the F1 of the two bags of tokens (as in SQuAD)."""
    bag = Counter(candidate)
    return max(2 * (bag & Counter(r)).total() / max(1, len(candidate) + len(r)) for r in references)


def _exact_match(candidate: list[str], references: list[list[str]]) -> float:
    return float(candidate in references)


def _distinct(given: list[list[str]], n: int) -> float:
    found: Grams = Counter()
    for tokens in given:
        found.update(grams(tokens, n))
    return len(found) / max(1, found.total())


_CAPTION_SCORES: dict[str, Callable[[list[str], list[list[str]]], float]] = {
    "rouge_l": _rouge_l,
    "token_f1": _token_f1,
    "exact_match": _exact_match,
}
