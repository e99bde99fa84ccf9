"""The panels of self-training, active choice and few-shot episodes: what each remedy for few labels was worth."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tfxfer.evaluate.arms import describe
from tfxfer.evaluate.comparison import POOLED, budget_words, shared_budgets, verdicts
from tfxfer.evaluate.label_efficiency import labels_saved
from tfxfer.evaluate.verdict import Verdict, interval, signed, verdict
from tfxfer.recipes.little_data import CONTROLS, LITTLE_DATA_ARMS, SELF_TRAINED
from tfxfer.records import Comparison, Record
from tfxfer.report.panel import Panel
from tfxfer.runs import Run

ABOUT = {"arms": LITTLE_DATA_ARMS}
Row = dict[str, Any]


def little_data_panels(
    comparison: Comparison, start: int, episodes: Callable[[], Any] | None, run: Run
) -> tuple[Panel, ...]:
    """Return the panels of the arms for little data and of the episodes, where there were some; say their sentences.

    Args:
        comparison: The records.
        start: Labels a class that the active arms start with.
        episodes: Runs the few-shot episodes.
        run: Where they are said.
    """
    rows = {pair: _verdicts(comparison, *pair, start) for pair in CONTROLS.items()}
    rows = {pair: found for pair, found in rows.items() if found}
    panels: tuple[Panel, ...] = ()
    if rows:
        panels = (remedy_panel(comparison, rows), *pseudo_label_panels(comparison))
        for (arm, _), point in zip(rows, panels[0].points):
            if arm.startswith("active"):  # the others are contrasts of the recipe, which the end of a run says
                run.say(f"choice of labels: {point}")
    return panels + ((episode_panel(episodes(), run),) if episodes else ())


def _verdicts(comparison: Comparison, arm: str, control: str, start: int) -> list[Row]:
    """Return the verdicts of an arm against its control; the active arms are the same up to the start."""
    if arm.startswith("active"):
        records = tuple(r for r in comparison.records if r.budget is None or r.budget > start)
        comparison = replace(comparison, records=records)
    return verdicts(comparison, arm, control)


def remedy_panel(comparison: Comparison, rows: Mapping[tuple[str, str], list[Row]]) -> Panel:
    """Return each remedy against the same arm without it, by budget and averaged, and the labels that it saves."""
    measure = comparison.measures[0]
    return Panel(
        "Remedies for few labels",
        paragraphs=(
            "Each remedy is compared with the same arm without it, on the same test examples, with the same seeds and "
            "as many labels. Settings are chosen on the validation split, whose labels come on top of the budget.",
        ),
        points=tuple(
            f"{_last(found)} {saved_sentence(comparison, *pair, found[-1]['word'])}" for pair, found in rows.items()
        ),
        figures=(
            {
                "name": "pair_differences",
                "arguments": {
                    "rows": [_difference(row, comparison.unit) for found in rows.values() for row in found],
                    "xlabel": f"difference in {measure} to the same arm without the remedy",
                },
                "description": "Dot chart: the difference that each remedy makes, with its interval. The numbers are "
                "in the table below.",
                "caption": "Right of 0, the remedy is better. The interval of an empty point holds 0.",
            },
        ),
        tables=(
            {
                "caption": f"{measure} with a remedy against without, 95 % intervals",
                "columns": ["remedy", "without", "budget", "difference", "95 % interval", "result"],
                "rows": [_cells(row, comparison.unit) for found in rows.values() for row in found],
            },
        ),
    )


def _last(rows: list[Row]) -> str:
    row = rows[-1]
    where = f"{'averaged over' if len(row['budgets']) > 1 else 'at'} {budget_words(row['budgets'])}"
    return Verdict.from_dict(row).sentence(row["measure"], where, ABOUT)


def saved_sentence(comparison: Comparison, arm: str, control: str, word: str) -> str:
    """Return how many labels a remedy saves: with how many it scores what its control does with the most.

    Without evidence that it helped, none count as saved: on a flat curve the same score is soon reached by chance.

    Args:
        comparison: The records.
        arm: The remedy.
        control: The same arm without it.
        word: The word of the verdict between the two.
    """
    budgets = shared_budgets(comparison, arm, control)
    if word != "helped" or len(budgets) < 2:
        return "No labels count as saved."
    saved = labels_saved((comparison, arm), (comparison, control), budgets, comparison.measures[0])
    unit, most = comparison.unit, max(n or 0 for n in budgets)
    if saved is None:
        return f"With {most:,} {unit} it scores no higher than without the remedy, so it saves none."
    less = "at most " if saved["at_most"] else ""
    return (
        f"It needs {less}{saved['needs']:.0f} {unit} (95 % interval {saved['low']:.0f} to {saved['high']:.0f}) for the "
        f"score that {control} has at {most:,}: {saved['saved']:.0f} saved."
    )


def _where(row: Row, unit: str) -> str:
    return "all" if row["budget"] == POOLED else budget_words([row["budget"]], unit)


def _difference(row: Row, unit: str) -> Row:
    own = {name: row[name] for name in ("difference", "low", "high")}
    sure = row["word"] != "no evidence"
    return own | {"name": f"{row['a']}, {_where(row, unit)}", "sure": sure, "outcome": signed(row["difference"])}


def _cells(row: Row, unit: str) -> list[Any]:
    span = f"{signed(row['low'])} to {signed(row['high'])}"
    word = {"helped": "helped", "hurt": "hurt"}.get(row["word"], "no evidence")
    return [row["a"], row["b"], _where(row, unit), signed(row["difference"]), span, word]


def pseudo_label_panels(comparison: Comparison) -> tuple[Panel, ...]:
    """Return what validation chose in the self-training arms, and how many pseudo-labels were right; () without."""
    chosen = list(_chosen(comparison))
    if not chosen:
        return ()
    return (
        Panel(
            "Pseudo-labels",
            paragraphs=(
                "A threshold is used only where it validates better than no pseudo-label. The second table follows the "
                "threshold that validates best, chosen or not. Whether a pseudo-label is right is seen from the true "
                "labels, which no arm learns from.",
            ),
            tables=(
                {
                    "caption": "What validation chose, of all seeds",
                    "columns": ["arm", "budget", "seeds", "with pseudo-labels", "thresholds", "gain on validation"],
                    "rows": chosen,
                },
                {
                    "caption": "Pseudo-labels by round, means over the seeds that had this round",
                    "columns": ["arm", "budget", "round", "seeds", "pseudo-labels", "of them right"],
                    "rows": list(_rounds(comparison)),
                },
            ),
            folded=True,
        ),
    )


def _self_trained(comparison: Comparison) -> Iterator[tuple[str, int | None, list[Record]]]:
    for arm in SELF_TRAINED:
        for budget in comparison.budgets:
            records = comparison.select(arm, budget)
            if records:
                yield arm, budget, records


def _chosen(comparison: Comparison) -> Iterator[list[Any]]:
    for arm, budget, records in _self_trained(comparison):
        settings = [record.settings for record in records if "threshold" in record.settings]
        if not settings:
            continue
        used = [one["threshold"] for one in settings if one["threshold"] != "none"]
        gains = [max(one["validation"].values()) - one["validation"]["none"] for one in settings]
        names = ", ".join(f"{value:g} ({used.count(value)})" for value in sorted(set(used)))
        yield [arm, budget_words([budget]), len(settings), len(used), names or "none", signed(float(np.mean(gains)))]


def _rounds(comparison: Comparison) -> Iterator[list[Any]]:
    for arm, budget, records in _self_trained(comparison):
        rows = [record.settings.get("rounds", []) for record in records]
        for number in range(max(map(len, rows), default=0)):
            here = [row[number] for row in rows if len(row) > number]
            count = float(np.mean([given for given, _ in here]))
            right = [good for _, good in here if good is not None]
            share = sum(right) / max(1, sum(given for given, _ in here)) if len(right) == len(here) else None
            yield [arm, budget_words([budget]), number + 1, len(here), round(count), share]


def episode_panel(found: Any, run: Run) -> Panel:
    """Return the panel of few-shot episodes, and say its sentences.

    Args:
        found: `tfxfer.arms.episodes.EpisodeScores`.
        run: Where they are said.
    """
    scores = found.scores
    count = next(iter(scores["transfer"].values())).shape[1]
    title = f"{count:,} few-shot episodes of {found.ways} classes and {found.shots} labels each"
    others = [(other, method) for other in ("random", "native") for method in scores[other]]
    points = [_paired(scores, method, other) for other, method in others]
    points += [_between(scores["transfer"], "probe", method) for method in scores["transfer"] if method != "probe"]
    rows = [[space, m, *_spread(values)] for space, by_method in scores.items() for m, values in by_method.items()]
    run.say(f"{title}:")
    for space, method, mean, span in rows:
        run.say(f"  {space}, {method}: {mean:.3f} ({span})")
    for point in points:
        run.say(f"  {point}")
    return Panel(
        title,
        paragraphs=(
            f"Each episode draws {found.ways} of {found.classes} classes, {found.shots} training examples of each, and "
            f"{found.queries} test examples of each to classify. A prototype is the mean of a class (Snell et al. "
            "2017). Whitened features have variance 1 in every direction, by examples without labels. All spaces of "
            "features answer the same episodes, and nothing is chosen.",
        ),
        points=tuple(points),
        tables=(
            {
                "caption": "Accuracy over the episodes",
                "columns": ["features", "method", "accuracy", "95 % interval"],
                "rows": rows,
            },
        ),
        notes=(
            "The intervals are over episodes, and over the networks of random. The episodes share the classes and the "
            "examples of one data set, and the source is one network: other data would give other means.",
        ),
    )


def _spread(values: np.ndarray) -> tuple[float, str]:
    mean, low, high = interval(values)
    return mean, f"{low:.3f}–{high:.3f}"


def _paired(scores: dict[str, dict[str, np.ndarray]], method: str, other: str) -> str:
    """Return the verdict of transfer against other features by one method, paired by episode."""
    judged = verdict(scores["transfer"][method], scores[other][method], names=("transfer", other), one_model=True)
    return f"{method}: {_claim(judged, describe(None, other).phrase)}"


def _between(scores: dict[str, np.ndarray], a: str, b: str) -> str:
    return f"transfer: {_claim(verdict(scores[a], scores[b], names=(a, b), one_model=True), b)}"


def _claim(judged: Verdict, other: str) -> str:
    word = {"helped": "better", "hurt": "worse"}.get(judged.word, "no evidence of a difference")
    span = f"{signed(judged.low)} to {signed(judged.high)}"
    return f"{judged.a} against {other} {signed(judged.difference)} (95 % interval {span}): {word}"
