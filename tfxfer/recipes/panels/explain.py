"""The panel of `--explain`: what each part of the source is worth, with its interval."""

from typing import Any

from tfxfer.evaluate.comparison import budget_words, measure_name
from tfxfer.evaluate.explain import NEEDED, UNDECIDED, Explanation, PartWorth
from tfxfer.evaluate.verdict import Verdict, signed
from tfxfer.report.panel import Panel

WHAT = {
    "weights": "A group of weights is left out: it gets fresh random values, as those of random, and all other weights "
    "stay the source's.",
    "towers": "An encoder or decoder is left out: all its weights are fresh, and the other tower stays the source's.",
    "classes": "A group of source classes is left out: the source is trained again, for as many steps, without the "
    "examples of these classes. Two trainings of a source differ by luck too. The interval holds that luck only where "
    "the source is trained several times (--source-seeds 3); after one training no group is called needed.",
}


def explain_panel(found: Explanation) -> Panel:
    """Return the panel of an explanation."""
    where, measure = budget_words([found.budget], found.unit), measure_name(found.measure)
    families = dict.fromkeys(part.family for part in found.parts)
    return Panel(
        "Where the gain came from",
        paragraphs=(
            f"Each part of the source was left out, and transfer was fitted again at {where} with the same budget and "
            f"seeds. The difference in {measure} with and without the part is what the part is worth when all others "
            "are there.",
            *(WHAT[family] for family in families),
        ),
        points=tuple(_points(found, measure)),
        figures=(_figure(found, measure, where),) if found.parts else (),
        tables=(_table(found, measure, where),) if found.parts else (),
        notes=(
            "The parts do not sum to the whole. Of two parts that can stand in for each other, neither is missed when "
            "it alone is left out. A part with fresh weights also harms the parts that read its output, so a share can "
            "be above 100 %.",
            "Each part has its own interval: of 20 parts that do nothing, one would be called needed.",
        ),
    )


def _points(found: Explanation, measure: str) -> list[str]:
    points = [_whole_sentence(found.whole, measure)]
    undecided = [part.name for part in found.parts if part.word == UNDECIDED]
    better = [part.name for part in found.parts if part.word not in (NEEDED, UNDECIDED)]
    if found.needed:
        points.append(f"Needed: {', '.join(found.needed)}.")
    if better:
        points.append(f"Transfer is better without: {', '.join(better)}.")
    if undecided:
        points.append(f"No evidence that it matters: {', '.join(undecided)}.")
    points += [f"{name} could not be fitted: {error}" for name, error in found.failed.items()]
    return points


def _whole_sentence(whole: Verdict | None, measure: str) -> str:
    if whole is None:
        return "Random weights did not run here, so there is no whole gain to compare with."
    span = f"{signed(whole.difference)} {measure} over random weights ({signed(whole.low)} to {signed(whole.high)})"
    if whole.low > 0:
        return f"Transfer brings {span}."
    return f"Transfer brings {span}. No gain is shown, so there is nothing of which a part could hold a share."


def _figure(found: Explanation, measure: str, where: str) -> dict[str, Any]:
    rows = [_row("transfer over random", found.whole, "")] if found.whole else []
    rows += [_row(part.name, part.verdict, _outcome(part)) for part in found.parts]
    return {
        "name": "pair_differences",
        "arguments": {"rows": rows, "xlabel": f"{measure} with − without, at {where}"},
        "description": f"Dot chart: difference in {measure} with and without each part, with its interval. The numbers "
        "are in the table below.",
        "caption": "Right of 0, the part is of use. A filled point is a verdict; the interval of an empty one holds 0. "
        "The first row is transfer over random weights, the gain of which a part may hold a share.",
    }


def _row(name: str, judged: Verdict, outcome: str) -> dict[str, Any]:
    sure = judged.word != "no evidence"
    return {
        "name": name,
        "difference": judged.difference,
        "low": judged.low,
        "high": judged.high,
        "sure": sure,
        "outcome": outcome,
    }


def _outcome(part: PartWorth) -> str:
    return f"{part.word} ({part.share:.0%})" if part.word == NEEDED and part.share is not None else part.word


def _table(found: Explanation, measure: str, where: str) -> dict[str, Any]:
    return {
        "caption": f"{measure} with and without each part, at {where}",
        "columns": ["left out", "kind", "with − without", "95 % interval", "result", "share of the whole gain"],
        "rows": [
            [
                part.name,
                part.family,
                signed(part.verdict.difference),
                f"{signed(part.verdict.low)} to {signed(part.verdict.high)}",
                part.word,
                f"{part.share:.0%}" if part.word == NEEDED and part.share is not None else None,
            ]
            for part in found.parts
        ],
    }
