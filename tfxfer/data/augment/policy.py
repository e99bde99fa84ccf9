"""What `--augment` says: which edits, how strong, and which of them would make a label wrong.

    none | auto | PART[+PART …]        PART = images:EDIT[:STRENGTH[,STRENGTH …]] | text:… | rendered[:…] | pairs[:…]

`images:randaugment`, `text:typing:0.05+text:casing`, `rendered:size`, `pairs`. Of several strengths each arm takes the
one that validates best; 0 is no edit. Nothing here starts TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tfxfer.data.augment.words import names_colours, says_direction
from tfxfer.errors import UserError, suggest

GLYPH_EDITS = ("shift", "blur", "colour", "mixup")  # what leaves a character the same character
MIXES = ("mixup", "cutmix")
A = {"class": "a class", "caption": "a caption", "answer": "an answer", "name": "a name"}


@dataclass(frozen=True)
class Edit:
    """One kind of edit.

    Attributes:
        family: "images", "text", "rendered" or "pairs".
        name: Its name after the colon.
        about: What it does; what the strength means.
        strength: The usual strength; None where there is only one.
        most: The greatest strength.
    """

    family: str
    name: str
    about: str
    strength: float | None
    most: float = 1.0

    @property
    def spec(self) -> str:
        """Its name as `--augment` takes it."""
        return self.family if self.name == "all" else f"{self.family}:{self.name}"


_TABLE = (
    Edit("images", "standard", "moved by up to this share of the side, and every second one mirrored", 0.1, 0.5),
    Edit("images", "shift", "moved by up to this share of the side", 0.1, 0.5),
    Edit("images", "crop", "enlarged by up to this share, the edges cut off", 0.2, 0.9),
    Edit("images", "flip", "every second one mirrored, left for right", None),
    Edit("images", "rotate", "turned by up to this share of a full turn", 0.03, 0.5),
    Edit("images", "colour", "brightness, contrast, saturation and hue changed by up to this share", 0.2),
    Edit("images", "blur", "blurred by a Gaussian of up to this many pixels", 1.0, 5.0),
    Edit("images", "randaugment", "two random edits of eleven at this strength (Cubuk et al. 2020)", 0.2),
    Edit("images", "mixup", "two images and their labels mixed, shares from Beta(α, α) (Zhang et al. 2018)", 0.2, 10.0),
    Edit("images", "cutmix", "a rectangle from another image, labels mixed by area (Yun et al. 2019)", 1.0, 10.0),
    Edit("text", "deletion", "this share of the words left out (Wei and Zou 2019)", 0.1),
    Edit("text", "swap", "this share of the words changes places (Wei and Zou 2019)", 0.1),
    Edit("text", "casing", "this share of the words in other case", 0.3),
    Edit("text", "typing", "this share of the characters mistyped", 0.05, 0.5),
    Edit("rendered", "all", "drawn text: face, size, place and blur together, 1 being the usual amount", 1.0, 2.0),
    Edit("rendered", "face", "this share drawn in another face of the DejaVu family", 0.75),
    Edit("rendered", "size", "drawn smaller by up to this share", 0.25, 0.6),
    Edit("rendered", "shift", "moved by up to this share of the height", 0.1, 0.5),
    Edit("rendered", "blur", "blurred by a Gaussian of up to this many pixels", 0.8, 5.0),
    Edit("pairs", "all", "moved; other colours and mirrored only where its text stays true, 1 being usual", 1.0, 2.0),
)  # fmt: skip
EDITS = {edit.spec: edit for edit in _TABLE}
AUTO = {  # what the examples are -> the policy; each arm chooses among its strengths, 0 being none
    "drawn": "rendered:0,0.5,1",
    "text": "text:typing:0,0.02,0.05",
    "glyphs": "images:shift:0,0.05,0.1",
    "images": "images:standard:0,0.05,0.1",
    "pairs": "pairs:0,0.5,1",
}


@dataclass(frozen=True)
class Part:
    """An edit with the strengths that may be chosen."""

    edit: Edit
    strengths: tuple[float, ...]

    @property
    def strength(self) -> float:
        """The first strength; the only one in a policy of one level."""
        return self.strengths[0]

    def __str__(self) -> str:
        """Return it as `--augment` takes it."""
        if self.edit.strength is None:
            return self.edit.spec
        return f"{self.edit.spec}:{','.join(f'{one:g}' for one in self.strengths)}"


@dataclass(frozen=True)
class Policy:
    """Edits that are made one after the other. None at all: no augmentation."""

    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        """Return it as `--augment` takes it.

        >>> str(parsed("text:casing+images:flip")), str(parsed("none"))
        ('text:casing:0.3+images:flip', 'none')
        """
        return "+".join(map(str, self.parts)) or "none"

    def __bool__(self) -> bool:
        return bool(self.parts)

    @property
    def mixes(self) -> bool:
        """Whether labels are mixed too."""
        return any(part.edit.name in MIXES for part in self.parts)

    def of(self, family: str) -> "Policy":
        """Return the edits of one family."""
        return Policy(tuple(part for part in self.parts if part.edit.family == family))

    @property
    def levels(self) -> tuple["Policy", ...]:
        """Return a policy of one strength each, in their order; a level in which nothing is edited is empty.

        >>> [str(level) for level in parsed("text:typing:0,0.1").levels]
        ['none', 'text:typing:0.1']
        """
        count = max((len(part.strengths) for part in self.parts), default=1)
        found = []
        for i in range(count):
            at = (Part(p.edit, (p.strengths[i] if len(p.strengths) > 1 else p.strength,)) for p in self.parts)
            found.append(Policy(tuple(part for part in at if part.strength or part.edit.strength is None)))
        return tuple(found)


def parsed(text: str) -> Policy:
    """Return the policy that `--augment` names; "auto" has to be replaced before (`automatic`).

    Raises:
        UserError: There is no such edit (the nearest is named), or a strength is none.
    """
    if text == "none":
        return Policy()
    policy = Policy(tuple(_part(word.strip(), text) for word in text.split("+")))
    counts = {len(part.strengths) for part in policy.parts} - {1}
    if len(counts) > 1:
        raise UserError(f"--augment {text}: give every edit the same number of strengths, or one")
    return policy


def automatic(text: str, examples: str) -> str:
    """Return the policy that "auto" stands for; any other text as it is.

    Args:
        text: Of `--augment`.
        examples: "drawn", "text", "glyphs", "images" or "pairs".
    """
    return AUTO[examples] if text == "auto" else text


def _part(word: str, whole: str) -> Part:
    family, _, rest = word.partition(":")
    name, _, numbers = rest.partition(":")
    if family in EDITS and (not name or _is_number(name.partition(",")[0])):
        name, numbers = "", name  # `rendered:0.5` and `pairs:0.5`
    spec = f"{family}:{name}" if name else family
    if spec not in EDITS:
        raise UserError(f"--augment {whole}: there is no '{spec}'; {suggest(spec, ('none', 'auto', *EDITS))}")
    return Part(EDITS[spec], _strengths(EDITS[spec], numbers, whole))


def _strengths(edit: Edit, numbers: str, whole: str) -> tuple[float, ...]:
    if edit.strength is None:
        if numbers:
            raise UserError(f"--augment {whole}: {edit.spec} has no strength; leave ':{numbers}' out")
        return (1.0,)
    words = numbers.split(",") if numbers else [f"{edit.strength}"]
    wrong = next((one for one in words if not _is_number(one) or not 0 <= float(one) <= edit.most), None)
    if wrong is not None:
        raise UserError(
            f"--augment {whole}: '{wrong}' is no strength of {edit.spec}; it is a number from 0 to {edit.most:g}, "
            f"usually {edit.strength:g}: {edit.about}"
        )
    found = tuple(sorted(map(float, words)))  # of two that validate alike, the weaker is taken
    if len(set(found)) < len(found) or found == (0.0,):
        raise UserError(f"--augment {whole}: give different strengths, at least one above 0; or none")
    return found


def _is_number(word: str) -> bool:
    try:
        return float(word) == float(word)
    except ValueError:
        return False


@dataclass(frozen=True)
class Setting:
    """What is to be augmented, as far as it decides which edits keep labels true.

    Attributes:
        examples: "drawn" (text as pixels), "text", "glyphs", "images" or "pairs" (images with texts).
        what: What an example belongs to: "class", "caption" or "answer".
        families: Families of edits that the recipe can make.
        glyphs: Whether the images show characters.
    """

    examples: str
    what: str = "class"
    families: tuple[str, ...] = ("images", "text", "rendered")
    glyphs: bool = False


def refuse(policy: Policy, setting: Setting, text: str) -> None:
    """Raise `UserError` where an edit cannot be made here, or would make labels wrong; the reason is given."""
    for part in policy.parts:
        reason = _cannot(part.edit, setting) or _breaks(part.edit, setting)
        if reason:
            raise UserError(f"--augment {text}: {part.edit.spec} {reason}")


def _cannot(edit: Edit, setting: Setting) -> str:
    has = {
        "images": ("images", "glyphs", "pairs"),
        "text": ("text", "drawn", "pairs"),
        "rendered": ("drawn",),
        "pairs": ("pairs",),
    }[edit.family]
    needs = {
        "images": "edits images, and there are only texts",
        "text": "edits texts, and there are only images",
        "rendered": "edits how texts are drawn, and none is drawn here",
        "pairs": "is for images with texts, and these have classes; try images:standard",
    }[edit.family]
    if setting.examples not in has:
        return f"{needs}. The policy auto is '{AUTO[setting.examples]}'"
    a = A[setting.what]
    if edit.family not in setting.families:
        return f"would put errors into the texts that {a} is learned from; use images:shift or pairs"
    return ""


def _breaks(edit: Edit, setting: Setting) -> str:
    """Return why an edit would make labels wrong; "" where it does not."""
    name, family = edit.name, edit.family
    if family == "images" and setting.what != "class":
        if name in MIXES:
            return f"mixes two images, and a mixture has no {setting.what} of its own; use images:shift or pairs"
        if name in ("flip", "standard", "colour", "randaugment"):
            return (
                f"may make {A[setting.what]} wrong that says left or right, or names a colour; use pairs, which leaves "
                "such images as they are"
            )
    if family == "images" and setting.glyphs and name not in GLYPH_EDITS:
        return (
            "makes other characters: a mirrored d is a b, a turned or cut one may lose its accent; "
            f"characters stand {', '.join(f'images:{one}' for one in GLYPH_EDITS)}"
        )
    return ""


def refuse_names(policy: Policy, class_names: Sequence[str], text: str) -> None:
    """Raise `UserError` where an edit would turn one class into another, by their names."""
    for part in policy.of("images").parts:
        name = part.edit.name
        turned = next((one for one in class_names if says_direction(one)), None)
        coloured = next((one for one in class_names if names_colours(one)), None)
        if name in ("flip", "standard") and turned is not None:
            raise UserError(f"--augment {text}: {part.edit.spec} mirrors images, and a class is '{turned}'")
        if name in ("colour", "randaugment") and coloured is not None:
            raise UserError(f"--augment {text}: {part.edit.spec} changes colours, and a class is '{coloured}'")
