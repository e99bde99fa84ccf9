"""The plain words of a report: what each transfer is, what each arm is there for, how numbers look."""

from collections.abc import Iterable
from typing import Any

EXPLANATIONS = {  # kind of transfer -> (equation, what it means)
    "feature": (
        "f(x) = W · φ(x) + b",
        "A network was first trained on one kind of data, pictures or text. A piece of it, φ, is kept as it "
        "is and shown examples of the other kind, brought into a form it can read. Only W and b, a small "
        "layer on top, are fitted to the labelled examples of the new task. If φ carries useful knowledge "
        "across, a few labels are enough.",
    ),
    "knowledge": (
        "K = f(X) · g(Y) + h(X, Y)",
        "f turns one side into vectors, pictures say, and g the other side, text say. Their product says how "
        "well two things match, and h lets them look at each other in more detail. One side brings knowledge "
        "from earlier training; the question is whether that helps the pair.",
    ),
    "structure": (
        "M = T(S)",
        "The weights of a trained source network S are carried into another network M by T, a list of rules "
        "that says which tensor of M is made of which tensors of S. M then trains on its own task; the "
        "question is whether it starts better off than with fresh weights.",
    ),
}
KIND_OF_RECIPE = {"vqa": "knowledge", "retrieval": "knowledge", "captioning": "knowledge"}

ARMS = {
    "transfer": "The method under study: knowledge from the source, carried to the new task.",
    "random": "The same network and the same trained part, but the source's weights are replaced by fresh "
    "random ones. If this does as well, nothing was transferred. It is the main control.",
    "scratch": "Everything trained from fresh weights, with the labels of the new task only.",
    "finetune": "Everything trained, starting from the source's weights.",
    "native": "The plain method of the task's own field, without any transfer. It shows what one would normally use.",
    "majority": "Always answers with the most frequent class. Anything useful must beat it.",
    "shuffled": "The same training pairs, but shuffled. If this does as well, the pairing taught nothing.",
    "neighbour": "No network: the answer that belongs to the training picture which looks most alike.",
    "random_f": "As transfer, but the network that sees the pictures has fresh random weights. If this does as well, "
    "what that network had learned did not matter.",
    "anchors": "Nothing is trained: a picture and a text belong together when both resemble the same training pairs.",
    "blind": "The same network with its picture replaced by noise. If this does as well, it never looked.",
    "random_g": "As transfer, but the network that reads the texts begins with fresh random weights.",
    "question_only": "The same network, and every picture is the mean one. If this does as well, it never looked.",
    "prior": "No network: the answer that training gave most often to the same question.",
}


def explanation(recipe: str | None) -> tuple[str, str]:
    """Return equation and explanation of a recipe's kind of transfer; feature transfer when unknown."""
    kind = KIND_OF_RECIPE.get(str(recipe), str(recipe))
    return EXPLANATIONS.get(kind, EXPLANATIONS["feature"])


def budget_name(budget: int | str | None) -> str:
    """Write a label budget as a short name: "20", "all" or "pooled"."""
    return "all" if budget is None else f"{budget:,}" if isinstance(budget, int) else str(budget)


def duration(seconds: float | None) -> str:
    """Write a time for people.

    >>> duration(0.42), duration(31.2), duration(125), duration(7300), duration(None)
    ('0.4 s', '31 s', '2 min 5 s', '2 h 1 min', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def cost(name: str, value: float) -> tuple[str, str]:
    """Return the label and the amount of one of `Comparison.costs`: seconds, unless the name ends in a unit.

    >>> cost("peak_memory_mib", 1234.5), cost("source", 31.2)
    (('peak memory', '1,234 MiB'), ('source', '31 s'))
    """
    for suffix, unit in (("_mib", "MiB"), ("_mb", "MB"), ("_gib", "GiB"), ("_wh", "Wh")):
        if name.endswith(suffix):
            return name.removesuffix(suffix).replace("_", " "), f"{value:,.0f} {unit}"
    return name.removesuffix("_seconds").replace("_", " "), duration(value)


def chosen(settings: Iterable[dict[str, Any]]) -> str:
    """Write what validation chose over several seeds, leaving aside lists of what was tried.

    >>> chosen([{"l2": 0.001, "tried": [1, 2]}, {"l2": 0.01}])
    'l2 0.001 or 0.01'
    """
    found: dict[str, list[str]] = {}
    for one in settings:
        for name, value in one.items():
            if name == "method" or not isinstance(value, (int, float, str)):
                continue
            text = f"{value:.3g}" if isinstance(value, float) else str(value)
            if text not in found.setdefault(name, []):
                found[name].append(text)
    return "; ".join(f"{name.replace('_', ' ')} {' or '.join(values)}" for name, values in found.items())
