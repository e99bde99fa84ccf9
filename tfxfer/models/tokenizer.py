"""Word pieces to numbers and back, for models that write."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError

NEEDED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Vocabulary:
    """BERT's word pieces: a caption is [CLS] pieces [SEP], so [CLS] begins it and [SEP] ends it.

    Args:
        pieces: The V word pieces in the order of their numbers.
        lowercase: Whether texts are lower-cased and lose their accents, as the pieces were.

    Raises:
        UserError: A token that BERT needs is missing.
    """

    def __init__(self, pieces: Sequence[str], lowercase: bool = True) -> None:
        missing = [token for token in NEEDED if token not in pieces]
        if missing:
            raise UserError(f"the vocabulary of {len(pieces)} word pieces has no {', '.join(missing)}")
        import keras_hub

        self.pieces, self.lowercase = list(pieces), lowercase
        self.tokenizer = keras_hub.tokenizers.BertTokenizer(
            vocabulary=self.pieces, lowercase=lowercase, strip_accents=lowercase
        )
        self.pad, self.unknown, self.start, self.end, self.mask = (self.pieces.index(token) for token in NEEDED)
        self._known: dict[str, np.ndarray] = {}  # text -> its pieces: the same captions are asked for again and again

    @classmethod
    def read(cls, folder: str | Path) -> "Vocabulary":
        """Return the vocabulary in a model's folder: `vocab.txt`, `vocabulary.txt` or KerasHub's tokenizer assets.

        Texts are lower-cased unless the folder's `tokenizer_config.json` (Hugging Face) or `tokenizer.json` (KerasHub)
        says otherwise, as that of a cased BERT does.

        Raises:
            UserError: There is none; without its own vocabulary a language model cannot be asked. Or its settings
                cannot be read.
        """
        names = ("vocab.txt", "vocabulary.txt", "assets/tokenizer/vocabulary.txt")
        file = next((Path(folder) / name for name in names if (Path(folder) / name).is_file()), None)
        if file is None:
            raise UserError(
                f"{folder}: has no tokenizer ({names[0]}); copy the one that the model was trained with there"
            )
        return cls(file.read_text(encoding="utf-8").split("\n")[: _lines(file)], _lowercase(Path(folder)))

    def numbers(self, texts: Sequence[str], length: int) -> tuple[np.ndarray, int]:
        """Return int32 [N, length], padded, and how many texts were longer and are cut before their end token."""
        if length < 3:
            raise UserError(f"a length of {length} leaves no room for a word between [CLS] and [SEP]; give 3 or more")
        found = np.full((len(texts), length), self.pad, np.int32)
        cut = 0
        for row, ids in enumerate(self._split(texts)):
            cut += len(ids) > length - 2
            ids = np.concatenate([[self.start], ids[: length - 2], [self.end]])
            found[row, : len(ids)] = ids
        return found, cut

    def _split(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the numbers of each text's pieces."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= {text: np.asarray(ids) for text, ids in zip(new, self.tokenizer(tf.constant(new)))}
        return [self._known[text] for text in texts]

    def texts(self, numbers: np.ndarray) -> list[str]:
        """Return the texts of token numbers [N, L], without special tokens, up to the first end token."""
        return [" ".join(self.words(row)) for row in np.asarray(numbers)]

    def words(self, row: np.ndarray) -> list[str]:
        """Return the words of one text, whose pieces are joined."""
        return ["".join(self.pieces[i].removeprefix("##") for i in word) for word in self.grouped(row)]

    def grouped(self, row: np.ndarray) -> list[list[int]]:
        """Return the numbers of the pieces of each word."""
        groups: list[list[int]] = []
        for i in map(int, row):
            if i == self.end:
                break
            if i in (self.start, self.pad):
                continue
            if self.pieces[i].startswith("##") and groups:
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups


def _lowercase(folder: Path) -> bool:
    """Return whether a tokenizer lower-cases, by Hugging Face's settings or KerasHub's."""
    for name, keys in (("tokenizer_config.json", ("do_lower_case",)), ("tokenizer.json", ("config", "lowercase"))):
        if not (folder / name).is_file():
            continue
        try:
            found: Any = json.loads((folder / name).read_text(encoding="utf-8"))
        except ValueError as error:  # not JSON, or not UTF-8
            raise UserError(f"{folder / name}: is no JSON ({error}); copy the model's own file there again") from error
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, bool):
            return found
    return True


def _lines(file: Path) -> int:
    text = file.read_text(encoding="utf-8")
    return text.count("\n") + (not text.endswith("\n"))
