"""The nearest text of an image, in a space that is fitted on true pairs: K = f(X)·g(Y) in closed form.

    φ(X)   features of an image: those of a frozen encoder, or the pixels of the image at 16 x 16 in colour      [N, D]
    f·g    ridge regression from φ to the words of the texts, `ClosedFormCaptioner`, fitted on the true pairs
    CSLS   what ranks the texts: K less how near they are to other images, so that few texts are taken by many  [N, C]
    s(X)   the greatest CSLS of an image and how far it stands out: above the second, and above the mean         [N, 3]
    p      logistic regression from s to "this is its own text" (Platt 1999), fitted on the validation pairs      [N]

p is the confidence. How often it is right is measured on the test pairs, which neither f·g nor p has seen, among as
many texts as there are candidates.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfxfer.data.splits import SPLITS, same_text
from tfxfer.errors import UserError
from tfxfer.transfer.knowledge.closed_form import CELLS, ClosedFormCaptioner
from tfxfer.transfer.knowledge.hubness import csls

if TYPE_CHECKING:
    from tfxfer.data.dataset import Dataset
    from tfxfer.data.fusion.nearest import Nearest
    from tfxfer.data.fusion.query import Query

PIXELS = 16  # side of an image whose pixels are its features
FEWEST = 20  # true pairs in each split
ENCODED = 64  # side of images for an encoder that takes any


def offer(module: Any) -> None:
    """Put the closed form among the methods of `tfxfer.data.fusion.nearest`."""
    module.METHODS["closed_form"] = nearest_texts


def nearest_texts(
    via: "Dataset",
    images: "Dataset",
    candidates: Mapping[str, Sequence[str]],
    query: "Query",
    where: Mapping[str, Any],
) -> "Nearest":
    """Return the nearest candidate of each image of a split, with its confidence.

    Args:
        via: True pairs: train fits f·g, validation chooses the ridge and fits p, test measures it.
        images: A set with images.
        candidates: split -> C distinct texts.
        query: Names the encoder, the image size, and the least confidence for what is said.
        where: `data_dir` and `download`.

    Raises:
        UserError: `via` has too few pairs, or the encoder reads no images.
    """
    from tfxfer.data.fusion.nearest import Nearest

    few = next((split for split in SPLITS if via.sizes[split] < FEWEST), None)
    if few:
        raise UserError(
            f"{via.name} (via=): {via.sizes[few]} pairs in {few} are too few to fit on; give {FEWEST} or more"
        )
    features = _features(query, where)
    known = {split: (features(via, split), via.captions(split)) for split in SPLITS}
    texts = list(candidates["train"])
    closed = ClosedFormCaptioner(consensus=1).fit(*known["train"], validation=known["validation"], candidates=texts)
    judged = {split: _judged(closed, *known[split], texts) for split in ("validation", "test")}
    confidence = _confidence(*judged["validation"])
    best, sure = {}, {}
    for split in SPLITS:
        if len(candidates[split]) and images.sizes[split]:
            best[split], standing = _nearest(closed, features(images, split), list(candidates[split]))
            sure[split] = confidence(standing)
    said = _said(judged["test"], confidence, query, via, max(len(texts), 1))
    return Nearest(best, sure, said)


def _features(query: "Query", where: Mapping[str, Any]) -> Any:
    """Return (data set, split) -> features, float32 [N, D]."""
    if not query.encoder:
        return lambda data, split: _pixels(data, split, query.size or PIXELS)
    from tfxfer.models import source, spec
    from tfxfer.transfer.feature import extract, extractor

    spec.check(query.encoder, where["download"])
    phi = extractor(source(query.encoder, download=where["download"]))
    if len(phi.input.shape) != 4:
        raise UserError(f"encoder={query.encoder}: reads no images; give an image model")
    size = None if None not in phi.input.shape[1:3] else (query.size or ENCODED,) * 2
    return lambda data, split: np.asarray(
        extract(phi, data, split=split, image_size=size, data_dir=where["data_dir"]), np.float32
    )


def _pixels(data: "Dataset", split: str, side: int) -> np.ndarray:
    images = data.arrays(split, image_size=(side, side), channels=3)["image"]
    return images.reshape(len(images), -1) / 255


def _nearest(closed: ClosedFormCaptioner, features: np.ndarray, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of the nearest text of each image, int [N], and how it stands out, float [N, 3]."""
    best, standing = [], []
    step = max(1, CELLS // 4 // len(texts))
    for start in range(0, len(features), step):
        k = csls(closed.scores(features[start : start + step], texts))
        first = k.argmax(1)
        greatest = k.max(1)
        second = np.partition(k, -2, axis=1)[:, -2] if len(texts) > 1 else np.zeros(len(k))
        best.append(first)
        standing.append(np.stack([greatest, greatest - second, greatest - k.mean(1)], 1))
    return np.concatenate(best), np.concatenate(standing)


def _judged(
    closed: ClosedFormCaptioner, features: np.ndarray, captions: Sequence[Sequence[str]], others: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return how the nearest text of each image stands out [N, 3] and whether it is its own, bool [N].

    Its own text and those of the other images stand among the candidates, which fill up to their own number.
    """
    own = list(dict.fromkeys(text for each in captions for text in each))
    taken = {same_text(text) for text in own}
    fill = [text for text in others if same_text(text) not in taken][: max(0, len(others) - len(own))]
    best, standing = _nearest(closed, features, texts := [*own, *fill])
    right = [same_text(texts[i]) in {same_text(text) for text in each} for i, each in zip(best, captions)]
    return standing, np.array(right)


def _confidence(standing: np.ndarray, right: np.ndarray) -> Any:
    """Return [N, 3] -> estimated chance of being right [N]; where all are right or all wrong, a constant near that."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if right.all() or not right.any():
        return lambda some: np.full(len(some), (right.sum() + 1) / (len(right) + 2))
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(standing, right)
    return lambda some: fitted.predict_proba(some)[:, 1]


def _said(judged: tuple[np.ndarray, np.ndarray], confidence: Any, query: "Query", via: "Dataset", among: int) -> str:
    standing, right = judged
    chosen = confidence(standing) >= query.min_confidence
    measured = (
        f"{right[chosen].mean():.1%} of {chosen.sum():,} held-out pairs of {via.name} found their own text"
        if chosen.any()
        else f"no held-out pair of {via.name} is so sure, so it is not known"
    )
    at = f" at confidence {query.min_confidence:g} or more" if query.min_confidence else ""
    return (
        f"pairs by nearest neighbour, fitted on {via.sizes['train']:,} true pairs with "
        f"{query.encoder or 'pixels'} as features; expected precision{at}: {measured}, among {among:,} texts"
    )
