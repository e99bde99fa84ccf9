"""The panel of the dictionary: what chance gives, and which arms may be compared."""

from tfxfer.report.panel import Panel


def chance_panel(concepts: int, languages: tuple[str, str]) -> Panel:
    """Return the panel.

    Args:
        concepts: Names in the test split, N, of each language.
        languages: Their names.
    """
    one, two = languages
    return Panel(
        "How to read recall@1",
        paragraphs=(
            f"Each {one} name of the test split is answered with one of {concepts:,} {two} names, and each {two} name "
            f"with one of as many {one} names. All show concepts that neither language was trained on. Recall@1 is the "
            f"share of right answers; guessing gives 1/{concepts:,} = {1 / concepts:.3f}.",
            "Compare same_images with same_images_random_vectors first. When both languages learn from the same "
            "images, an image is only a number that pairs two words, and a random vector is at least as good a number. "
            "So the score of same_images says little about images. In transfer no image is named in both languages.",
        ),
    )
