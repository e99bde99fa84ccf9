"""What a retrieval run leaves behind besides its scores: a model that names pictures, and what the report shows."""

from typing import Any

import keras
import numpy as np

from tfxfer.cache import atomic_file, write_json
from tfxfer.data.dataset import Dataset
from tfxfer.recipes.pairs import Pairs
from tfxfer.recipes.task import png
from tfxfer.runs import Run
from tfxfer.transfer.bridges.align import gap, on_text, picture_head
from tfxfer.transfer.knowledge.dual_encoder import DualEncoder

MATRIX, QUERIES, FOUND = 14, 10, 8  # pairs of the heat map, texts that ask, pictures that each is shown


def save(towers: DualEncoder, data: Dataset, pairs: Pairs, how: dict[str, Any], this: Run) -> None:
    """Save the model, and write `pairs.json` for the report: K, the gallery, and what the text tower understands."""
    names = list(dict.fromkeys(text for split in ("train", "validation", "test") for text in pairs.texts[split]))
    with atomic_file(this.folder / "model.keras") as path:
        namer(towers, names).save(path)
    with atomic_file(this.folder / "dual_encoder.keras") as path:
        towers.model().save(path)
    size = how["image_size"] or (data.image_shape and data.image_shape[:2])
    described = {"task": "retrieval", "input": "image", "class_names": names, "image_size": size}
    write_json(this.folder / "model.json", described | {"channels": how["channels"]})
    pictures = data.arrays("test", **how)["image"]
    told = shown(towers, pairs, pictures) | {"label": by_label(towers, data, pairs, this)}
    write_json(this.folder / "pairs.json", told)


def namer(towers: DualEncoder, names: list[str]) -> keras.Model:
    """Return a model from pictures to the probabilities of names: zero-shot, the names' vectors are its head."""
    image = keras.Input(towers.phi.input.shape[1:], name="image")
    vectors = keras.layers.UnitNormalization(name="unit")(towers.picture_side(image))
    head = keras.layers.Dense(len(names), activation="softmax", use_bias=False, dtype="float32", name="names")
    model = keras.Model(image, head(vectors), name="namer")
    head.set_weights([towers.text_vectors(names).T * float(towers.matrix.scale())])
    return model


def shown(towers: DualEncoder, pairs: Pairs, pictures: np.ndarray) -> dict[str, Any]:
    """Return some of K over the test pairs, evenly spaced, and what some texts find among all test pictures."""
    k, ids, texts = towers.K(pairs.features["test"], pairs.texts["test"]), pairs.ids["test"], pairs.texts["test"]
    some = spaced(len(ids), MATRIX)
    right = ids[:, None] == ids[None]  # [N, N]
    matrix = {
        "k": np.round(k[np.ix_(some, some)], 3).tolist(),
        "right": right[np.ix_(some, some)].tolist(),
        "pictures": [png(pictures[i]) for i in some],
        "texts": [texts[i] for i in some],
    }
    queries = []
    for row in spaced(len(ids), QUERIES):
        order = np.argsort(-k[:, row], kind="stable")
        found = [{"png": png(pictures[i]), "right": bool(right[i, row])} for i in order[:FOUND]]
        queries.append({"text": texts[row], "rank": int(right[order, row].argmax()) + 1, "found": found})
    return {"matrix": matrix, "gallery": queries, "test": len(ids)}


def by_label(towers: DualEncoder, data: Dataset, pairs: Pairs, this: Run) -> dict[str, Any] | None:
    """Ask of texts what was learned on labelled pictures (`align`), and of pictures by the names of the classes.

    Returns:
        Shares of right answers on the test split, or None without labels; "majority" always answers the commonest.
    """
    if len(data.class_names) < 2:
        return None
    labels = {split: data.labels(split) for split in data.sizes}
    held_out = (pairs.features["validation"], labels["validation"])
    head = picture_head(towers, pairs.features["train"], labels["train"], validation=held_out,
                        num_classes=len(data.class_names))  # fmt: skip
    of_texts = np.concatenate([p.argmax(1) for p in batches(on_text(towers, head), pairs.texts["test"])])
    of_pictures = head.predict_proba(towers.picture_vectors(pairs.features["test"])).argmax(1)
    zero_shot = towers.zero_shot(pairs.features["test"], data.class_names).argmax(1)
    commonest = np.bincount(labels["train"]).argmax()
    test = labels["test"]
    found = {"texts": of_texts, "pictures": of_pictures, "zero_shot": zero_shot}
    shares = {name: float(np.mean(answers == test)) for name, answers in found.items()}
    shares |= {"majority": float(np.mean(test == commonest)), "classes": len(data.class_names)}
    shares["gap"] = gap(towers, pairs.features["test"], pairs.texts["test"])
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
