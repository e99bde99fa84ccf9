"""Merging models of one architecture into one, on their weights alone: soups, task vectors, TIES, DARE, WiSE-FT.

A model is a dict from the path of a weight to its array; all models of a merge have the same paths and shapes. Models
that were not fine-tuned from one start do not merge well: their units stand for different features
(`weight_similarity` tells). Every result is new; no given array changes.

Statistics of batch normalisation are no parameters: what no gradient has moved is not trimmed, dropped or scaled. Name
them in `statistics`. In a soup they get the mean of the models. On the way from a base they go the same share of the
way to that mean, and never past it, for a variance must not become negative. Either is an approximation: where training
examples are at hand, estimate them again (`tfxfer.models.batch_statistics`). Scale and offset of batch and layer
normalisation are trained, and are merged as all other weights are.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from tfxfer.errors import UserError
from tfxfer.transfer.structure.weight_map.mixing import Average, Delta, Mix

Weights = Mapping[str, np.ndarray]
SAME_START = 0.5  # median correlation of kernels above which models are taken to have one start
KERNEL = 16  # entries that a kernel needs for its correlation to say something


# === Averages ===


def uniform_soup(models: Sequence[Weights]) -> dict[str, np.ndarray]:
    """Return the plain average of the weights (Wortsman et al. 2022, "Model soups").

    Args:
        models: One or more.

    >>> uniform_soup([{"w": np.array([0.0, 2.0])}, {"w": np.array([1.0, 4.0])}])["w"].tolist()
    [0.5, 3.0]
    """
    _check_alike(models)
    return {path: _of_floats(Average(), [model[path] for model in models]) for path in models[0]}


def greedy_soup(
    models: Sequence[Weights], score: Callable[[Weights], float], scores: Sequence[float] | None = None
) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
    """Return the greedy soup and the places of the models in it (Wortsman et al. 2022, algorithm 1).

    The models are tried from the best to the worst; one is kept if the average with it scores no less than without.

    Args:
        models: One or more.
        score: Weights -> score on the validation split, the greater the better.
        scores: Those of the models, where they are known.
    """
    _check_alike(models)
    known = list(scores) if scores is not None else [score(model) for model in models]
    order = sorted(range(len(models)), key=lambda place: -known[place])
    kept, best = order[:1], known[order[0]]
    for place in order[1:]:
        tried = score(uniform_soup([models[one] for one in (*kept, place)]))
        if tried >= best:
            kept, best = [*kept, place], tried
    return uniform_soup([models[place] for place in kept]), tuple(kept)


def interpolate(first: Weights, second: Weights, share: float) -> dict[str, np.ndarray]:
    """Return the point on the line between two models: (1 − share) · first + share · second.

    With the model before fine-tuning as the first and the fine-tuned one as the second it is WiSE-FT (Wortsman et al.
    2022, "Robust fine-tuning of zero-shot models").

    >>> interpolate({"w": np.array([0.0])}, {"w": np.array([4.0])}, 0.25)["w"].tolist()
    [1.0]
    """
    _check_share("α", share)
    _check_alike((first, second))
    return {path: _of_floats(Mix(share=share), [first[path], second[path]]) for path in first}


def ensemble(probabilities: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of what several models predict, [N, C] each. It costs as many models as there are."""
    return np.asarray(np.mean(np.stack(probabilities), axis=0, dtype=np.float64), np.float32)


# === Over a base ===


