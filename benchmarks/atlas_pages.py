"""docs/atlas.md, its heat maps, and a table of docs/choosing.md, made from tfxfer/choose/atlas.csv."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from tfxfer.choose.atlas_table import METHODS, Cell
from tfxfer.choose.track_record import ADVICE, RANDOM, RULE, Situation, coverage, outcomes, regrets, situations
from tfxfer.evaluate.verdict import signed

DOCS = Path(__file__).parent.parent / "docs"
PAGES = (DOCS / "atlas.md", DOCS / "choosing.md")
RIVALS = {"over_random": "random weights", "over_native": "the native baseline"}
BLOCK = re.compile(r"(<!-- atlas: (\w+) -->\n)(?:(?!<!-- ).)*(<!-- end -->)", re.DOTALL)


def write(cells: Sequence[Cell]) -> str:
    """Write the heat maps, and the tables into the pages; return the most important ones."""
    made = blocks(cells)
    for gain in RIVALS:
        (DOCS / figure_name(gain)).write_text(heat_map(cells, gain), encoding="utf-8")
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8"), made), encoding="utf-8")
    return "\n\n".join(made[name] for name in ("summary", "coverage", "regret"))


def filled(page: str, made: dict[str, str]) -> str:
    """Return a page with what stands between its marks replaced."""
    return BLOCK.sub(lambda found: f"{found[1]}{made[found[2]]}\n{found[3]}", page)


def figure_name(gain: str) -> str:
    """Return the file name of a heat map.

    >>> figure_name("over_random")
    'atlas-over-random.svg'
    """
    return f"atlas-{gain.replace('_', '-')}.svg"


def blocks(cells: Sequence[Cell]) -> dict[str, str]:
    """Return name of a mark -> what stands there."""
    found = situations(cells)
    return {
        "size": size_sentence(cells),
        "summary": summary_table(cells),
        "sources": source_table(cells),
        "coverage": coverage_table(found),
        "regret": regret_table(found),
        "choices": choices_table(found),
        "cells": cells_table(cells),
        "edges": edges_table(cells),
    }


# === Tables ===


def size_sentence(cells: Sequence[Cell]) -> str:
    """Return how many cells of what there are."""
    counts = [len({getattr(cell, name) for cell in cells}) for name in ("source", "target")]
    pairs = len({(cell.bridge, cell.method) for cell in cells})
    words = {word: sum(verdict(cell, "over_random") == word for cell in cells) for word in ("helped", "hurt")}
    above = sum(verdict(cell, "over_native") == "helped" for cell in cells)
    return (
        f"{len(cells)} cells: {counts[0]} sources, {pairs} pairs of bridge and method, {counts[1]} targets. Against "
        f"random weights transfer helped in {words['helped']}, hurt in {words['hurt']}, and there is no evidence in "
        f"{len(cells) - sum(words.values())}. It was better than the native baseline in {above}."
    )


def verdict(cell: Cell, gain: str) -> str:
    """Return "helped", "hurt" or "no evidence", by the 95 % interval."""
    low, high = getattr(cell, f"{gain}_low"), getattr(cell, f"{gain}_high")
    return "helped" if low > 0 else "hurt" if high < 0 else "no evidence"


def grouped(cells: Sequence[Cell], *names: str) -> dict[tuple, list[Cell]]:
    """Return values of some attributes -> the cells that have them, in their order."""
    found: dict[tuple, list[Cell]] = defaultdict(list)
    for cell in cells:
        found[tuple(getattr(cell, name) for name in names)].append(cell)
    return dict(found)


def _gains_table(heads: str, rows: Iterable[tuple[str, Sequence[Cell]]]) -> str:
    """Return a table of mean gains and numbers of verdicts; rows without cells are left out."""
    columns = "cells | over random weights | helped | no evidence | hurt | over native | better | no evidence | worse"
    lines = [f"| {heads} | {columns} |", "|---" * (heads.count("|") + 10) + "|"]
    for words, cells in rows:
        if cells:
            both = " | ".join(_counts(cells, gain) for gain in RIVALS)
            lines.append(f"| {words} | {len(cells)} | {both} |")
    return "\n".join(lines)


def _counts(cells: Sequence[Cell], gain: str) -> str:
    words = [verdict(cell, gain) for cell in cells]
    mean = np.mean([getattr(cell, gain) for cell in cells])
    return f"{signed(mean)} | {words.count('helped')} | {words.count('no evidence')} | {words.count('hurt')}"


def summary_table(cells: Sequence[Cell]) -> str:
    """Return a row for each bridge and method."""
    pairs = grouped(cells, "bridge", "method")
    order = [(bridge, method) for bridge, methods in METHODS.items() for method in methods]
    return _gains_table("bridge | method", [(" | ".join(pair), pairs.get(pair, [])) for pair in order])


def source_table(cells: Sequence[Cell]) -> str:
    """Return a row for each source."""
    return _gains_table(
        "source | trained on", [(" | ".join(pair), here) for pair, here in grouped(cells, "source", "training").items()]
    )


def coverage_table(found: Sequence[Situation]) -> str:
    """Return coverage and width of the 90 % intervals."""
    lines = [
        "| gain | outcomes | within the 90 % interval | mean width | mean error of the prediction "
        "| of the mean of all other targets |",
        "|---" * 6 + "|",
    ]
    for gain, held in coverage(found).items():
        pairs = outcomes(found, gain)
        width = np.mean([ends.high - ends.low for ends, _ in pairs])
        error = np.mean([abs(ends.mean - value) for ends, value in pairs])
        plain = np.mean(
            [abs(mean_of_others(found, one.target, gain) - getattr(cell, gain)) for one in found for cell in one.cells]
        )
        lines.append(f"| over {RIVALS[gain]} | {len(pairs)} | {held:.0%} | {width:.3f} | {error:.3f} | {plain:.3f} |")
    return "\n".join(lines)


def mean_of_others(found: Sequence[Situation], target: str, gain: str) -> float:
    """Return the mean gain of all cells of other targets: the plainest prediction there is."""
    return float(np.mean([getattr(cell, gain) for one in found if one.target != target for cell in one.cells]))


def regret_table(found: Sequence[Situation]) -> str:
    """Return the regret of each way to choose, and how much more it loses than choosing by the prediction."""
    counts = sorted({one.labels for one in found})
    heads = ["way to choose", "mean regret", "more than by the prediction", "greatest", "chose the best"]
    heads += [f"at {count} labels" for count in counts]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    labels, targets = (np.array([getattr(one, name) for one in found]) for name in ("labels", "target"))
    all_regrets = regrets(found)
    for name, lost in all_regrets.items():
        low, high = over_targets(lost - all_regrets[ADVICE], targets)
        more = f"{signed(float(np.mean(lost - all_regrets[ADVICE])))} ({signed(low)} to {signed(high)})"
        shares = [f"{lost.mean():.3f}", "–" if name == ADVICE else more, f"{lost.max():.3f}"]
        shares += ["–" if name == RANDOM else f"{np.mean(lost < 1e-9):.0%}"]
        shares += [f"{lost[labels == count].mean():.3f}" for count in counts]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    return "\n".join([*lines, "", f"{len(found)} choices. The static rule: *{RULE}*"])


def over_targets(values: np.ndarray, targets: np.ndarray, draws: int = 4000) -> tuple[float, float]:
    """Return the 95 % interval of a mean over draws of targets, with all values of a target together.

    Args:
        values: One for each choice, [S].
        targets: The target of each, [S].
        draws: Bootstrap draws.
    """
    groups = [values[targets == target] for target in np.unique(targets)]
    sums, sizes = np.array([group.sum() for group in groups]), np.array([len(group) for group in groups])
    drawn = np.random.default_rng(0).integers(0, len(groups), (draws, len(groups)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def choices_table(found: Sequence[Situation]) -> str:
    """Return the best cell of each target and number of labels, beside native."""
    lines = ["| target | labels a class | native | best candidate | its accuracy |", "|---" * 5 + "|"]
    for one in found:
        best = max(one.cells, key=lambda cell: cell.accuracy)
        shown = [f"{one.native:.3f}", f"{best.accuracy:.3f}"]
        shown[best.accuracy > one.native] = f"**{shown[best.accuracy > one.native]}**"
        what = f"{best.source}, {best.bridge}, {best.method}"
        lines.append(f"| {one.target} | {one.labels} | {shown[0]} | {what} | {shown[1]} |")
    return "\n".join(lines)


LARGE = ("MiniLM", "EfficientNet-Lite0")  # sources that learned from far more than these data
EDGES: dict[str, tuple[str, Callable[[Cell], bool]]] = {  # letter of an edge of docs/choosing.md -> words, its cells
    "a": (
        "texts, read, beside n-grams; small sources",
        lambda cell: cell.method == "ngrams" and cell.source not in LARGE,
    ),
    "b": ("texts, read, beside n-grams; MiniLM", lambda cell: cell.method == "ngrams" and cell.source == "MiniLM"),
    "c": ("texts, read, without n-grams; small sources", lambda cell: _read(cell) and cell.source not in LARGE),
    "d": ("texts, read, without n-grams; MiniLM", lambda cell: _read(cell) and cell.source == "MiniLM"),
    "e": ("texts, drawn, a CNN of characters", lambda cell: _drawn(cell) and "characters" in cell.source),
    "f": ("texts, drawn, another or an untrained CNN", lambda cell: _drawn(cell) and "characters" not in cell.source),
    "g": ("images, a network that learned ImageNet", lambda cell: _seen(cell) and cell.source in LARGE),
    "h": ("images, a small trained CNN", lambda cell: _seen(cell) and cell.training != "none" and not _large(cell)),
    "i": ("images, an untrained CNN", lambda cell: _seen(cell) and cell.training == "none"),
    "j": (
        "images, a text model, by tokens or a weight map",
        lambda cell: cell.bridge == "tokens" and cell.takes == "text",
    ),
    "k": ("texts, an image model, by tokens", lambda cell: cell.bridge == "tokens" and cell.takes == "image"),
    "l": ("everything trained from the source", lambda cell: cell.method == "finetune"),
}


def _large(cell: Cell) -> bool:
    return cell.source in LARGE


def _read(cell: Cell) -> bool:
    return (cell.bridge, cell.method) == ("read", "probe")


def _drawn(cell: Cell) -> bool:
    return (cell.bridge, cell.method) == ("render", "probe")


def _seen(cell: Cell) -> bool:
    return (cell.bridge, cell.method) == ("none", "probe")


def edges_table(cells: Sequence[Cell]) -> str:
    """Return a row for each edge of the decision tree in docs/choosing.md."""
    rows = [
        (f"{letter} | {words}", [cell for cell in cells if belongs(cell)]) for letter, (words, belongs) in EDGES.items()
    ]
    return _gains_table("edge | what", rows)


def cells_table(cells: Sequence[Cell]) -> str:
    """Return all cells."""
    lines = [
        "| target | labels | source | bridge, method | accuracy | random | native | over random weights "
        "| over native |",
        "|---" * 9 + "|",
    ]
    for cell in sorted(cells, key=lambda cell: (cell.target, cell.labels, cell.bridge, cell.source, cell.method)):
        shares = " | ".join(f"{value:.3f}" for value in (cell.accuracy, cell.random, cell.native))
        gains = " | ".join(_interval(cell, gain) for gain in RIVALS)
        lines.append(
            f"| {cell.target} | {cell.labels} | {cell.source} | {cell.bridge}, {cell.method} | {shares} | {gains} |"
        )
    return "\n".join(lines)


def _interval(cell: Cell, gain: str) -> str:
    value, low, high = (signed(getattr(cell, gain + end)) for end in ("", "_low", "_high"))
    text = f"{value} ({low} to {high})"
    return text if verdict(cell, gain) == "no evidence" else f"**{text}**"


# === Heat maps ===

LEFT, TOP, WIDTH, HEIGHT = 216, 150, 62, 44  # pixels: margins, and the size of a square
SYMBOLS = {"helped": "▲", "hurt": "▼", "no evidence": "·"}
FULL = 0.3  # gain of the strongest colour
UP, DOWN, PLAIN = (33, 102, 172), (178, 72, 24), (247, 247, 247)  # blue, orange-brown, nearly white


def heat_map(cells: Sequence[Cell], gain: str) -> str:
    """Return a heat map as SVG: a row for each source, bridge and method, a column for each target.

    A square has the mean gain over its label counts, and for each of them a sign of the verdict. The ground is white,
    so that it reads the same on a dark page.
    """
    rows = grouped(sorted(cells, key=_row_order), "source", "bridge", "method")
    targets = sorted({(cell.gives != "text", cell.target) for cell in cells})
    width, height = LEFT + WIDTH * len(targets) + 70, TOP + HEIGHT * len(rows) + 78
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="DejaVu Sans, Verdana, sans-serif" font-size="14">',
        f"<title>Gain in accuracy over {RIVALS[gain]}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
        f'<text x="16" y="28" font-size="17" font-weight="bold" fill="#111111">Gain over {RIVALS[gain]}</text>',
        '<text x="16" y="50" fill="#333333">mean over label counts,</text>',
        '<text x="16" y="68" fill="#333333">and a sign for each</text>',
    ]
    for i, (image, target) in enumerate(targets):
        place = f"translate({LEFT + WIDTH * i + 26} {TOP - 8}) rotate(-38)"
        parts.append(f'<text transform="{place}" fill="{"#6a3d9a" if image else "#111111"}">{escape(target)}</text>')
    for j, (row, here) in enumerate(rows.items()):
        parts += _heat_row(row, here, [target for _, target in targets], TOP + HEIGHT * j, gain)
    legend = "▲ helped  ▼ hurt  · no evidence   (95 % interval, fewest labels first); empty: not measured"
    columns = "columns: black texts, violet images"
    for line, text in enumerate((legend, columns)):
        parts.append(f'<text x="16" y="{height - 42 + 22 * line}" fill="#333333">{text}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _row_order(cell: Cell) -> tuple:
    return (list(METHODS).index(cell.bridge), METHODS[cell.bridge].index(cell.method), cell.source)


def _heat_row(row: tuple, here: Sequence[Cell], targets: Sequence[str], y: int, gain: str) -> list[str]:
    source, bridge, method = row
    upper, lower = y + HEIGHT // 2 - 3, y + HEIGHT // 2 + 14
    at = f'x="{LEFT - 10}" text-anchor="end"'
    parts = [
        f'<text {at} y="{upper}" fill="#111111">{escape(source)}</text>',
        f'<text {at} y="{lower}" fill="#555555" font-size="13">{bridge}, {method}</text>',
    ]
    for i, target in enumerate(targets):
        cells = sorted((cell for cell in here if cell.target == target), key=lambda cell: cell.labels)
        if not cells:
            continue
        value = float(np.mean([getattr(cell, gain) for cell in cells]))
        fill, ink = colour(value)
        x = LEFT + WIDTH * i
        at = f'x="{x + WIDTH // 2}" text-anchor="middle" fill="{ink}"'
        signs = " ".join(SYMBOLS[verdict(cell, gain)] for cell in cells)
        parts += [
            f'<rect x="{x + 1}" y="{y + 1}" width="{WIDTH - 2}" height="{HEIGHT - 2}" rx="3" fill="{fill}"/>',
            f'<text {at} y="{upper}">{short(value)}</text>',
            f'<text {at} y="{lower}" font-size="12">{signs}</text>',
        ]
    return parts


def short(value: float) -> str:
    """Return a gain in two digits.

    >>> short(0.123), short(-0.004), short(-0.31)
    ('+.12', '.00', '−.31')
    """
    text = f"{abs(value):.2f}".removeprefix("0")
    return text if float(text) == 0 else ("+" if value > 0 else "−") + text


def colour(value: float) -> tuple[str, str]:
    """Return the colours of a square and of the text in it: blue above 0, brown below, stronger with the size.

    The text is black or white, whichever has the greater contrast (WCAG 2).
    """
    share = min(abs(value) / FULL, 1.0) ** 0.7
    end = UP if value > 0 else DOWN
    mixed = [round(a + (b - a) * share) for a, b in zip(PLAIN, end)]
    return "#{:02x}{:02x}{:02x}".format(*mixed), "#ffffff" if luminance(mixed) < 0.18 else "#111111"


def luminance(rgb: Sequence[int]) -> float:
    """Return the relative luminance of a colour, within 0 and 1.

    >>> luminance((0, 0, 0)), luminance((255, 255, 255))
    (0.0, 1.0)
    """
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb)]
    return round(float(np.dot((0.2126, 0.7152, 0.0722), linear)), 6)
