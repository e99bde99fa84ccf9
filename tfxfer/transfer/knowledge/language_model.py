"""A decoder that models texts alone: what structure transfer from a BERT leaves where a target has no images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from tfxfer.config import CaptionTrainingConfig
from tfxfer.errors import UserError
from tfxfer.models.saved_folder import load_folder, save_folder
from tfxfer.models.tokenizer import WordPieceTokenizer
from tfxfer.transfer.knowledge.caption_model import inside
from tfxfer.transfer.knowledge.captioner import Captioner, FeatureMaps
from tfxfer.transfer.knowledge.knowledge_matrix import rebuilding


class LanguageModel:
    """The decoder of a `Captioner` beside a blank feature map.

    Args:
        captioner: Its decoder is used; it trains with it.
        max_length: Tokens of a text.

    Example:
        >>> LanguageModel.load("runs/structure-…").predict(["LATIN SMALL LETTER A"])    # doctest: +SKIP
    """

    def __init__(self, captioner: Captioner, max_length: int = 32) -> None:
        self.captioner, self.max_length = captioner, max_length

    def fit(self, texts: Sequence[str], *, training: CaptionTrainingConfig, seed: int = 0, jit: bool = True) -> Self:
        """Train on texts by teacher forcing."""
        self.captioner.fit(self._blank(1), [list(texts)], training=training, seed=seed, jit=jit)
        return self

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Return float [N]: the mean log-probability of each text's tokens in nats a token, its end among them."""
        empty = next((i for i, text in enumerate(texts) if not text.strip()), None)
        if empty is not None:
            raise UserError(f"text {empty} is empty; leave it out")
        return self.captioner.log_likelihood(self._blank(len(texts)), list(texts), self.max_length)

    def score(self, texts: Sequence[str]) -> dict[str, float]:
        """Return the mean log-likelihood in nats a token, and the perplexity, its exponential."""
        mean = float(self.predict(texts).mean())
        return {"log_likelihood": mean, "perplexity": float(np.exp(-mean))}

    def save(self, path: str | Path) -> Path:
        """Write `model.keras` and `model.json` into a folder."""
        tokenizer = self.captioner.tokenizer
        own = {"class": "LanguageModel", "task": "language", "input": "text", "max_length": self.max_length}
        own |= {"vocabulary": tokenizer.vocabulary, "lowercase": tokenizer.lowercase}
        return save_folder(path, self.captioner.end_to_end(), own)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return what `save` wrote, by its folder or the .keras file in it."""
        model, described = load_folder(path, cls.__name__)
        with rebuilding(path, model, "causal_decoder"):
            tokenizer = WordPieceTokenizer(described["vocabulary"], described["lowercase"])
            return cls(Captioner.of(*inside(model), tokenizer), described["max_length"])

    def _blank(self, count: int) -> FeatureMaps:
        return FeatureMaps(np.zeros((count, *self.captioner.encoder.output.shape[1:]), np.float32))
