"""The ledger of a run: printed for the person, kept for the report, saved as a plan that can be applied again."""

from tfxfer.cache import write_json
from tfxfer.runs import Run
from tfxfer.transfer.structure.weight_map.ledger import entries, flows, show_layers, totals
from tfxfer.transfer.structure.weight_map.weight_map import WeightMap


def keep(weight_map: WeightMap, proof: str, this: Run) -> None:
    """Print a weight map, a layer a line, and what is proven of it; write `weight_map.json` and `ledger.json`.

    Args:
        weight_map: The plan.
        proof: A sentence on what the model made keeps of the source; empty where nothing can be said.
        this: The run.
    """
    show_layers(weight_map, this.console)
    if proof:
        this.say(proof)
    weight_map.to_json(this.folder / "weight_map.json")
    told = {"entries": entries(weight_map, group=True), "totals": totals(weight_map), "proof": proof}
    write_json(this.folder / "ledger.json", told | {"flows": flows(weight_map), "titles": dict(weight_map.titles)})
