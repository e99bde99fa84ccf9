"""The panel of where captions come from: how many are new."""

from collections.abc import Mapping

from tfxfer.report.panel import Panel


def choice_panel(new: Mapping[str, Mapping[int, float]]) -> Panel | None:
    """Return the panel; None where there is nothing to say.

    Args:
        new: arm -> budget -> the share of its answers, 0 to 1, that are not among the training captions.
    """
    if not new:
        return None
    budgets = sorted({budget for shares in new.values() for budget in shares})
    rows = [[arm, *(shares.get(budget) for budget in budgets)] for arm, shares in new.items()]
    table = {
        "caption": "Share of the answers that are not among the training captions, by budget",
        "columns": ["arm", *(f"{budget:,}" for budget in budgets)],
        "rows": rows,
    }
    transfer = new.get("transfer", {})
    most = max(transfer, default=0)
    said = [f"{transfer[most] * 100:.0f} % of the captions of transfer are new at {most:,} pairs."] if transfer else []
    return Panel(
        "Where the captions come from",
        paragraphs=(
            "A caption that retrieval proposes was written by a person, for another image. A new caption is composed "
            "by the decoder. The closed form retrieves only, and trains no network.",
        ),
        points=tuple(said),
        tables=(table,),
    )
