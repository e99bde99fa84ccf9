"""Exercises of lesson 09, three programs of an article, line by line."""

from tfxfer.teach.exercise import Choice, Exercise, Mistake, WholeNumber

EXERCISES = {
    "09.1": Exercise(
        WholeNumber(),
        right=12_845_568,
        because="7 · 7 · 512 inputs for each of 512 units, and 512 biases.",
        hint="How many values does `Flatten` return? Each unit has a weight for each of them, and a bias.",
        mistakes=(
            Mistake(12_845_056, "That is the number of weights. Each unit has a bias too."),
            Mistake(262_656, "That is the number after average pooling. `Flatten` keeps all positions."),
            Mistake(25_600, "Each of the units has a weight for each input: multiply."),
        ),
    ),
    "09.2": Exercise(
        Choice(("error", "cut to 0", "scaled")),
        right="cut to 0",
        because="An embedding converts its input to whole numbers: 0.99 becomes 0 as well, which is the padding token.",
        hint="Look at the third column of the figure.",
        mistakes=(
            Mistake("error", "No error is raised."),
            Mistake("scaled", "Nothing is scaled: an embedding looks up a row by its index."),
        ),
    ),
    "09.3": Exercise(
        WholeNumber(),
        right=4000,
        because="Each of four hypotheses is extended by each of 1,000 words; the best four are kept.",
        hint="Each hypothesis is extended by every word.",
        mistakes=(
            Mistake(4, "That many are kept. How many are compared?"),
            Mistake(1000, "That is for one hypothesis: greedy search."),
            Mistake(1000**4, "That is every sentence of four words. Beam search avoids that."),
            Mistake(50, "That is `max_length`, not a number of continuations."),
        ),
    ),
    "09.4": Exercise(
        Choice(("name", "order", "stops")),
        right="order",
        because="The file numbers its layers by kind and order. Equal shapes hide the exchange. A weight map shows it.",
        hint="Which boxes of the second row are from the layer of the same name?",
        mistakes=(
            Mistake("name", "Then conv1 would have the kernel of conv1. Look at the second row."),
            Mistake("stops", "It loaded without a warning."),
        ),
    ),
}
