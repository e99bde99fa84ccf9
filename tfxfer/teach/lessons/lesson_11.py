"""Exercises of lesson 11, judging."""

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, WholeNumber

CASES = ((-0.005, 0.01), (-0.016, 0.01), (0.002, 0.01), (0.03, 0.01), (-0.04, 0.05), (-0.06, 0.05))

EXERCISES = {
    "11.1": Exercise(
        WholeNumber(),
        right=800,
        because="The standard error falls with the square root of N: half the difference needs four times the images.",
        hint="By what does the standard error fall when N is doubled?",
        mistakes=(
            Mistake(400, "Twice the images make the interval narrower by the square root of 2 only."),
            Mistake(100, "A smaller difference needs more images."),
        ),
    ),
    "11.2": Exercise(
        Choice(("equivalent", "non-inferior", "nothing")),
        right="nothing",
        because="The interval reaches −1.6 %, below −1 %. The mean of −0.4 % does not change that.",
        hint="Does the whole interval lie above −1 %?",
        mistakes=(
            Mistake("equivalent", "Then the whole interval would lie between −1 % and +1 %."),
            Mistake("non-inferior", "Then the whole interval would lie above −1 %. The mean alone shows nothing."),
        ),
    ),
    "11.3": Exercise(
        Function(),
        right=tuple((case, float(case[0] > -case[1])) for case in CASES),
        because="A loss smaller than the margin would not matter, so 0 is not the limit: minus the margin is.",
        hint="Which loss would not matter? The lower end has to lie above it.",
        mistakes=(
            Mistake(lambda low, margin: low > 0, "That shows that the model is better, which is more than was asked."),
            Mistake(lambda low, margin: low > margin, "That asks for a gain greater than the margin."),
            Mistake(lambda low, margin: abs(low) < margin, "A lower end far above 0 is no loss."),
        ),
    ),
    "11.4": Exercise(
        Number(2),
        right=(0.8 - 0.82) / (1 - 0.82),
        because="By chance they would agree on 0.9 · 0.9 + 0.1 · 0.1 = 82 %. They agree on 80 %, so κ is below 0.",
        hint="c is the chance that both choose A, and the chance that both choose B.",
        mistakes=(
            Mistake(0.8, "That is p. Chance alone gives 82 % here."),
            Mistake((0.8 - 0.5) / 0.5, "c is 1/2 only where both raters choose each letter equally often."),
            Mistake((0.8 - 0.81) / (1 - 0.81), "Both can also choose B: add 0.1 · 0.1."),
        ),
    ),
    "11.5": Exercise(
        WholeNumber(),
        right=3,
        because="0.01 · 3 = 0.03, 0.02 · 2 = 0.04 and 0.04 · 1 = 0.04.",
        hint="Sort them. The smallest is multiplied by their number, the next by one fewer, and so on.",
        mistakes=(
            Mistake(1, "That is Bonferroni, which multiplies each by the number of comparisons."),
            Mistake(2, "The last one is multiplied by 1: only one comparison is left."),
        ),
    ),
    "11.6": Exercise(
        Choice(("the new model's", "the old model's", "neither")),
        right="the new model's",
        because="A habit of the raters then looks like quality. A random order for each image turns it into noise.",
        hint="Where does a rater in doubt go, and whose caption stands there?",
        mistakes=(
            Mistake("the old model's", "The new model's caption stands first, and raters in doubt take the first."),
            Mistake("neither", "With a random order it would be neither."),
        ),
    ),
}
