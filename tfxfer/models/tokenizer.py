"""WordPiece tokenization as BERT does it: texts to token ids and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfxfer.errors import UserError
from tfxfer.given_files import read_given_json, read_given_text

NEEDED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LARGEST = 100_000_000  # bytes of a tokenizer's file


class WordPieceTokenizer:
    """BERT's WordPiece tokenizer: a text is [CLS] pieces [SEP], so [CLS] is the start token and [SEP] the end token.

    Args:
        vocabulary: The V word pieces in the order of their ids.
        lowercase: Whether texts are lower-cased and their accents stripped, as in the training of the vocabulary.

    Raises:
        UserError: A special token of BERT is missing.
    """

    def __init__(self, vocabulary: Sequence[str], lowercase: bool = True) -> None:
        missing = [token for token in NEEDED if token not in vocabulary]
        if missing:
            raise UserError(f"the vocabulary of {len(vocabulary)} word pieces has no {', '.join(missing)}")
        import keras_hub

        self.vocabulary, self.lowercase = list(vocabulary), lowercase
        self.tokenizer = keras_hub.tokenizers.BertTokenizer(
            vocabulary=self.vocabulary, lowercase=lowercase, strip_accents=lowercase
        )
        ids = (self.vocabulary.index(token) for token in NEEDED)
        self.pad_id, self.unknown_id, self.start_id, self.end_id, self.mask_id = ids
        self._cache: dict[str, np.ndarray] = {}  # text -> ids of its pieces: the same captions are encoded many times

    @classmethod
    def from_folder(cls, folder: str | Path) -> "WordPieceTokenizer":
        """Read the tokenizer in the folder of a model: `vocab.txt`, `vocabulary.txt` or KerasHub's tokenizer assets.

        Texts are lower-cased unless `tokenizer_config.json` (Hugging Face) or `tokenizer.json` (KerasHub) has another
        setting, as for a cased BERT.

        Raises:
            UserError: There is none, and a language model needs its own vocabulary; or its settings cannot be read.
        """
        names = ("vocab.txt", "vocabulary.txt", "assets/tokenizer/vocabulary.txt")
        file = next((Path(folder) / name for name in names if (Path(folder) / name).is_file()), None)
        if file is None:
            raise UserError(
                f"{folder}: has no tokenizer ({names[0]}); copy the one that the model was trained with there"
            )
        text = read_given_text(file, "copy the model's own file there again", LARGEST)
        return cls(text.removesuffix("\n").split("\n"), _lowercase(Path(folder)))

    def encode(self, texts: Sequence[str], length: int) -> tuple[np.ndarray, int]:
        """Return int32 [N, length], padded, and how many texts were longer and are cut before their end token."""
        if length < 3:
            raise UserError(f"a length of {length} leaves no room for a word between [CLS] and [SEP]; give 3 or more")
        token_ids = np.full((len(texts), length), self.pad_id, np.int32)
        cut = 0
        for row, ids in enumerate(self._split(texts)):
            cut += len(ids) > length - 2
            ids = np.concatenate([[self.start_id], ids[: length - 2], [self.end_id]])
            token_ids[row, : len(ids)] = ids
        return token_ids, cut

    def _split(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each text's pieces."""
        new = [text for text in dict.fromkeys(texts) if text not in self._cache]
        if new:
            self._cache |= {text: np.asarray(ids) for text, ids in zip(new, self.tokenizer(tf.constant(new)))}
        return [self._cache[text] for text in texts]

    def decode(self, token_ids: np.ndarray) -> list[str]:
        """Return the texts of token ids [N, L], without special tokens, up to the first end token."""
        return [" ".join(self.decode_words(row)) for row in np.asarray(token_ids)]

    def decode_words(self, row: np.ndarray) -> list[str]:
        """Return the words of one text, with their pieces joined."""
        return ["".join(self.vocabulary[i].removeprefix("##") for i in word) for word in self.group_pieces(row)]

    def group_pieces(self, row: np.ndarray) -> list[list[int]]:
        """Return the ids of the pieces of each word."""
        groups: list[list[int]] = []
        for i in map(int, row):
            if i == self.end_id:
                break
            if i in (self.start_id, self.pad_id):
                continue
            if self.vocabulary[i].startswith("##") and groups:
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups


def _lowercase(folder: Path) -> bool:
    """Return whether a tokenizer lower-cases, by Hugging Face's settings or KerasHub's."""
    for name, keys in (("tokenizer_config.json", ("do_lower_case",)), ("tokenizer.json", ("config", "lowercase"))):
        if not (folder / name).is_file():
            continue
        value: Any = read_given_json(folder / name, "copy the model's own file there again", LARGEST)
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, bool):
            return value
    return True
