"""The test examples of a run, loaded again: what raters see, and whether two runs were tested on the same."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tfxfer.config import TargetConfig
from tfxfer.errors import UserError
from tfxfer.rate.systems import RatedRun

LARGEST_SIDE = 768  # pixels of an image on the page
JPEG_QUALITY = 88
MOST_NAMED = 12  # classes that a question lists
AGAIN = "put the data back as they were, or run the experiment again"


@dataclass(frozen=True)
class TestSet:
    """N test examples, in the order of a run's records.

    Attributes:
        references: The true captions, answer or class of each example, N lists.
        questions: The question of each; empty where none is asked.
        texts: The text of each; empty where the model saw an image.
        digests: uint64 [N], of the image's bytes or of the text: equal where examples are the same.
        images: Reads the image of some rows; None where there is none.
    """

    __test__ = False  # pytest takes a class of this name for tests

    references: list[list[str]] = field(repr=False)
    questions: list[str] = field(repr=False)
    texts: list[str] = field(repr=False)
    digests: np.ndarray = field(repr=False)
    images: Any = field(repr=False, default=None)

    def encoded(self, rows: Sequence[int]) -> list[bytes | None]:
        """Return the images of some rows as the bytes of a PNG or JPEG; None where there is none."""
        return [None] * len(rows) if self.images is None else [encoded(pixels) for pixels in self.images(rows)]

    def differs(self, other: "TestSet") -> str:
        """Return in words what differs first between two test sets; "" where they are the same."""
        if len(self.references) != len(other.references):
            return f"{len(self.references):,} and {len(other.references):,} examples"
        for row, (one, two) in enumerate(zip(self.references, other.references)):
            if one != two:
                return f"example {row} is '{shown(one)}' in the first and '{shown(two)}' in the second"
        if self.questions != other.questions:
            return "other questions"
        odd = np.flatnonzero(self.digests != other.digests)
        return f"example {odd[0]} has another image or text" if len(odd) else ""


def shown(references: Sequence[str]) -> str:
    """Return the first of some references, short enough for a message."""
    return f"{references[0]:.60}" if references else ""


def encoded(pixels: np.ndarray) -> bytes:
    """Return uint8 [H, W, C] as a PNG; a larger image as a JPEG of at most `LARGEST_SIDE` pixels a side."""
    from PIL import Image

    pixels = np.asarray(pixels, np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    buffer = io.BytesIO()
    if max(image.size) <= 128:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def media_type(image: bytes) -> str:
    """Return the media type of what `encoded` returns."""
    return "image/png" if image.startswith(b"\x89PNG") else "image/jpeg"


# === Loading ===


def load_test_set(run: RatedRun, target: TargetConfig, data_dir: str | None, download: bool) -> TestSet:
    """Load the test examples of a run, and check that they are those it was scored on.

    Args:
        run: The run.
        target: Its target, from its `config.yaml`.
        data_dir: Prepared data.
        download: Whether data sets may be downloaded.

    Raises:
        UserError: The data are missing, or have changed since the run.
    """
    load = {"captions": _captions, "answers": _answers, "classes": _classes}[run.kind]
    found = load(run, target, {"data_dir": data_dir, "download": download})
    check_unchanged(found, run)
    return found


def check_unchanged(found: TestSet, run: RatedRun) -> None:
    """Compare test examples with what the run kept of them; raises `UserError` that names the first that differs."""
    count = len(run.comparison.labels)
    if len(found.references) != count:
        raise UserError(
            f"{run.folder}: was tested on {count:,} examples, and its data have {len(found.references):,} now; {AGAIN}"
        )
    names = run.comparison.class_names
    for row, label in enumerate(run.comparison.labels if names else ()):
        if found.references[row] != [names[label]]:
            _changed(run, row, names[label], shown(found.references[row]))
    for example in run.comparison.examples:
        place, true = example.get("index"), example.get("true")
        if isinstance(place, int) and isinstance(true, str) and 0 <= place < count:
            now = " · ".join(found.references[place])
            if now != true:
                _changed(run, place, true, now)


def _changed(run: RatedRun, row: int, then: str, now: str) -> None:
    raise UserError(
        f"{run.folder}: its data have changed since the run: test example {row} was '{then:.60}' and is '{now:.60}' "
        f"now; {AGAIN}"
    )


def _images(dataset: Any, rows: np.ndarray) -> Any:
    """Return a reader of the images of some of `rows` of the test split, as they are stored."""
    if "image" not in dataset.keys:
        return None

    def read(wanted: Sequence[int]) -> list[np.ndarray]:
        part = dataset.splits["test"].take(np.asarray(rows)[list(wanted)])
        few = replace(dataset, splits=dataset.splits | {"test": part}, _in_memory={})
        return [example["image"].numpy() for example in few.test]

    return read


def _captions(run: RatedRun, target: TargetConfig, where: dict[str, Any]) -> TestSet:
    import tfxfer
    from tfxfer.tasks.captioned_images import one_per_caption

    dataset = tfxfer.load(target.spec, **target.columns("image", "caption"), **target.reading(), **where)
    rows, references = one_per_caption(dataset, "test", target.max_test)
    digests = dataset.digests("test", "image")[rows]
    return TestSet(references, [], [], digests, _images(dataset, rows))


def _answers(run: RatedRun, target: TargetConfig, where: dict[str, Any]) -> TestSet:
    import tfxfer
    from tfxfer.tasks.visual_questions import about_characters, from_columns, images_kept, made_here

    dataset = tfxfer.load(target.spec, **target.columns("image", "question", "answer"), **target.reading(), **where)
    asked = about_characters(dataset, "test") if made_here(dataset) else from_columns(dataset, "test")
    kept = images_kept(asked, target.max_test)
    first: dict[int, Any] = {}
    for row in asked:
        first.setdefault(row.image, row)
    questions = [first[int(image)] for image in kept]
    digests = dataset.digests("test", "image")[kept]
    texts = [row.text for row in questions]
    return TestSet([[row.answer] for row in questions], texts, [], digests, _images(dataset, kept))


def _classes(run: RatedRun, target: TargetConfig, where: dict[str, Any]) -> TestSet:
    import tfxfer

    dataset = tfxfer.load(target.spec, **target.columns("text", "image", "label"), **target.reading(), **where)
    names = run.comparison.class_names
    if set(names) < set(dataset.class_names):
        dataset = dataset.with_classes(names)
    dataset = dataset.with_at_most(test=target.max_test or None, seed=0)
    texts = any("text" in example for example in run.comparison.examples) or "image" not in dataset.keys
    key = "text" if texts else "image"
    found = dataset.texts("test") if texts else []
    references = [[dataset.class_names[label]] for label in dataset.labels("test")]
    images = None if texts else _images(dataset, np.arange(dataset.sizes["test"]))
    asked = f"Which is it: {', '.join(names)}?" if len(names) <= MOST_NAMED else "Which class is it?"
    return TestSet(references, [asked] * len(references), found, dataset.digests("test", key), images)
