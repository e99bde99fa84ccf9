"""What a retrieval run leaves behind besides its scores: models that can be asked, and what the report shows."""

from typing import Any

import keras
import numpy as np

from tfxfer.arms.contrastive import Pairs
from tfxfer.cache import atomic_file, write_json
from tfxfer.data.dataset import Dataset
from tfxfer.data.rows import Rows
from tfxfer.records import Comparison
from tfxfer.runs import Run
from tfxfer.tasks.classification import png
from tfxfer.transfer.bridges.align import gap, on_text, picture_head
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder

MATRIX, QUERIES, FOUND = 14, 10, 8  # pairs of the heat map, texts that ask, pictures that each is shown
NAMES = 20_000  # texts that the saved model can answer with
STRUCTURE_TRANSFERS = ("image_to_text", "text_to_image")


def save(
    towers: DualEncoder, data: Dataset, pairs: Pairs, how: dict[str, Any], comparison: Comparison, this: Run
) -> None:
    """Save what can be asked, and write `pairs.json` for the report.

    model.keras answers a picture with texts, finder.keras a text with test pictures; dual_encoder.keras is both
    towers, {"image" [B, H, W, C], "text" string [C]} -> K [B, C].
    """
    texts = list(dict.fromkeys(text for split in ("test", "validation", "train") for text in pairs.texts(split)))[
        :NAMES
    ]
    models = {"model": namer(towers, texts), "finder": finder(towers, pairs), "dual_encoder": towers.model()}
    for name, model in models.items():
        with atomic_file(this.folder / f"{name}.keras") as path:
            model.save(path)
    size = how["image_size"] or (data.image_shape and data.image_shape[:2])
    described = {"task": "retrieval", "input": "image", "class_names": texts, "image_size": size}
    described |= {"channels": how["channels"]}
    described["also"] = {"text": {"input": "text", "model": "finder.keras", "class_names": picture_names(data)}}
    write_json(this.folder / "model.json", described)
    told = shown(towers, pairs, data.arrays("test", **how)["image"])
    told |= {
        "label": by_label(towers, data, pairs, this),
        "ways": both_ways(comparison, len(pairs.ids["test"]), len(pairs.texts("test"))),
    }
    write_json(this.folder / "pairs.json", told)


def namer(towers: DualEncoder, texts: list[str]) -> keras.Model:
    """Return a model from pictures to the probabilities of texts: zero-shot, the texts' vectors are its head."""
    image = keras.Input(towers.phi.input.shape[1:], name="image")
    vectors = keras.layers.UnitNormalization(name="unit")(towers.picture_side(image))
    return _answering(towers, image, vectors, towers.text_vectors(texts), "namer")


def finder(towers: DualEncoder, pairs: Pairs) -> keras.Model:
    """Return a model from strings to the probabilities of the test pictures, whose vectors are its head."""
    text = keras.Input((), dtype="string", name="text")
    return _answering(towers, text, towers.text_side()(text), towers.picture_vectors(pairs.features["test"]), "finder")


def _answering(towers: DualEncoder, given: Any, vectors: Any, answers: np.ndarray, name: str) -> keras.Model:
    """Return the model softmax(K) of what is given and fixed answers [A, D]."""
    head = keras.layers.Dense(len(answers), activation="softmax", use_bias=False, dtype="float32", name="answers")
    model = keras.Model(given, head(vectors), name=name)
    head.set_weights([answers.T * float(towers.matrix.scale())])
    return model


def picture_names(data: Dataset) -> list[str]:
    """Return what a person knows the test pictures by: their files, else their first text."""
    part = data.splits["test"]
    if isinstance(part, Rows) and part.files:
        return [path.decode() for path in part.files.paths.numpy()[part.index]]
    return [captions[0] for captions in data.captions("test")]


def shown(towers: DualEncoder, pairs: Pairs, pictures: np.ndarray) -> dict[str, Any]:
    """Return some of K over the test pairs, evenly spaced, and what some texts find among all test pictures."""
    texts, owners, ids = pairs.texts("test"), pairs.owners("test"), pairs.ids["test"]
    k = towers.K(pairs.features["test"], texts)  # [P, C]
    some = spaced(len(ids), MATRIX)
    firsts = np.searchsorted(owners, np.arange(len(ids)))  # the first text of each picture
    right = ids[:, None] == ids[owners][None]  # [P, C]
    matrix = {
        "k": np.round(k[np.ix_(some, firsts[some])], 3).tolist(),
        "right": right[np.ix_(some, firsts[some])].tolist(),
        "pictures": [png(pictures[i]) for i in some],
        "texts": [texts[i] for i in firsts[some]],
    }
    ranked = pairs.ranks(k, "test")[1]
    queries = []
    for column in firsts[spaced(len(ids), QUERIES)]:
        order = np.argsort(-k[:, column], kind="stable")[:FOUND]
        found = [{"png": png(pictures[i]), "right": bool(right[i, column])} for i in order]
        queries.append({"text": texts[column], "rank": int(ranked[column]), "found": found})
    told = {"matrix": matrix, "gallery": queries, "test": len(ids), "texts": len(texts)}
    return told | {"temperature": round(1 / float(towers.matrix.scale()), 4)}


