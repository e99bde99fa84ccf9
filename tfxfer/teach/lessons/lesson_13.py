"""Exercises of lesson 13, few labels."""

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Number, WholeNumber

CASES = (((0.5, 0.3, 0.2),), ((0.2, 0.5, 0.3),), ((0.4, 0.4, 0.2),), ((0.05, 0.05, 0.9),))


def _margin(p: tuple[float, ...]) -> float:
    second, first = sorted(p)[-2:]
    return first - second


EXERCISES = {
    "13.1": Exercise(
        Number(2),
        right=1 / 20,
        because="There are 20 classes, whatever the number of shots.",
        hint="How many classes are there to guess from?",
        mistakes=(
            Mistake(1 / 5, "5 is the number of shots: labelled images of each class."),
            Mistake(1 / 100, "100 is the number of labelled images; a guess is a class."),
        ),
    ),
    "13.2": Exercise(
        Choice(("cat", "dog")),
        right="cat",
        because="Its prototype is 2, at a distance of 2.2. The other one is 7, at 2.8.",
        hint="A prototype is the mean of all shots of its class.",
        mistakes=(Mistake("dog", "4.2 is 2.8 away from 7. How far is it from the mean of 0 and 4?"),),
    ),
    "13.3": Exercise(
        Function(),
        right=tuple((case, _margin(*case)) for case in CASES),
        because="Two classes that are nearly equally probable have a small margin, whatever the others are.",
        hint="Sort the probabilities and take the last two.",
        mistakes=(
            Mistake(lambda p: max(p), "That is the confidence. The second class is missing."),
            Mistake(lambda p: 1 - max(p), "That compares with all other classes together."),
            Mistake(
                lambda p: max(p) - min(p), "The least probable class says nothing of the doubt between the first two."
            ),
            Mistake(lambda p: p[0] - p[1], "The probabilities are in the order of the classes, not sorted."),
        ),
    ),
    "13.4": Exercise(
        Choice(("0.5", "0.9", "none")),
        right="none",
        because="No threshold validates better than no pseudo-label, and of equal choices the simplest is taken.",
        hint="A remedy has to be better than none.",
        mistakes=(
            Mistake("0.5", "It validates worse than no pseudo-label."),
            Mistake("0.9", "It validates as well as no pseudo-label, which is simpler."),
        ),
    ),
    "13.5": Exercise(
        Choice(("mirror", "shift", "both")),
        right="shift",
        because="After mirroring, the dog is to the right of the car, and the text is no longer true.",
        hint="Read the text beside the mirrored photograph.",
        mistakes=(
            Mistake("mirror", "The dog is then to the right of the car."),
            Mistake("both", "Read the text beside the mirrored photograph."),
        ),
    ),
    "13.6": Exercise(
        WholeNumber(),
        right=150,
        because="The baseline needs 20 · 10 labels and transfer 5 · 10.",
        hint="Labels a class, times classes.",
        mistakes=(
            Mistake(15, "That is the number for one class."),
            Mistake(200, "Transfer needs labels too."),
        ),
    ),
}
