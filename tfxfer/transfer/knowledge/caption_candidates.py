"""Rank retrieved and generated captions together: K = f·g + β·h.

    pool   the k candidates with the greatest f·g, and the hypotheses of beam search                  [N][R]
    f·g    the cosine of image and caption in closed form (`ClosedFormCaptioner`); with consensus,
           that of the caption and the best candidates                                                  [N, R]
    h      log p(caption | image) a token, by the decoder                                              [N, R]

Retrieval proposes captions that people wrote; the decoder proposes new ones. β is chosen on validation.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tfxfer.errors import UserError
from tfxfer.transfer.knowledge.caption_ranking import choose_weight
from tfxfer.transfer.knowledge.closed_form import ClosedFormCaptioner

BETAS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # that validation chooses from; 0 leaves h out
RETRIEVED = 5  # candidates of the greatest f·g in a pool

Likelihood = Callable[[np.ndarray, list[list[str]]], np.ndarray]  # (maps [N, …], texts [N][R]) -> h [N, R]
Worth = Callable[[list[str]], np.ndarray]  # a caption for each validation image -> its score, [N]


class CandidatePool:
    """Captions to choose from, and the weight β of the decoder's opinion.

    Args:
        closed_form: f·g, fitted.
        texts: The candidates.
        beta: Weight of h beside f·g.
        retrieved: Candidates of the greatest f·g in a pool.
    """

    def __init__(
        self, closed_form: ClosedFormCaptioner, texts: Sequence[str], beta: float = 0.0, retrieved: int = RETRIEVED
    ) -> None:
        self.closed_form, self.texts, self.beta, self.retrieved = closed_form, list(texts), beta, retrieved

    def pool(self, maps: np.ndarray, beams: Sequence[Sequence[str]], texts: Sequence[str] | None = None) -> Any:
        """Return the pool [N][R] of each image: its retrieved candidates, then its beams."""
        found = self.closed_form.predict(maps, self.texts if texts is None else texts, self.retrieved).texts
        return [[*row, *own] for row, own in zip(found, beams)]

    def choose(self, maps: np.ndarray, beams: Sequence[Sequence[str]], h: Likelihood, worth: Worth) -> float:
        """Set β to what gives the validation images the best captions; return it.

        Args:
            maps: Maps of the validation images.
            beams: Hypotheses of beam search [N][B].
            h: The decoder's log-likelihoods.
            worth: The score of one caption an image, such as CIDEr-D.
        """
        pool = self.pool(maps, beams)
        columns = [worth([row[place] for row in pool]) for place in range(len(pool[0]))]
        fg = self.closed_form.terms(maps, pool, self.texts)
        self.beta = choose_weight(fg, h(maps, pool), np.stack(columns, 1), BETAS)
        return self.beta

    def rank(
        self, maps: np.ndarray, beams: Sequence[Sequence[str]], h: Likelihood, texts: Sequence[str] | None = None
    ) -> tuple[list[list[str]], np.ndarray]:
        """Return the pool [N][R] of each image, the greatest K first, and h, float [N, R]; repeated texts are last."""
        pool = self.pool(maps, beams, texts)
        likelihoods = h(maps, pool)
        k = self.closed_form.terms(maps, pool, self.texts if texts is None else texts) + self.beta * likelihoods
        again = np.array([[text in row[:place] for place, text in enumerate(row)] for row in pool])
        order = np.argsort(-np.where(again, -np.inf, k), axis=1, kind="stable")
        ranked = [[row[i] for i in places] for row, places in zip(pool, order)]
        return ranked, np.take_along_axis(likelihoods, order, 1)

    def state(self) -> dict[str, np.ndarray]:
        """Return what was fitted, as arrays to keep."""
        own = {"beta": np.array(self.beta), "retrieved": np.array(self.retrieved)}
        return own | {"texts": np.array(self.texts, dtype=np.str_)} | self.closed_form.state()

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> "CandidatePool":
        """Return the pool that `state` was taken of."""
        texts = [str(text) for text in state["texts"]]
        closed_form = ClosedFormCaptioner.from_state(state)
        return cls(closed_form, texts, float(state["beta"]), int(state["retrieved"]))


def checked_candidates(texts: Sequence[str]) -> list[str]:
    """Return candidates, each once and without empty ones.

    Raises:
        UserError: There are fewer than two, so that nothing can be chosen.
    """
    if isinstance(texts, str):
        raise UserError("candidates: give a list of captions, not one text")
    found = list(dict.fromkeys(text for text in texts if text.strip()))
    if len(found) < 2:
        raise UserError(f"candidates: {len(found)} different captions leave nothing to choose; give two or more")
    return found
