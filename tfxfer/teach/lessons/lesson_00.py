"""Exercises of lesson 00, an overview of the course."""

from tfxfer.teach.exercise import Choice, Exercise, Mistake, Shape

EXERCISES = {
    "00.1": Exercise(
        Choice(("feature", "knowledge", "structure")),
        right="feature",
        because="f(x) = W·φ(x) + b: φ is reused and frozen, W and b are learned.",
        hint="What is reused, and what is learned? Compare it with the three equations.",
        mistakes=(
            Mistake("knowledge", "That needs an encoder for each modality, and a product or an interaction of both."),
            Mistake("structure", "No tensor goes into another network here: the CNN is used as it is."),
        ),
    ),
    "00.2": Exercise(
        Choice(("render", "align", "anchors")),
        right="render",
        because="To draw a text, no matching image is needed.",
        hint="Which bridge needs texts only?",
        mistakes=(
            Mistake("align", "A text encoder is aligned on pairs of an image and its text."),
            Mistake("anchors", "An anchor is a pair of an image and its text, so some pairs are needed."),
        ),
    ),
    "00.3": Exercise(
        Shape(),
        right=(500, 2000),
        because="One row for each image, one column for each text.",
        hint="K = f(X)·g(Y)ᵀ: rows come from X, columns from Y.",
        mistakes=(
            Mistake((2000, 500), "Rows are images."),
            Mistake((500, 500), "Images are compared with texts, not with other images."),
            Mistake((2500,), "Every image is compared with every text, so there are two axes."),
        ),
    ),
    "00.4": Exercise(
        Choice(("helped", "no evidence", "hurt")),
        right="no evidence",
        because="0 lies in the interval: neither a gain nor a loss is shown.",
        hint="Does the interval contain 0?",
        mistakes=(
            Mistake("helped", "For that, the whole interval must lie above 0."),
            Mistake("hurt", "For that, the whole interval must lie below 0."),
        ),
    ),
}
