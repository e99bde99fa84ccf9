"""The panel of a weight map: a Sankey diagram, the totals, and the ledger tensor by tensor."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfxfer.report.panel import Panel

COLUMNS = ("tensor of the target", "shape", "operation", "made from", "parameters", "share")


def ledger_panel(
    entries: Sequence[Mapping[str, Any]],
    totals: Sequence[str],
    proof: str,
    flows: Mapping[str, Any],
    titles: Mapping[str, str],
) -> Panel:
    """Return the panel of a weight map.

    Args:
        entries: Rows of the ledger, as `weight_map.ledger.entries` returns them: dicts with "target", "shape",
            "operation", "sources" (paths), "parameters", "share" (0..1) and "tensors".
        totals: Sentences, as `weight_map.ledger.totals` returns them.
        proof: A sentence on the outputs that the new model shares with the source; may be empty.
        flows: "flows": rows [source layer or None, target layer, operation, parameters], and "unread": rows
            [source layer, parameters], as `weight_map.ledger.flows` returns them.
        titles: Names of the source and the target.
    """
    text = (
        "Layers of the source are on the left, layers of the new model on the right. The width of a link is its "
        "number of parameters. A link that ends in the middle is a part of the source that is not used. A link that "
        "begins in the middle is a new part, which is not trained yet."
    )
    figure = {
        "name": "sankey",
        "arguments": {"flows": flows["flows"], "unread": flows["unread"], "titles": dict(titles)},
        "description": "Sankey diagram of the weight map: layers of the source on the left, of the target on the "
        "right, linked by the parameters they share. The numbers are in the table below.",
    }
    table = {
        "caption": "The ledger, tensor by tensor",
        "columns": list(COLUMNS),
        "rows": [_row(entry) for entry in entries],
    }
    return Panel(
        "The weight map: the source of each parameter",
        paragraphs=(text, proof) if proof else (text,),
        points=tuple(totals),
        figures=(figure,),
        tables=(table,),
        notes=("The whole plan is in weight_map.json in the folder of the run. It can be reviewed and applied again.",),
        folded=True,
    )


def _row(entry: Mapping[str, Any]) -> list[Any]:
    times = f" ×{entry['tensors']}" if entry["tensors"] > 1 else ""
    shape = "×".join(map(str, entry["shape"])) or "scalar"
    sources = ", ".join(entry["sources"]) or "–"
    share = f"{entry['share'] * 100:.1f} %"
    return [entry["target"] + times, shape, entry["operation"], sources, entry["parameters"], share]
