"""A run's weight map: printed, saved as a plan that can be applied again, and shown in the report as the ledger."""

from tfxfer.recipes.panels.ledger import ledger_panel
from tfxfer.report.panel import Panel
from tfxfer.runs import Run
from tfxfer.transfer.structure import WeightMap
from tfxfer.transfer.structure.weight_map.ledger import entries, flows, show_layers, totals


def keep_ledger(weight_map: WeightMap, proof: str, run: Run) -> Panel:
    """Print a weight map, one line a layer, and write `weight_map.json`; return the panel of the report.

    Args:
        weight_map: The plan.
        proof: A sentence on what the new model keeps of the source; empty where nothing can be shown.
        run: The run.
    """
    show_layers(weight_map, run.console)
    if proof:
        run.say(proof)
    weight_map.to_json(run.folder / "weight_map.json")
    return ledger_panel(
        entries(weight_map, group=True), totals(weight_map), proof, flows(weight_map), dict(weight_map.titles)
    )
