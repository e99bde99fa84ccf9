"""Where a gain came from: leave one part of the source out, fit again, and see how much is lost.

    worth of a part   with − without: the score of transfer minus that of transfer with fresh random weights in the part
    share             (with − without) / (transfer − random), where the whole gain is above 0

Each worth has the paired interval of `tfxfer.evaluate.verdict`. The shares do not sum to one. Parts work together: of
two that can stand in for each other neither is missed alone, and a part with fresh weights also harms the parts that
read its output, so that a share can be above one. It is an ablation (Meyes et al. 2019, "Ablation studies in artificial
neural networks"), not an attribution.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tfxfer.evaluate.comparison import budget_words, compare_arms, measure_name
from tfxfer.evaluate.verdict import Verdict, signed
from tfxfer.records import Comparison

NEEDED, BETTER_WITHOUT, UNDECIDED = "needed", "better without", "no evidence"
WORDS = {"helped": NEEDED, "hurt": BETTER_WITHOUT, "no evidence": UNDECIDED}


@dataclass(frozen=True)
class PartWorth:
    """What one part is worth, given all others.

    Attributes:
        name: Of the part, such as "convolution 1".
        family: What kind of part: "weights", "towers" or "classes".
        verdict: On the score with the part minus the score without it.
        share: Of the whole gain; None where transfer has none over random weights.
    """

    name: str
    family: str
    verdict: Verdict
    share: float | None

    @property
    def word(self) -> str:
        """ "needed" (the interval is above 0), "better without" (below 0) or "no evidence"."""
        return WORDS[self.verdict.word]


@dataclass(frozen=True)
class Explanation:
    """Where the gain of a run came from, at one budget.

    Attributes:
        budget: How much labelled data each arm had.
        unit: What the budget counts.
        measure: The score.
        whole: Transfer minus random weights; None where one of the two did not run.
        parts: The parts, in the order of the network.
        failed: Part -> the error, of those that could not be fitted.
    """

    budget: int | None
    unit: str
    measure: str
    whole: Verdict | None
    parts: tuple[PartWorth, ...]
    failed: Mapping[str, str]

    @property
    def needed(self) -> list[str]:
        """The parts whose interval is above 0."""
        return [part.name for part in self.parts if part.word == NEEDED]

    def rows(self) -> list[dict[str, Any]]:
        """Return a dict for each part: part, family, difference, low, high, result and share."""
        return [
            {
                "part": part.name,
                "family": part.family,
                "difference": part.verdict.difference,
                "low": part.verdict.low,
                "high": part.verdict.high,
                "result": part.word,
                "share": part.share,
            }
            for part in self.parts
        ]

    def __str__(self) -> str:
        """Return the table as text, the whole gain first."""
        where = f"{measure_name(self.measure)} at {budget_words([self.budget], self.unit)}"
        lines = [f"where the gain came from: {where}, with − without each part (95 % interval)"]
        if self.whole:
            lines.append(_line("transfer over random", self.whole, "", None))
        lines += [_line(part.name, part.verdict, part.word, part.share) for part in self.parts]
        lines += [f"  {name:30} could not be fitted: {error}" for name, error in self.failed.items()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes, JSON-like."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Explanation":
        """Return the explanation that `to_dict` wrote."""
        parts = tuple(PartWorth(**{**row, "verdict": Verdict.from_dict(row["verdict"])}) for row in plain["parts"])
        whole = Verdict.from_dict(plain["whole"]) if plain["whole"] else None
        return cls(**{**plain, "parts": parts, "whole": whole})


def explained(comparison: Comparison, parts: Mapping[str, tuple[str, str]], budget: int | None) -> Explanation:
    """Return what each part is worth at one budget, by the first measure.

    A group of source classes gets no word where the source was trained once: the two trainings differ by luck, which
    the interval does not hold then.

    Args:
        comparison: The records: of transfer and random, and of transfer without each part.
        parts: Arm without a part -> the part's name and family.
        budget: The budget at which they ran.
    """
    transfer = (comparison, "transfer")
    whole = compare_arms(transfer, (comparison, "random"), [budget])
    found, failed = [], {}
    for arm, (name, family) in parts.items():
        judged = compare_arms(transfer, (comparison, arm), [budget])
        if judged is None:
            errors = [record.error for record in comparison.records if record.arm == arm and record.error]
            failed[name] = errors[0] if errors else "transfer has no result at this budget"
            continue
        if family == "classes" and comparison.source_seeds == 1:  # two trainings differ by luck too
            judged = replace(judged, word="no evidence")
        gain = whole.difference if whole and whole.low > 0 else None
        found.append(PartWorth(name, family, judged, judged.difference / gain if gain else None))
    return Explanation(budget, comparison.unit, comparison.measures[0], whole, tuple(found), failed)


def _line(name: str, judged: Verdict, word: str, share: float | None) -> str:
    held = f", {share:.0%} of the gain" if share is not None and word == NEEDED else ""
    span = f"({signed(judged.low)} to {signed(judged.high)})"
    return f"  {name:30} {signed(judged.difference):>6} {span:20} {word}{held}".rstrip()
