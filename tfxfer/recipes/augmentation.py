"""`--augment` in a recipe: what it may be, what its arms are called in a report, and which pairs are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tfxfer.data.augment.policy import Policy, Setting, automatic, parsed, refuse, refuse_names
from tfxfer.errors import UserError

if TYPE_CHECKING:
    from tfxfer.experiment import Arm
    from tfxfer.report.panel import Panel

TRAINED = ("transfer", "random", "scratch", "finetune", "native")  # arms that may have copies
EXAMPLES = 6  # in the gallery
SUFFIX = "_augmented"  # as in `tfxfer.evaluate.augmentation`, which a command's help does not import


def check_augment(config: Any) -> None:
    """Check what can be seen of `--augment` before the data are loaded; raises `UserError`."""
    text = config.augment.policy
    if text != "auto":
        parsed(text)
    if text == "none" and config.augment.copies != type(config.augment)().copies:
        raise UserError("--augment-copies: says how many copies --augment makes; add --augment, or leave it out")


def policy_of(config: Any) -> str:
    """Return what a config says of augmentation; "none" where its recipe knows none."""
    return config.augment.policy if hasattr(config, "augment") else "none"


def chosen_policy(config: Any, setting: Setting | None, class_names: Sequence[str] = ()) -> Policy:
    """Return the policy of a run; raises `UserError` with the reason where it would make labels wrong.

    Without a setting, which then the source decides, the policy is empty; it has to be asked for again.
    """
    if config.augment.policy == "none" or setting is None:
        return Policy()
    text = automatic(config.augment.policy, setting.examples)
    policy = parsed(text)
    refuse(policy, setting, text)
    refuse_names(policy, class_names, text)
    return policy


def shows_characters(config: Any) -> bool:
    """Return whether the target's images are characters, which some edits would make others of."""
    return config.target.spec.startswith("glyphs")


def of_classes(config: Any, dataset: Any, key: str | None = None, *, drawn: bool = False) -> Setting | None:
    """Return the setting of a classification task; None where the source decides what is taken of an example.

    Args:
        config: Has a `target`.
        dataset: The loaded target.
        key: "text" or "image", where it is known.
        drawn: Whether texts are drawn as pixels.
    """
    has = [one for one in ("text", "image") if one in dataset.keys]
    key = key or ("text" if config.target.text else "image" if config.target.image else None)
    if key is None and len(has) != 1:
        return None
    glyphs = shows_characters(config)
    if (key or has[0]) == "text":
        return Setting("drawn" if drawn else "text")
    return Setting("glyphs" if glyphs else "images", glyphs=glyphs)


def of_pairs(config: Any, what: str, families: tuple[str, ...] = ("images", "pairs")) -> Setting:
    """Return the setting of images with texts, which are "caption"s or "answer"s."""
    return Setting("pairs", what, families, glyphs=shows_characters(config))


def class_arms(
    policy: Policy, config: Any, task: Any, arms: Sequence[Arm], make: Callable[[Any], Sequence[Arm]]
) -> tuple[Arm, ...]:
    """Return the arms of a classification task with augmentation; none where the policy is empty.

    Args:
        policy: Of the run.
        config: Says how many copies.
        task: The task without augmentation.
        arms: Its arms.
        make: Task with augmentation -> its arms.
    """
    if not policy:
        return ()
    from tfxfer.arms.augmented import augmented_arms
    from tfxfer.data.augment.copies import Augmentation

    def at(level: Policy) -> list[Arm]:
        how = Augmentation(level, config.augment.copies, characters=shows_characters(config))
        made = make(replace(task, augment=how))
        reads_texts = {"native"} if level.of("rendered") and not level.of("text") else set()
        return [arm for arm in made if arm.name in set(TRAINED) - reads_texts]

    return augmented_arms(policy, config.augment.copies, arms, at)


def class_gallery(policy: Policy, config: Any, task: Any, draw: Any = None) -> tuple[Panel, ...]:
    """Return the panel of training examples beside four copies of each; none where the policy is empty.

    Args:
        policy: Of the run; the last strength is shown.
        config: Names the target and the seed.
        task: The task; its augmentation draws texts where the policy needs it.
        draw: Draws texts as the model gets them, uint8 [n, H, W, 1], where the policy edits drawn texts.
    """
    if not policy:
        return ()
    import numpy as np

    from tfxfer.data.augment.copies import SHARES, Augmentation
    from tfxfer.recipes.panels.augmentation import SHOWN, image_gallery, text_gallery
    from tfxfer.tasks.examples import png

    level, seed = policy.levels[-1], config.seed
    few, draws = task.dataset.with_at_most(seed=seed, train=EXAMPLES), task.augment.draw if task.augment else None
    how = Augmentation(level, SHOWN, draws, shows_characters(config))
    copies = how.copies(few, task.key, task.reading, seed).arrays("train")
    labels = [task.class_names[label] for label in few.labels("train")]
    count = len(labels)
    if "image" not in copies:
        originals = few.texts("train")
        texts = [text.decode() for text in copies["text"]]
        return (text_gallery([[each, *texts[i::count]] for i, each in enumerate(originals)], str(level)),)
    plain = draw(few.texts("train")) if task.key == "text" else few.arrays("train", **task.reading)["image"]
    shares = copies.get(SHARES)

    def under(row: int) -> str:
        if shares is None:
            return ""
        best = np.argsort(-shares[row])[:2]
        return " ".join(f"{shares[row][c]:.2f} {task.class_names[c]}" for c in best if shares[row][c] > 0.005)

    examples = [
        {
            "name": labels[i],
            "images": [png(plain[i]), *(png(image) for image in copies["image"][i::count])],
            "under": ["", *(under(i + k * count) for k in range(len(copies["image"]) // count))],
        }
        for i in range(count)
    ]
    return (image_gallery(examples, str(level)),)


def contrasts_of(arms: Sequence[Arm]) -> tuple[tuple[str, str], ...]:
    """Return each arm with augmentation beside the same without it."""
    names = [arm.name for arm in arms]
    return tuple((name, name.removesuffix(SUFFIX)) for name in names if name.endswith(SUFFIX))


def described(arms: Mapping[str, Any], names: Sequence[str], policy: str) -> dict[str, Any]:
    """Return what the report says of the arms with augmentation.

    Args:
        arms: What it says of the recipe's arms.
        names: The arms that ran.
        policy: Of `--augment`.
    """
    from tfxfer.evaluate.arms import describe

    found = {}
    for name in names:
        if name.endswith(SUFFIX):
            plain = describe({"arms": arms}, name.removesuffix(SUFFIX))
            text = f"As {plain.name}, with edited copies of the training examples beside them (--augment {policy})."
            found[name] = {"text": text, "phrase": f"{plain.phrase} with augmentation", "role": plain.role}
    return found
