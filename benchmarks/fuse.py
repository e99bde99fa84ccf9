"""Do class-level pairs, or pairs by nearest neighbour, help retrieval beside true pairs?

    python -m benchmarks.fuse [--true 150] [--draws 3] [--folder FOLDER]

Emoji with English names, written as files. The true pairs are 150 training images with their own names. The other
training images and their names are two tables, whose rows are in no known order. Each run of `tfxfer train retrieval`
has the same validation and test split, of true pairs, and the same encoder (a small CNN that learned the categories of
emoji): the true pairs alone; with pairs of one class; with pairs by nearest neighbour, fitted on the true ones; and, as
what could be gained at most, with the names that belong to the other images. Prints a table with the verdict on each
against the true pairs alone, over several draws of these. Transfer in closed form is scored, the best method of this
task; the text tower, which the recipe trains beside it, makes one step.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import tfxfer
from tfxfer import cli
from tfxfer.data.splits import SPLITS
from tfxfer.evaluate.verdict import verdict
from tfxfer.records import Comparison
from tfxfer.tasks.image_text_pairs import captions_of, first_rows
from tfxfer.tasks.pair_kinds import CLASS, made_by
from tfxfer.train import work

ALIKE = "mix=temperature:1&test=first"
SETTINGS = (
    "--arms transfer closed_form --image-encoder emoji --seeds 1 --probe-seeds 1 --steps 1 --learning-rates 0.001"
)
MEASURES = ("recall_at_1", "reciprocal_rank")


def write_tables(folder: Path, true: int, draw: int) -> None:
    """Write the images as files, and the tables true.csv, images.csv, names.csv and all.csv."""
    emoji = tfxfer.load("emoji")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[tuple[str, str, str, str]]] = {}  # split -> (image, caption, label, split)
    for split in SPLITS:
        labels, texts = emoji.labels(split), emoji.texts(split)
        images = emoji.arrays(split)["image"]
        rows[split] = []
        for i, (image, text, label) in enumerate(zip(images, texts, labels)):
            name = f"images/{split}-{i:04}.png"
            Image.fromarray(image).save(folder / name)
            rows[split].append((name, text, emoji.class_names[label], split))
    order = np.random.default_rng(draw).permutation(len(rows["train"]))
    known = [rows["train"][i] for i in order[:true]]
    others = [rows["train"][i] for i in order[true:]]
    judged = rows["validation"] + rows["test"]
    _write(folder / "true.csv", "image,caption,label,split", known + judged)
    _write(folder / "all.csv", "image,caption,label,split", known + others + judged)
    _write(folder / "images.csv", "image,label,split", [(image, *rest) for image, _, *rest in others + judged])
    _write(folder / "names.csv", "text,label,split", sorted(rest for _, *rest in others + judged))


def _write(path: Path, header: str, rows: list) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def targets(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what is learned from, and its spec."""
    true, images, names = (f"csv:{folder / name}.csv" for name in ("true", "images", "names"))
    by_class = f"[fuse:{images}+{names}?on=label]"
    nearest = f"fuse:{images}+{names}?on=nearest&via={true}"
    yield "true pairs alone", true
    yield "and class-level pairs", f"fuse:{true}+{by_class}?{ALIKE}"
    yield "and nearest pairs", f"fuse:{true}+[{nearest}]?{ALIKE}"
    yield "and the true pairs of the others", f"csv:{folder / 'all.csv'}"


def train(spec: str, run_dir: Path) -> tuple[int, np.ndarray]:
    """Train on a target; return the number of its training pairs, and the scores of its test images, [M, N]."""
    data = tfxfer.load(spec)
    pairs = len(first_rows(captions_of(data)["train"], made_by(data, "train", CLASS)))
    asked = ["retrieval", "--target", spec, "--pairs", str(pairs), "--run-dir", str(run_dir), *SETTINGS.split()]
    if not (run_dir / "report.html").exists() and cli.main(work, asked):
        raise SystemExit(f"the training on {spec} failed")
    records = Comparison.load(run_dir)
    return pairs, np.concatenate([records.scores("closed_form", pairs, measure) for measure in MEASURES])


def row(name: str, found: list[tuple[int, np.ndarray]], first: list[tuple[int, np.ndarray]]) -> str:
    """Return a row of the table, from the pairs and scores of each draw."""
    cells = [name, f"{np.mean([pairs for pairs, _ in found]):,.0f}"]
    for number in range(len(MEASURES)):
        ours, before = (np.stack([scores[number] for _, scores in one]) for one in (found, first))
        cells.append(f"{ours.mean():.3f}")
        if found is first:
            cells.append("")
            continue
        said = verdict(ours, before)
        cells.append(f"{said.difference:+.3f} ({said.low:+.3f} to {said.high:+.3f}), {said.word}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the data, train, and print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.fuse", description=__doc__.splitlines()[0])
    parser.add_argument("--true", type=int, default=150, help="true pairs (default: 150)")
    parser.add_argument("--draws", type=int, default=3, help="draws of the true pairs, 2 or more (default: 3)")
    parser.add_argument("--folder", type=Path, help="where data and runs are kept (default: a temporary folder)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        found: dict[str, list[tuple[int, np.ndarray]]] = {}
        for draw in range(given.draws):
            write_tables(folder / str(draw), given.true, draw)
            for number, (name, spec) in enumerate(targets(folder / str(draw))):
                found.setdefault(name, []).append(train(spec, folder / str(draw) / f"run-{number}"))
    print("| learned from | pairs | recall@1 | against true pairs alone | reciprocal rank | against true pairs alone |")
    print("|---|---|---|---|---|---|")
    first = next(iter(found.values()))
    for name, rows in found.items():
        print(row(name, rows, first))


if __name__ == "__main__":
    main()
