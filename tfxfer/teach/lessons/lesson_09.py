"""Exercises of lesson 09, the article's code."""

from tfxfer.teach.exercise import Choice, Exercise, Mistake, Whole

EXERCISES = {
    "09.1": Exercise(
        Whole(),
        right=12_845_568,
        because="7 · 7 · 512 inputs for each of 512 units, and 512 biases.",
        hint="How many numbers does Flatten give? Each unit has a weight for every one of them, and a bias.",
        mistakes=(
            Mistake(12_845_056, "The weights are right. Each unit has a bias too."),
            Mistake(262_656, "That is after an average over places. Flatten keeps them all."),
            Mistake(25_600, "Each of the units has a weight for each input: multiply."),
        ),
    ),
    "09.2": Exercise(
        Choice(("error", "cut to 0", "scaled")),
        right="cut to 0",
        because="A look-up wants whole numbers and cuts off the rest, of 0.99 too: each becomes token 0, the padding.",
        hint="Look at the third column of the picture.",
        mistakes=(
            Mistake("error", "An error would be better. But nothing stops."),
            Mistake("scaled", "Nobody scales: an embedding looks up a row by its number."),
        ),
    ),
    "09.3": Exercise(
        Whole(),
        right=4000,
        because="Each of four beginnings goes on with each of a thousand words; the best four stay.",
        hint="Each kept beginning goes on with every word.",
        mistakes=(
            Mistake(4, "That many are kept. How many are looked at?"),
            Mistake(1000, "That is for one beginning: greedy search."),
            Mistake(1000**4, "That would be every sentence of that length. The beam exists to avoid it."),
            Mistake(50, "That is the greatest length, not a number of continuations."),
        ),
    ),
    "09.4": Exercise(
        Choice(("name", "place", "stops")),
        right="place",
        because="The file numbers its layers by kind and order. Equal shapes hide a mix-up; a plan shows it.",
        hint="Which of the second row's boxes came from the layer of the same name?",
        mistakes=(
            Mistake("name", "Then conv1 would have got conv1's kernel. Look at the second row."),
            Mistake("stops", "It went on without a warning."),
        ),
    ),
}
