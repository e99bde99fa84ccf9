"""Numbers as text: budgets, times, costs and chosen hyperparameters."""

from collections.abc import Iterable
from typing import Any


def budget_name(budget: int | str | None) -> str:
    """Return a budget as a short name: "20", "all" or "pooled"."""
    return "all" if budget is None else f"{budget:,}" if isinstance(budget, int) else str(budget)


def duration(seconds: float | None) -> str:
    """Return a time with its unit.

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
    """Return the hyperparameters chosen on validation, over several seeds, without the lists of values tried.

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
