"""The arms of `--augment` where images stand with texts: captioning, retrieval and visual question answering.

Each is the arm without augmentation, from the same start, on examples to which edited copies were added.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from tfxfer.arms.augmented import augmented_arms, on_other_examples
from tfxfer.arms.logging import report_training
from tfxfer.data.augment.copies import Augmentation
from tfxfer.data.augment.policy import Policy
from tfxfer.evaluate.augmentation import SUFFIX
from tfxfer.experiment import Arm
from tfxfer.models.batching import in_batches
from tfxfer.models.fresh import fresh_copy
from tfxfer.recipes.augmentation import shows_characters
from tfxfer.recipes.panels.augmentation import SHOWN, image_gallery
from tfxfer.report.panel import Panel
from tfxfer.runs import Run
from tfxfer.tasks.examples import evenly_spaced, png

TRAINED = ("transfer", "random")  # arms that get copies
EXAMPLES = 6  # in the gallery
OfLevel = Callable[[Augmentation, Arm], Callable[[Any, int], Any]]  # -> (budget, seed) -> what the arm learns from


def captions_with_copies(policy: Policy, config: Any, task: Any, captioner: Any, arms: Sequence[Arm], run: Run) -> Any:
    """Return the arms of captioning with augmentation: copies of images get feature maps, and the same captions.

    Args:
        policy: Of the run.
        config: A `CaptioningConfig`.
        task: The images with captions.
        captioner: Encodes images.
        arms: Those without augmentation.
        run: Where trainings are logged.
    """
    most = max(config.pairs)

    def of_level(how: Augmentation, arm: Arm) -> Any:
        @lru_cache(maxsize=4)
        def copies(seed: int) -> np.ndarray:
            drawn = task.drawn(most, seed)
            texts = [" ".join(each) for each in drawn.captions["train"]]
            return np.stack([captioner.encode(one).maps for one in how.images(drawn.images["train"], seed, texts)])

        plain: Any = arm.run
        return lambda pairs, seed: plain.drawn(pairs, seed).with_copies(copies(seed))

    return _arms(policy, config, arms, of_level, "drawn", run)


def retrieval_with_copies(
    policy: Policy, config: Any, data: Any, pairs: Any, phi: Any, how: dict[str, Any], arms: Sequence[Arm], run: Run
) -> Any:
    """Return the arms of retrieval with augmentation: copies of images get features, and texts, edited too if asked.

    Args:
        policy: Of the run.
        config: A `RetrievalConfig`.
        data: The data set of the pairs.
        pairs: The pairs as features of `phi`.
        phi: The image encoder.
        how: How it takes images.
        arms: Those without augmentation.
        run: Where trainings are logged.
    """
    most = max(config.pairs)

    def of_level(augment: Augmentation, arm: Arm) -> Any:
        @lru_cache(maxsize=4)
        def copies(seed: int) -> tuple[np.ndarray, list[Any]]:
            drawn = pairs.drawn(most, seed)
            rows = np.random.default_rng(seed).permutation(len(pairs.ids["train"]))[:most]
            images = data.with_rows("train", rows).arrays("train", **how)["image"]
            given = drawn.captions["train"]
            made = augment.images(images, seed, [" ".join(each) for each in given])
            encode = in_batches(fresh_copy(phi, seed) if arm.name == "random" else phi)
            texts = [[augment.texts(each, seed, place) for each in given] for place in range(len(made))]
            return np.stack([encode(one) for one in made]), texts

        plain: Any = arm.run
        return lambda budget, seed: plain.drawn(budget, seed).with_copies(*copies(seed))

    return _arms(policy, config, arms, of_level, "drawn", run)


def questions_with_copies(policy: Policy, config: Any, encoder: Any, shape: Any, arms: Sequence[Arm], run: Run) -> Any:
    """Return the arms of visual question answering with augmentation: the same is asked about copies of the images.

    Args:
        policy: Of the run.
        config: A `VQAConfig`.
        encoder: The image encoder.
        shape: (H, W, C) of its images.
        arms: Those without augmentation.
        run: Where trainings are logged.
    """
    from tfxfer.arms.vqa import VQAExamples
    from tfxfer.transfer.knowledge.visual_qa import pooled_encoder

    def of_level(how: Augmentation, arm: Arm) -> Any:
        plain: Any = arm.run

        @lru_cache(maxsize=4)
        def examples(budget: int | None, seed: int) -> Any:
            found = plain.examples(budget, seed)
            train = found.questions["train"]
            more = train.with_copies(how.images(train.images, seed, train.about_each()))
            batch = plain.qa.encode(more.images, more.texts, more.answers, more.image_index)
            if arm.name == "random" and not config.train_encoder:
                batch = batch._replace(images=in_batches(pooled_encoder(fresh_copy(encoder, seed), shape))(more.images))
            return VQAExamples(found.questions, found.batches | {"train": batch})

        return examples

    return _arms(policy, config, arms, of_level, "examples", run)


def names_with_copies(policy: Policy, config: Any, task: Any, phi: Any, shared: Any, arms: Sequence[Arm]) -> Any:
    """Return the arms of the dictionary with augmentation: an image's vector is the mean over it and its copies.

    Copies have the name of their image, and g is a ridge regression: it learns the mean of what has one name.

    Args:
        policy: Of the run.
        config: A `DictionaryConfig`.
        task: The images with names.
        phi: The image encoder.
        shared: The `DictionaryArms`.
        arms: Those without augmentation.
    """
    from tfxfer.baselines.retrieval import standardised

    def of_level(how: Augmentation, arm: Arm) -> Arm:
        images, names = images_with_names(task, phi, config)
        copies = [images, *how.images(images, config.seed, [" ".join(each) for each in names])]

        @lru_cache(maxsize=16)
        def vectors(seed: int) -> np.ndarray:
            encode = in_batches(fresh_copy(phi, seed) if arm.name == "random" else phi)
            return standardised({"train": np.mean([encode(one) for one in copies], 0)})["train"]

        return replace(arm, run=shared.arm(lambda seed: vectors(seed if arm.name == "random" else 0)))

    def at(level: Policy) -> list[Arm]:
        how = Augmentation(level, config.augment.copies)
        return [of_level(how, arm) for arm in arms if arm.name in TRAINED]

    return augmented_arms(policy, config.augment.copies, arms, at) if policy else ()


def images_with_names(task: Any, phi: Any, config: Any) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """Return the training images, uint8 [P, H, W, C], and the names of each in both languages."""
    from tfxfer.tasks.image_text_pairs import reading

    how = reading(phi, task.dataset, config.target.image_size)
    names = [task.names(code, "train") for code in task.languages]
    return task.dataset.arrays("train", **how)["image"], list(zip(*names, strict=True))


def pair_gallery(policy: Policy, config: Any, images: np.ndarray, texts: Sequence[Sequence[str]]) -> tuple[Panel, ...]:
    """Return the panel of images beside four copies of each; none where the policy is empty.

    Args:
        policy: Of the run; the last strength is shown.
        config: Names the target.
        images: uint8 [N, H, W, C].
        texts: What is said of each [N].
    """
    if not policy:
        return ()
    rows, level = evenly_spaced(len(images), EXAMPLES), policy.levels[-1]
    said = [" ".join(texts[row]) for row in rows]
    how = Augmentation(level, SHOWN, characters=shows_characters(config))
    copies = how.images(images[rows], config.seed, said)
    edited = [how.texts([texts[row][0] for row in rows], config.seed, place) for place in range(len(copies))]
    show = bool(level.of("text"))
    examples = [
        {
            "name": texts[row][0],
            "images": [png(images[row]), *(png(copy[i]) for copy in copies)],
            "under": ["", *(copy[i] if show else "" for copy in edited)],
        }
        for i, row in enumerate(rows)
    ]
    return (image_gallery(examples, str(level)),)


def _arms(policy: Policy, config: Any, arms: Sequence[Arm], of_level: OfLevel, what: str, run: Run) -> tuple[Arm, ...]:
    """Return the arms with augmentation; none where the policy is empty.

    Args:
        policy: Of the run.
        config: Says how many copies.
        arms: Those without augmentation.
        of_level: Gives what an arm learns from with edits of one strength.
        what: Name of the attribute of an arm that holds it.
        run: Where trainings are logged.
    """
    if not policy:
        return ()

    def at(level: Policy) -> list[Arm]:
        how = Augmentation(level, config.augment.copies, characters=shows_characters(config))
        made = []
        for arm in arms:
            if arm.name in TRAINED:
                report = report_training(run, arm.name + SUFFIX)
                trained = on_other_examples(arm.run, report, **{what: of_level(how, arm)})
                made.append(replace(arm, run=trained, recall=trained.recall))
        return made

    return augmented_arms(policy, config.augment.copies, arms, at)
