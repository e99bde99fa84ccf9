"""Exercises of lesson 00, the map."""

from tfxfer.teach.exercise import Choice, Exercise, Mistake, Shape

EXERCISES = {
    "00.1": Exercise(
        Choice(("feature", "knowledge", "structure")),
        right="feature",
        because="f(x) = W·φ(x) + b: φ is borrowed and frozen, W and b are learned.",
        hint="What is reused, and what is learned? Compare it with the three equations.",
        mistakes=(
            Mistake("knowledge", "That needs an encoder for each side, and a product or an interaction of both."),
            Mistake("structure", "No tensor goes into another network here: the CNN is used as it is."),
        ),
    ),
    "00.2": Exercise(
        Choice(("render", "align", "anchors")),
        right="render",
        because="Drawing a text needs no picture that belongs to it.",
        hint="Which bridge can be built with texts alone?",
        mistakes=(
            Mistake("align", "A text tower learns from pairs what to meet."),
            Mistake("anchors", "An anchor is a pair, and so a few are needed."),
        ),
    ),
    "00.3": Exercise(
        Shape(),
        right=(500, 2000),
        because="One row for each picture, one column for each text.",
        hint="K = f(X)·g(Y)ᵀ: rows come from X, columns from Y.",
        mistakes=(
            Mistake((2000, 500), "Rows are pictures."),
            Mistake((500, 500), "Pictures are compared with texts, not with one another."),
            Mistake((2500,), "Every picture meets every text: a table."),
        ),
    ),
    "00.4": Exercise(
        Choice(("helped", "no evidence", "hurt")),
        right="no evidence",
        because="0 lies inside: neither a gain nor a loss is shown.",
        hint="Look for 0.",
        mistakes=(
            Mistake("helped", "For that, all of the interval must lie above 0."),
            Mistake("hurt", "For that, all of the interval must lie below 0."),
        ),
    ),
}
