"""The panel of forgetting: the source's own task before and after fine-tuning."""

from tfxfer.evaluate.comparison import budget_words
from tfxfer.evaluate.elsewhere import forgetting
from tfxfer.evaluate.verdict import Verdict, signed
from tfxfer.records import Comparison
from tfxfer.report.panel import Panel

TITLE = "What the source forgot"
WORDS = {"helped": "better than before", "hurt": "forgotten", "no evidence": "no evidence of a change"}


def forgetting_panel(comparison: Comparison, score: str = "accuracy", unscored: str = "") -> Panel | None:
    """Return the panel; None where no arm fine-tunes.

    Args:
        comparison: The records.
        score: What the source's own task is scored by, such as "accuracy".
        unscored: Why it is not scored, where an arm fine-tunes all the same.
    """
    found = forgetting(comparison)
    if not found:
        return Panel(TITLE, paragraphs=(f"Not scored: {unscored}.",)) if unscored else None
    return Panel(
        TITLE,
        paragraphs=(
            "Fine-tuning changes the source's weights. They were put back into the source, and its own head answered "
            f"held-out examples of its own task, in {score}, before and after.",
        ),
        points=tuple(
            _sentence(arm, budget_words([budget], comparison.unit), row, score) for (arm, budget), row in found.items()
        ),
        tables=(
            {
                "caption": f"{score} of the source's own task before and after fine-tuning",
                "columns": ["arm", "budget", "before", "after", "difference", "95 % interval", "result"],
                "rows": [
                    [
                        arm,
                        budget_words([budget], comparison.unit),
                        before,
                        after,
                        signed(judged.difference),
                        f"{signed(judged.low)} to {signed(judged.high)}",
                        WORDS[judged.word],
                    ]
                    for (arm, budget), (before, after, judged) in found.items()
                ],
            },
        ),
        notes=("The intervals are drawn over the source's examples, and hold the variation between seeds.",),
        folded=True,
    )


def _sentence(arm: str, where: str, row: tuple[float, float, Verdict], score: str) -> str:
    before, after, judged = row
    examples = f"{judged.examples:,} source examples"
    return f"{arm} at {where}: {before:.3f} {score} before, {after:.3f} after ({WORDS[judged.word]}, {examples})."
