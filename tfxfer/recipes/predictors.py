"""What `python -m tfxfer.predict` shows of a saved model: classes, captions, answers, translations, likelihoods."""

import warnings
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tfxfer.errors import UserError
from tfxfer.own_files import read_own_npz

LONGEST = 50  # tokens of a caption where the model has room for them
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Predictor:
    """How a kind of model is asked on the command line.

    Attributes:
        takes: Which of "text", "image" and "question" are given; None: what its model.json names as "input".
        rows: (model, its description, request) -> a row for each input.
        column: Title of what is answered.
        number: Title of the number beside it.
        options: Further options that it takes, of "num_beams" and "max_length".
        pairs: Whether texts and images are given together, one of each for an answer; a side that is not given is
            missing.
        may_take: What may be given besides `takes`, and need not be.
    """

    takes: tuple[str, ...] | None
    rows: Callable[[Any, dict[str, Any], Namespace], Rows]
    column: str = "class"
    number: str = "probability"
    options: tuple[str, ...] = ()
    pairs: bool = False
    may_take: tuple[str, ...] = ()


def images(files: Sequence[str], described: dict[str, Any]) -> Any:
    """Return image files as uint8 [N, H, W, C], of the size and channels that a model takes."""
    import numpy as np

    from tfxfer.data.images import read_image

    return np.stack([np.asarray(read_image(file, described["image_size"], described["channels"])) for file in files])


def best(names: Sequence[str], values: Any, top: int) -> list[list[Any]]:
    """Return the `top` names with their values, the greatest first."""
    order = (-values).argsort(kind="stable")[:top]
    return [[names[i], round(float(values[i]), 4)] for i in order]


def class_rows(model: Any, described: dict[str, Any], request: Namespace) -> Rows:
    """Return for each text or image its `top` classes with probabilities."""
    inputs = request.text or request.image
    if described["input"] == "text":
        probabilities = model.predict(list(inputs))
    elif described["image_size"] is None:  # it takes images of any size, which do not fit into one array
        probabilities = [model.predict(images([file], described))[0] for file in inputs]
    else:
        probabilities = model.predict(images(inputs, described))
    return [{"input": one, "top": best(model.class_names, row, request.top)} for one, row in zip(inputs, probabilities)]


