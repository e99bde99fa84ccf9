"""Exercises of lesson 12, fusion."""

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number

CASES = ((-2.0, -1.0, -1.5, -0.2), (0.0, 1.0, 0.0, 3.0), (-1.0, -1.0, -0.5, -0.5), (-3.0, -2.0, -2.0, -2.0))

EXERCISES = {
    "12.1": Exercise(
        Choice(("shared", "unique", "synergy")),
        right="unique",
        because="Each digit is known to one of them, and to the other not.",
        hint="Does either of them know something that the other does not?",
        mistakes=(
            Mistake("shared", "Then one of them would know what the other says."),
            Mistake("synergy", "Then neither would know anything alone."),
        ),
    ),
    "12.2": Exercise(
        Number(2),
        right=1.0,
        because="A fair coin has one bit, and either copy tells it.",
        hint="How many bits has a fair coin?",
        mistakes=(
            Mistake(2.0, "The second copy tells nothing new."),
            Mistake(0.0, "Shared does not mean that it cancels: either copy tells the whole bit."),
        ),
    ),
    "12.3": Exercise(
        Function(),
        right=tuple((case, (case[1] - case[0] + case[3] - case[2]) / 2) for case in CASES),
        because="It is the mean of what the first side adds to nothing, and of what it adds to the second.",
        hint="There are two orders in which two sides can join. What does the first one add in each?",
        mistakes=(
            Mistake(lambda none, first, second, both: first - none, "That is one order: the first side joins first."),
            Mistake(lambda none, first, second, both: both - second, "That is one order: the first side joins last."),
            Mistake(lambda none, first, second, both: both - none, "That is what both give together."),
        ),
    ),
    "12.4": Exercise(
        Number(2),
        right=(-1.5 + 2 - 0.2 + 1) / 2,
        because="The text adds 0.5 to nothing and 0.8 to the image.",
        hint="What does the text add to nothing, and what to the image?",
        mistakes=(
            Mistake(0.5, "That is what the text adds to nothing. It can also join second."),
            Mistake(0.8, "That is what the text adds to the image. It can also join first."),
            Mistake((-1 + 2 - 0.2 + 1.5) / 2, "That is the share of the image."),
        ),
    ),
    "12.5": Exercise(
        Choice(("fusion helped", "the partner is not used", "the partner is harmful")),
        right="the partner is not used",
        because="A wrong partner takes nothing away, so the true one gave nothing.",
        hint="What is lost when the partner is wrong?",
        mistakes=(
            Mistake("fusion helped", "Then the true partner would be better than a wrong one."),
            Mistake("the partner is harmful", "For that, one side alone would have to be better than both."),
        ),
    ),
    "12.6": Exercise(
        Number(2),
        right=0.6,
        because="It is the mean of both probabilities.",
        hint="Late fusion averages what two classifiers say.",
        mistakes=(
            Mistake(0.27, "That is the product, which asks both to agree."),
            Mistake(0.9, "That takes the surer side only."),
        ),
    ),
}
