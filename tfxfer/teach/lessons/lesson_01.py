"""Exercises of lesson 01, two modalities in one data set."""

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Shape, Whole

TRAIN, TEST = ["A", "A", "A", "B", "C"], ["A", "A", "D", "C"]


def _right(train: list[str], test: list[str]) -> int:
    return sum(character in set(train) for character in test)


EXERCISES = {
    "01.1": Exercise(
        Shape(),
        right=(32, 32, 1),
        because="Height, width, and one channel: grey.",
        hint="`describe` says it in the line about pictures.",
        mistakes=(
            Mistake((32, 32), "A grey picture has a channel too."),
            Mistake((32, 32, 3), "That would be a colour picture."),
            Mistake((1, 32, 32), "Channels come last here."),
        ),
    ),
    "01.2": Exercise(
        Choice(("pictures", "faces", "characters")),
        right="characters",
        because="Then no picture of a test character, in whatever face, has been in training.",
        hint="What must training never have shown, in any form?",
        mistakes=(
            Mistake("pictures", "Then another face of the same one may be in training, with the same caption."),
            Mistake("faces", "Then all captions are known, only their style is new: that is `by_face`."),
        ),
    ),
    "01.3": Exercise(
        Whole(),
        right=1500,
        because="150 of each of ten; validation and test stay as large as they were.",
        hint="So many labels *a class*.",
        mistakes=(
            Mistake(150, "That is one language."),
            Mistake(15, "Each class gets all of them; they are not shared out."),
        ),
    ),
    "01.4": Exercise(
        Function(),
        right=(((TRAIN, TEST), 3), ((["x"], ["y"]), 0), (([], ["y", "y"]), 0)),
        because="Every picture counts, also when its character leaks twice.",
        hint="Go through the test pictures and count those whose character is in set(train).",
        mistakes=(
            Mistake(lambda train, test: len(set(train) & set(test)), "You count characters. Each picture counts."),
            Mistake(lambda train, test: _right(test, train), "Turned round: count test pictures, not training ones."),
            Mistake(lambda train, test: len(test) - _right(train, test), "That is how many do not leak."),
        ),
    ),
    "01.5": Exercise(
        Choice(("the network", "the labels", "the split")),
        right="the split",
        because="A head with an output for each training character can name no other. Use by_face.",
        hint="Which classes occur in its test part, and which in training?",
        mistakes=(
            Mistake("the network", "The best one there is would get nothing right either."),
            Mistake("the labels", "They are right, one for each character. Where do they occur?"),
        ),
    ),
}
