"""The role of an arm in a comparison, and the noun phrase that names it in a sentence.

A recipe describes its arms in `Comparison.about["arms"]`. This module reads those descriptions. It has
roles and phrases of its own only for the arms that most recipes share.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONTROL = "control"
BASELINE = "baseline"
NAIVE = "naive baseline"
TRAINED = "fully trained"

STANDARD = {  # arm -> (noun phrase, role)
    "transfer": ("transfer", CONTROL),
    "random": ("random weights", CONTROL),
    "shuffled": ("shuffled pairs", CONTROL),
    "scratch": ("training from scratch", TRAINED),
    "finetune": ("fine-tuning", TRAINED),
    "native": ("the native baseline", BASELINE),
    "neighbour": ("the nearest-neighbour baseline", BASELINE),
    "anchors": ("the training-free baseline", BASELINE),
    "majority": ("always predicting the most frequent class", NAIVE),
    "prior": ("the most frequent answer to each question", NAIVE),
}


@dataclass(frozen=True)
class ArmDescription:
    """What a report needs to know of an arm.

    Attributes:
        name: Name of the arm.
        text: What the arm does and what it shows, in one or two sentences; "" when the recipe gives none.
        phrase: Noun phrase for sentences, such as "the native baseline".
        role: "control": the network of `transfer` with one thing changed, or `transfer` itself. "baseline": another
            method for the task. "naive baseline": a method without a trained model. "fully trained": a network of the
            same architecture in which every weight is trained.
    """

    name: str
    text: str
    phrase: str
    role: str

    @property
    def is_control(self) -> bool:
        """Whether "helped" and "hurt" are the words for a difference to this arm."""
        return self.role == CONTROL


def describe(about: Mapping[str, Any] | None, arm: str) -> ArmDescription:
    """Return the description of an arm.

    Args:
        about: `Comparison.about`. Its "arms" maps an arm to its text, or to a dict with "text", "phrase" and "role", of
            which each may be missing.
        arm: Name of the arm.

    Returns:
        The recipe's description; what it leaves out is that of a standard arm, else the arm's name and "control".

    >>> describe({"arms": {"native": "The usual method."}}, "native")
    ArmDescription(name='native', text='The usual method.', phrase='the native baseline', role='baseline')
    >>> describe(None, "half_data").phrase
    'half data'
    """
    given = ((about or {}).get("arms") or {}).get(arm, {})
    own: Mapping[str, Any] = {"text": given} if isinstance(given, str) else given
    phrase, role = STANDARD.get(arm, (arm.replace("_", " "), CONTROL))
    return ArmDescription(arm, own.get("text", ""), own.get("phrase", phrase), own.get("role", role))


def outcome(word: str, subject: str, other: ArmDescription) -> str:
    """Return the result of a comparison in two or three words.

    Only a control isolates transfer, so only there it "helped" or "hurt". Of any other arm the better one is named.

    Args:
        word: "helped", "hurt" or "no evidence", the word of a `Verdict`.
        subject: Name of the arm under study.
        other: The arm it is compared with.

    >>> outcome("hurt", "transfer", describe(None, "random")), outcome("hurt", "transfer", describe(None, "native"))
    ('hurt', 'native is better')
    """
    if other.is_control:
        return word
    return {"helped": f"{subject} is better", "hurt": f"{other.name} is better"}.get(word, word)


def capitalised(text: str) -> str:
    """Return a text with its first letter in upper case.

    >>> capitalised("the native baseline")
    'The native baseline'
    """
    return text[:1].upper() + text[1:]
