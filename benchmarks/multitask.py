"""Write easy-VQA as a table for `tfxfer train multitask`: with the shape and the colour of each image as classes.

    python -m benchmarks.multitask FOLDER TABLE.csv

FOLDER holds easy-VQA (Zhou 2019, MIT): `questions.csv` with image, question and answer, and the folder `images`. The
shape and the colour of an image are the answers to its questions that ask for them; an image without both is left out
and counted. TABLE.csv has the columns image, question, answer, shape, colour, a row for each question.
"""

import argparse
import csv
from pathlib import Path

SHAPES = ("circle", "rectangle", "triangle")
YES_NO = ("yes", "no")


def facts_of(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return image → its "shape" and its "colour", as far as its questions ask for them.

    >>> facts_of([{"image": "1.png", "answer": "circle"}, {"image": "1.png", "answer": "red"}])
    {'1.png': {'shape': 'circle', 'colour': 'red'}}
    """
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        own, answer = found.setdefault(row["image"], {}), row["answer"]
        if answer not in YES_NO:
            own["shape" if answer in SHAPES else "colour"] = answer
    return found


def write(folder: Path, table: Path) -> tuple[int, int]:
    """Write the table; return how many images it has, and how many are left out."""
    with (folder / "questions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    facts = {image: own for image, own in facts_of(rows).items() if len(own) == 2}
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["image", "question", "answer", "shape", "colour"])
        for row in rows:
            if row["image"] in facts:
                own = facts[row["image"]]
                place = (folder / "images" / row["image"]).resolve()
                out.writerow([place, row["question"], row["answer"], own["shape"], own["colour"]])
    return len(facts), len({row["image"] for row in rows}) - len(facts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="easy-VQA: questions.csv and the folder images")
    parser.add_argument("table", type=Path, help="the table that is written")
    given = parser.parse_args()
    kept, left = write(given.folder, given.table)
    print(f"{given.table}: {kept:,} images; {left:,} left out, whose shape or colour no question asks for")
