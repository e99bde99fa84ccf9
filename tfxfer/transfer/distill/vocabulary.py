"""A smaller vocabulary for a student: the word pieces that its texts use most.

In a small language model the table of word pieces is most of the weights: half of MiniLM's. WordPiece splits a word
that is no piece into shorter ones, so a vocabulary with every single character loses no text (Wu et al. 2016).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from tfxfer.errors import UserError

CONTINUES = "##"  # how a piece begins that continues a word
ROUNDS = 3  # pieces that were removed are split into others, which are counted then
LEAST = 2  # times that a piece has to occur


def pruned_vocabulary(
    vocabulary: Sequence[str], texts: Sequence[str], size: int, special: Sequence[str], lowercase: bool = True
) -> list[str]:
    """Return the pieces of a vocabulary that a student keeps, in their order.

    All special pieces stay, and all single characters that occur; then those pieces that occur most often.

    Args:
        vocabulary: The teacher's V pieces.
        texts: What the student will learn from; no text of validation or test.
        size: Number of pieces to keep.
        special: Pieces that stay whatever occurs, such as "[CLS]".
        lowercase: Whether texts are lower-cased first.

    Raises:
        UserError: The size leaves no room for the characters of the texts.
    """
    if size >= len(vocabulary):
        return list(vocabulary)
    return list(_pruned(tuple(vocabulary), tuple(dict.fromkeys(texts)), size, tuple(special), lowercase))


@lru_cache(maxsize=1)  # every seed of a student asks for the same
def _pruned(
    vocabulary: tuple[str, ...], texts: tuple[str, ...], size: int, special: tuple[str, ...], lowercase: bool
) -> list[str]:
    from tfxfer.models.tokenizer import WordPieceTokenizer

    kept = list(vocabulary)
    for _ in range(ROUNDS):
        tokenizer = WordPieceTokenizer(kept, lowercase)
        count = Counter(int(i) for ids in tokenizer._split(texts) for i in ids)
        kept = _most_frequent(vocabulary, {kept[i]: n for i, n in count.items()}, size, special)
    return kept


def _most_frequent(vocabulary: Sequence[str], count: dict[str, int], size: int, special: Iterable[str]) -> list[str]:
    letters = {character for piece in count for character in piece.removeprefix(CONTINUES)}
    always = {piece for piece in vocabulary if piece.removeprefix(CONTINUES) in letters}
    always |= {piece for piece in special if piece in vocabulary}
    if len(always) >= size:
        raise UserError(
            f"--vocabulary {size}: the characters of the texts alone are {len(always):,} word pieces; give more"
        )
    others = sorted((piece for piece in count if piece not in always and count[piece] >= LEAST),
                    key=lambda piece: -count[piece])  # fmt: skip
    chosen = always | set(others[: size - len(always)])
    return [piece for piece in vocabulary if piece in chosen]