def task_vectors(
    base: Weights, models: Sequence[Weights], scale: float, statistics: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Return θ₀ + λ Σ (θᵢ − θ₀) (Ilharco et al. 2023). With λ = 1 over the number of models it is their average.

    Args:
        base: θ₀, what all models were fine-tuned from.
        models: θᵢ, one or more.
        scale: λ.
        statistics: Paths of statistics.

    >>> task_vectors({"w": np.array([1.0])}, [{"w": np.array([2.0])}, {"w": np.array([4.0])}], 0.5)["w"].tolist()
    [3.0]
    """
    _check_alike((base, *models))
    op = Delta(scale=(float(scale),))
    moved = {path: _of_floats(op, [base[path], *(m[path] for m in models)]) for path in base if path not in statistics}
    return _whole(base, models, moved, scale * len(models))


def ties(
    base: Weights, models: Sequence[Weights], keep: float, scale: float = 1.0, statistics: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Return the TIES merge (Yadav et al. 2023): trim, elect a sign, average those that agree.

    Of each task vector the share `keep` of greatest magnitude stays, over all its weights together. The sign of each
    weight is that of the sum of what stays. The mean is over the models that have this sign there.

    Args:
        base: What all models were fine-tuned from.
        models: One or more.
        keep: k, the share of each task vector that stays, 0..1.
        scale: λ of the merged task vector.
        statistics: Paths of statistics.
    """
    _check_share("k", keep)
    _check_alike((base, *models))
    paths = _trained(base, statistics)
    trimmed = np.stack([_trim(vector, keep) for vector in _vectors(base, models, paths)])  # [models, parameters]
    agrees = np.sign(trimmed) == np.sign(trimmed.sum(axis=0))
    agrees &= trimmed != 0
    merged = np.where(agrees, trimmed, 0).sum(axis=0) / np.maximum(1, agrees.sum(axis=0))
    return _whole(base, models, _added(base, paths, scale * merged), scale)


def dare(
    base: Weights, models: Sequence[Weights], drop: float, scale: float, seed: int, statistics: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Return the DARE merge (Yu et al. 2024): drop entries of each task vector at random, rescale the others, add.

    θ₀ + λ Σ mᵢ ⊙ (θᵢ − θ₀) / (1 − p), where an entry of mᵢ is 0 with probability p. Its result depends on the seed:
    report several.

    Args:
        base: What all models were fine-tuned from.
        models: One or more.
        drop: p, 0 ≤ p < 1.
        scale: λ.
        seed: Of the masks.
        statistics: Paths of statistics.
    """
    _check_share("p", drop)
    if drop == 1:
        raise UserError("p = 1 drops every entry; give less than 1")
    _check_alike((base, *models))
    paths, rng = _trained(base, statistics), np.random.default_rng(seed)
    merged = sum(vector * (rng.random(vector.size) >= drop) / (1 - drop) for vector in _vectors(base, models, paths))
    return _whole(base, models, _added(base, paths, scale * np.asarray(merged)), scale * len(models))


# === What the weights tell ===


def weight_similarity(first: Weights, second: Weights) -> float:
    """Return the median of the correlations of the kernels of two models, −1..1.

    Fine-tuning moves a kernel by a part of its size, so models of one start stay correlated; kernels of two random
    starts are not. Vectors, such as biases, are left out: most start at 0 or 1.

    >>> one = {"w": np.arange(16.0).reshape(4, 4)}
    >>> round(weight_similarity(one, {"w": one["w"] + 3}), 6)
    1.0
    """
    _check_alike((first, second))
    kernels = [path for path, array in first.items() if array.ndim > 1 and _is_float(array)]
    large = [path for path in kernels if first[path].size >= KERNEL] or kernels
    return float(np.median([_correlation(first[path], second[path]) for path in large])) if large else 1.0


def loss_barrier(losses: Sequence[float]) -> float:
    """Return how far the loss on the line between two models rises above the straight line between their losses.

    With ends of one loss it is the barrier of Frankle et al. (2020), who subtract the mean of both. With other ends
    that mean would make a barrier of the worse end itself (Entezari et al. 2022).

    Args:
        losses: At equal steps along the line, the two models first and last. At 0 they are linearly connected.

    >>> loss_barrier([1.0, 2.5, 2.0]), loss_barrier([2.0, 1.0, 2.0]), loss_barrier([2.0, 1.4, 1.0])
    (1.0, 0.0, 0.0)
    """
    return float(np.max(np.asarray(losses) - np.linspace(losses[0], losses[-1], len(losses))))


# === Parts ===


def _is_float(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" or "float" in array.dtype.name  # bfloat16 is of kind "V"


def _of_floats(op: Average | Mix | Delta, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return what an operation makes of floats, in the first one's type; whole numbers, as states of seeds, stay."""
    if not _is_float(arrays[0]):
        return arrays[0].copy()
    return op.apply(*arrays).astype(arrays[0].dtype)


def _whole(base: Weights, models: Sequence[Weights], moved: Mapping[str, np.ndarray], share: float) -> dict:
    """Return the moved weights and, as far as the share of the way from base to mean, the statistics."""
    rest = {path: array for path, array in base.items() if path not in moved}
    if not rest:
        return {path: moved[path] for path in base}
    mean = uniform_soup([{path: model[path] for path in rest} for model in models])
    went = interpolate(rest, mean, min(1.0, max(0.0, share)))
    return {path: moved[path] if path in moved else went[path] for path in base}


def _trained(base: Weights, statistics: Collection[str]) -> list[str]:
    return [path for path, array in base.items() if path not in statistics and _is_float(array)]


def _vectors(base: Weights, models: Sequence[Weights], paths: Sequence[str]) -> list[np.ndarray]:
    """Return the task vector of each model, float64 [parameters]."""
    return [
        np.concatenate([(model[p].astype(np.float64) - base[p].astype(np.float64)).ravel() for p in paths])
        for model in models
    ]


def _added(base: Weights, paths: Sequence[str], vector: np.ndarray) -> dict[str, np.ndarray]:
    """Return the weights of the paths with a vector added that `_vectors` would give."""
    made, start = {}, 0
    for path in paths:
        array = base[path]
        part = vector[start : start + array.size].reshape(array.shape)
        made[path] = (array.astype(np.float64) + part).astype(array.dtype)
        start += array.size
    return made


def _trim(vector: np.ndarray, keep: float) -> np.ndarray:
    """Return a vector with 0 for all but the share of greatest magnitude; equal magnitudes stay together."""
    count = round(keep * vector.size)
    if count == 0:
        return np.zeros_like(vector)
    size = np.abs(vector)
    return np.where(size >= np.partition(size, -count)[-count], vector, 0.0)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    one, other = (array.astype(np.float64).ravel() - array.astype(np.float64).mean() for array in (first, second))
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / size if size > 0 else float(np.array_equal(first, second))


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise UserError(f"{name} = {share:g} is a share; give a number from 0 to 1")


def _check_alike(models: Sequence[Weights]) -> None:
    """Raise `UserError` unless all models have the same paths and shapes."""
    if not models:
        raise UserError("there is no model to merge; give one or more")
    shapes = {path: array.shape for path, array in models[0].items()}
    for place, model in enumerate(models[1:], 2):
        if list(model) != list(shapes):
            odd = sorted({*model} ^ {*shapes})
            raise UserError(f"model {place} has other weights than model 1: {', '.join(odd[:3]) or 'in another order'}")
        path = next((path for path in shapes if model[path].shape != shapes[path]), None)
        if path is not None:
            sizes = f"shape {list(model[path].shape)} in model {place}, {list(shapes[path])} in model 1"
            raise UserError(f"{path}: {sizes}")
