"""The panel of what image and text tell of the class, together and alone; it is there before any head is trained."""

from dataclasses import astuple

from tfxfer.evaluate.complementarity import Complementarity
from tfxfer.report.panel import Panel

PARTS = ("shared by both", "image alone", "text alone", "only both together (synergy)")
FEW = 0.05  # bits: less than this above shuffled labels is called nothing, as the notes say of hundredths


def sentences(found: Complementarity) -> list[str]:
    """Return what is printed: the parts in bits, and what they let expect of a fusion."""
    shared, image, text, synergy = astuple(found.corrected)
    said = [
        f"complementarity: of {found.entropy:.2f} bits of class, clusters of image and text tell "
        f"{found.found.total:.2f}; less what shuffled labels give: shared {shared:.2f}, image alone {image:.2f}, text "
        f"alone {text:.2f}, synergy {synergy:.2f}"
    ]
    weaker = min(("image", image + synergy), ("text", text + synergy), key=lambda row: row[1])
    if weaker[1] < FEW:
        said.append(
            f"complementarity: the {weaker[0]} adds nothing to the other side that clusters show; fusion is expected "
            "to be no better than the better side"
        )
    else:
        said.append(
            f"complementarity: the {weaker[0]}, which adds less, still adds {weaker[1]:.2f} bits; fusion can help by "
            "that"
        )
    return said


def complementarity_panel(found: Complementarity) -> Panel:
    """Return the panel: the parts in bits, beside those of shuffled labels."""
    columns = zip(
        PARTS, astuple(found.found), astuple(found.chance), astuple(found.chance_most), astuple(found.corrected)
    )
    rows = [[name, *values] for name, *values in columns]
    sums = [decomposition.total for decomposition in (found.found, found.chance)]
    rows.append(["all four", *sums, None, found.corrected.total])
    return Panel(
        "Do image and text complement each other?",
        paragraphs=(
            "Before a head was trained: what both sides tell of the class, in bits. What both share, fusion cannot "
            "add. It can add what only the weaker side tells, and what only both together tell, as the two inputs of "
            "XOR do.",
            *(line.removeprefix("complementarity: ").capitalize() + "." for line in sentences(found)),
        ),
        tables=(
            {
                "caption": f"Partial information decomposition of {found.examples:,} training examples, "
                f"{found.clusters} clusters a side, classes of {found.entropy:.2f} bits",
                "columns": ["part", "bits", "with shuffled labels", "most of 5 shuffles", "bits less shuffled"],
                "rows": rows,
            },
        ),
        notes=(
            "Bertschinger et al. (2014), as Liang et al. (2023) use it for modalities. The features of each side are "
            "put into clusters without labels. What differs within a cluster is lost, so all four parts together are "
            "fewer bits than a trained head may find, and the parts are those of the clusters. Few examples make "
            "counts look informative, synergy most of all: compare with the shuffled labels, and read differences of "
            "hundredths of a bit as none. No arm uses these figures.",
        ),
    )