def both_ways(comparison: Comparison, pictures: int, texts: int) -> dict[str, Any]:
    """Return recall and median rank of each arm in both directions, at the greatest budget, means over seeds.

    The last row, "guessing", is what a random order of all answers is expected to reach.
    """
    budget = comparison.budgets[-1]
    rows: dict[str, Any] = {}
    for arm in comparison.arms:
        records = comparison.select(arm, budget)
        if not records:
            continue
        medians = np.mean([record.settings["median_ranks"] for record in records], 0)
        rows[arm] = {
            way: {
                **{
                    f"recall@{n}": float(np.mean([r.metrics[f"{way}_recall_at_{n}"] for r in records]))
                    for n in (1, 5, 10)
                },
                "median rank": float(median),
            }
            for way, median in zip(STRUCTURE_TRANSFERS, medians)
        }
    rows["guessing"] = {STRUCTURE_TRANSFERS[0]: guessing(texts, texts / pictures), STRUCTURE_TRANSFERS[1]: guessing(pictures, 1)}
    return {"budget": budget, "arms": rows}


def guessing(answers: int, right: float) -> dict[str, float]:
    """Return expected recall and median rank of a random order of answers, `right` of which are right.

    >>> guessing(100, 1)
    {'recall@1': 0.01, 'recall@5': 0.05, 'recall@10': 0.1, 'median rank': 50.0}
    """
    wrong = 1 - right / (answers - np.arange(answers))  # of each place, when no place before it was right
    found = 1 - np.cumprod(np.clip(wrong, 0, 1))  # by place
    recalls = {f"recall@{k}": round(float(found[min(k, answers) - 1]), 6) for k in (1, 5, 10)}
    return recalls | {"median rank": float(1 + (found < 0.5 - 1e-9).sum())}


def by_label(towers: DualEncoder, data: Dataset, pairs: Pairs, this: Run) -> dict[str, Any] | None:
    """Ask of texts what was learned on labelled pictures (`align`), and of pictures by the names of the classes.

    Returns:
        Shares of right answers on the test split, or None without labels; "majority" always answers the commonest.
    """
    if len(data.class_names) < 2:
        return None
    labels = {split: data.labels(split) for split in data.sizes}
    head = picture_head(
        towers,
        pairs.features["train"],
        labels["train"],
        validation=(pairs.features["validation"], labels["validation"]),
        num_classes=len(data.class_names),
    )
    of_texts = np.concatenate([p.argmax(1) for p in batches(on_text(towers, head), pairs.texts("test"))])
    of_pictures = head.predict_proba(towers.picture_vectors(pairs.features["test"])).argmax(1)
    zero_shot = towers.zero_shot(pairs.features["test"], data.class_names).argmax(1)
    commonest = np.bincount(labels["train"]).argmax()
    test = labels["test"]
    shares: dict[str, Any] = {
        "texts": float(np.mean(of_texts == test[pairs.owners("test")])),
        "pictures": float(np.mean(of_pictures == test)),
        "zero_shot": float(np.mean(zero_shot == test)),
        "majority": float(np.mean(test == commonest)),
        "classes": len(data.class_names),
        "gap": gap(towers, pairs.features["test"], pairs.texts("test")),
    }
    this.say(
        "align: a head that saw labelled pictures only is right about {texts:.0%} of unseen texts and "
        "{pictures:.0%} of unseen pictures, of {classes} classes; the commonest class alone {majority:.0%}; "
        "pictures by the names of the classes (zero-shot) {zero_shot:.0%}".format(**shares)
    )
    return shares


def batches(model: keras.Model, texts: list[str], size: int = 256) -> Any:
    """Yield the model's answers to texts, a batch at a time."""
    import tensorflow as tf

    for start in range(0, len(texts), size):
        yield np.asarray(model(tf.constant(texts[start : start + size]), training=False))


def spaced(count: int, wanted: int) -> np.ndarray:
    """Return up to `wanted` different row numbers of `count`, evenly spaced.

    >>> spaced(10, 4).tolist()
    [0, 3, 6, 9]
    """
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(int))
