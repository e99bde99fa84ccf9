"""Solutions of lesson 08. Try the exercises first."""

SOLUTIONS = {
    "08.1": "folder:birds",
    "08.2": 3 * 2 * 3 + 2 * 1 * 3 + 1 * 2 * 1,  # arms · budgets · seeds
    "08.3": "tfxfer",  # the glyphs are in the file
    "08.4": "too high",
}
