"""Arms whose training examples have edited copies; of several strengths, validation chooses at each budget.

As for learning rates, the first seed tries every strength, and the other seeds train with the one it chose.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from tfxfer.arms.trained import Report
from tfxfer.cache import key_of
from tfxfer.data.augment.policy import Policy
from tfxfer.evaluate.augmentation import SUFFIX
from tfxfer.experiment import Arm, Outcome
from tfxfer.records import Record

CHOSEN, TRIED = "policy", "validation of policy"  # settings of a record


def augmented_arms(
    policy: Policy, number: int, arms: Sequence[Arm], make: Callable[[Policy], Sequence[Arm]]
) -> tuple[Arm, ...]:
    """Return an arm with augmentation beside each arm that `make` returns, named like it with `SUFFIX`.

    Args:
        policy: What `--augment` says.
        number: Copies of an example.
        arms: The arms without augmentation; one of them answers where validation chooses no edit.
        make: Policy of one strength each -> the arms that train with it.
    """
    plain = {arm.name: arm for arm in arms}
    levels = {str(level): {arm.name: arm for arm in make(level)} if level else plain for level in policy.levels}
    names = next(iter(found for level, found in levels.items() if level != "none"))
    key = key_of(str(policy), number)
    made = []
    for name, arm in names.items():
        chosen = ChosenLevel({level: found[name] for level, found in levels.items()})
        made.append(
            replace(arm, name=name + SUFFIX, run=chosen, recall=chosen.recall, plain=False, key=arm.key + key)
        )  # not `plain`: layers of Keras hold what they draw next, and no two threads may use them
    return tuple(made)


class ChosenLevel:
    """The run of an arm with augmentation.

    Args:
        arms: Policy -> the arm that trains with it, the weakest first.
    """

    def __init__(self, arms: Mapping[str, Arm]) -> None:
        self.arms = dict(arms)
        self.chosen: dict[int | None, tuple[str, dict[str, float]]] = {}  # budget -> policy, scores of all

    def __call__(self, budget: int | None, seed: int) -> Outcome:
        """Train with the strength that validates best; of equal ones, the weaker."""
        outcomes: dict[str, Outcome] = {}
        if budget not in self.chosen:
            outcomes = {level: arm.run(budget, seed) for level, arm in self.arms.items()}
            scores = {level: validated(outcome) for level, outcome in outcomes.items()}
            self.chosen[budget] = max(scores, key=lambda level: scores[level]), scores
        level, scores = self.chosen[budget]
        outcome = outcomes[level] if outcomes else self.arms[level].run(budget, seed)
        return replace(outcome, settings=outcome.settings | self._said(level, scores))

    def recall(self, record: Record) -> None:
        """Go on with the strength that an earlier run's first seed chose."""
        level = record.settings[CHOSEN]
        self.chosen.setdefault(record.budget, (level, record.settings.get(TRIED, {})))
        recall = self.arms[level].recall if level in self.arms else None
        if recall:
            recall(record)

    def _said(self, level: str, scores: dict[str, float]) -> dict[str, Any]:
        return {CHOSEN: level} | ({TRIED: scores} if len(self.arms) > 1 else {})


def on_other_examples(arm: Any, report: Report, **examples: Any) -> Any:
    """Return an arm that starts and trains as a given one, on other examples.

    Args:
        arm: A `TrainedArm`.
        report: Called with a row after each training.
        examples: Attribute of the arm -> its value.
    """
    made = copy(arm)
    made.rates, made.kept = {}, None
    if hasattr(arm, "chosen"):
        made.chosen = {}
    setattr(made, "on_validation" if hasattr(arm, "on_validation") else "report", report)
    for name, value in examples.items():
        setattr(made, name, value)
    return made


def validated(outcome: Outcome) -> float:
    """Return the best validation score that an arm reports; −∞ where it reports none."""
    scores = outcome.settings.get("validation") or {}
    return max((float(one) for one in scores.values() if one is not None and math.isfinite(one)), default=-math.inf)