def answer_rows(model: Any, described: dict[str, Any], request: Namespace) -> Rows:
    """Return the `top` answers to every question about every image; "note" says what of a question is not read."""
    import numpy as np

    from tfxfer.transfer.knowledge.question_batches import TruncationWarning, truncated_and_unknown

    tokens = model.text_tower.tokenizer
    cut, unknown = truncated_and_unknown(tokens, request.question)
    pairs = [(i, j) for i in range(len(request.image)) for j in range(len(request.question))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # "note" says it
        found = model.predict(
            images(request.image, described),
            [request.question[j] for _, j in pairs],
            image_index=np.array([i for i, _ in pairs]),
        )
    rows = []
    for (i, j), probabilities in zip(pairs, found.probabilities):
        row = {"input": f"{request.image[i]}: {request.question[j]}"}
        note = "the model knows no word of this question" if unknown[j] else ""
        note = note or (f"only the first {tokens.length} tokens of this question are read" if cut[j] else "")
        rows.append(row | {"top": best(model.answers, probabilities, request.top)} | ({"note": note} if note else {}))
    return rows


def caption_rows(model: Any, described: dict[str, Any], request: Namespace) -> Rows:
    """Return for each image its best captions with their log-probabilities a token, ranked as the run ranks them."""
    beams = request.num_beams or described["num_beams"]
    longest = request.max_length or min(LONGEST, model.max_positions)
    found = model.predict(
        images(request.image, described),
        num_beams=beams,
        max_length=longest,
        num_return_sequences=beams,
        length_penalty=described["length_penalty"],
    )
    return [
        {"input": file, "top": [[text, round(float(score), 3)] for text, score in zip(texts, scores)][: request.top]}
        for file, texts, scores in zip(request.image, found.texts, found.scores)
    ]


def likelihood_rows(model: Any, described: dict[str, Any], request: Namespace) -> Rows:
    """Return for each text the mean log-probability of its tokens, in nats a token, its end among them."""
    return [
        {"input": text, "top": [["", round(float(value), 3)]]}
        for text, value in zip(request.text, model.predict(request.text))
    ]


def retrieval_rows(model: Any, described: dict[str, Any], request: Namespace) -> Rows:
    """Return for each image its best texts, or for each text its best test images, with softmax(K) over all."""
    from scipy.special import softmax

    side = ("texts", "text_vectors") if request.image else ("images", "image_vectors")
    gallery = read_own_npz(described["folder"] / "gallery.npz", "run the experiment again", needed=side)
    names, vectors = (gallery[name] for name in side)
    given = model.encode_images(images(request.image, described)) if request.image else model.encode_texts(request.text)
    probabilities = softmax(given @ vectors.T * float(model.matrix.scale()), axis=1)
    inputs = request.image or request.text
    return [
        {"input": one, "top": best([str(name) for name in names], row, request.top)}
        for one, row in zip(inputs, probabilities)
    ]


def translation_rows(model: Any, described: dict[str, Any], request: Namespace) -> Rows:
    """Return for each text of the first language its `top` texts of the second, with their cosines."""
    one, two = model.languages[:2]
    found = model.predict(request.text, one, two, k=request.top)
    return [
        {"input": text, "top": [[name, round(float(score), 4)] for name, score in zip(names, scores)]}
        for text, names, scores in zip(request.text, found.texts, found.scores)
    ]


def pair_rows(model: Any, described: dict[str, Any], request: Namespace) -> Rows:
    """Return for each pair of an image and a text its `top` classes; "note" says which side is missing."""
    given = images(request.image, described) if request.image else None
    probabilities = model.predict(given, list(request.text) or None)
    missing = "" if request.image and request.text else "text" if request.image else "image"
    note = {"note": f"no {missing}: the mean of the training examples stands for it"} if missing else {}
    inputs = [": ".join(pair) for pair in zip(request.image, request.text)] or request.image or request.text
    tops = [best(model.class_names, row, request.top) for row in probabilities]
    return [{"input": one, "top": top} | note for one, top in zip(inputs, tops)]


def task_rows(model: Any, described: dict[str, Any], request: Namespace) -> Rows:
    """Return the `top` classes, the caption and the `top` answers to each question, for each image.

    The number beside a caption is the geometric mean of the probabilities of its words.
    """
    import numpy as np

    kinds = {task: head.kind for task, head in model.heads.items()}
    if request.question and "vqa" not in kinds.values():
        raise UserError(f"{request.run}: its tasks are {', '.join(kinds)}, and none answers questions; leave it out")
    count, asked = len(request.image), request.question
    index = np.repeat(np.arange(count), len(asked))
    found = model.predict(images(request.image, described), asked * count if asked else None, image_index=index)
    rows = []
    for i, file in enumerate(request.image):
        for task, answers in found.items():
            names, kind = model.heads[task].names, kinds[task]
            if kind == "caption":
                tops = [[[answers.texts[i], round(float(np.exp(answers.scores[i])), 4)]]]
            else:
                places = range(i * len(asked), (i + 1) * len(asked)) if kind == "vqa" else [i]
                tops = [best(names, answers.scores[place], request.top) for place in places]
            inputs = [f"{file}: {one}" for one in asked] if kind == "vqa" else [f"{file} ({task})"]
            rows += [{"input": one, "top": top} for one, top in zip(inputs, tops)]
    return rows


CLASSES = Predictor(None, class_rows)
FUSION = Predictor(("image", "text"), pair_rows, pairs=True)
ANSWERS = Predictor(("image", "question"), answer_rows, "answer")
CAPTIONS = Predictor(("image",), caption_rows, "caption", "nats a token", ("num_beams", "max_length"))
RETRIEVAL = Predictor(("image", "text"), retrieval_rows, "match")
TRANSLATIONS = Predictor(("text",), translation_rows, "translation", "cosine")
TASKS = Predictor(("image",), task_rows, "answer", may_take=("question",))
LIKELIHOODS = Predictor(("text",), likelihood_rows, "", "nats a token")


def check_request(request: Namespace, predictor: Predictor, described: dict[str, Any]) -> None:
    """Raise `UserError` for a request that this model cannot answer."""
    takes = predictor.takes or (described["input"],)
    for name in ("text", "image"):
        if getattr(request, name) and name not in takes:
            wanted = " and ".join(f"--{one}" for one in takes)
            raise UserError(f"{request.run}: this model takes {takes[0]}, not {name}; use {wanted}")
    if request.question and "question" not in (*takes, *predictor.may_take):
        raise UserError(f"{request.run}: this model takes no question; leave out --question")
    if "question" in takes and not request.question:
        raise UserError(f"{request.run}: this model answers questions; ask one with --question")
    for name in ("num_beams", "max_length"):
        if getattr(request, name) is not None and name not in predictor.options:
            raise UserError(
                f"--{name.replace('_', '-')}: {request.run} writes no captions and searches nothing; leave it out"
            )
