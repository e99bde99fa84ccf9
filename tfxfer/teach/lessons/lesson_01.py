"""Exercises of lesson 01, two modalities in one data set."""

from tfxfer.teach.exercise import Choice, Exercise, Function, Mistake, Shape, WholeNumber

TRAIN, TEST = ["A", "A", "A", "B", "C"], ["A", "A", "D", "C"]


def _right(train: list[str], test: list[str]) -> int:
    return sum(character in set(train) for character in test)


EXERCISES = {
    "01.1": Exercise(
        Shape(),
        right=(32, 32, 1),
        because="Height, width, and one channel: grey.",
        hint="The summary that `describe` prints contains it.",
        mistakes=(
            Mistake((32, 32), "A grey image has a channel too."),
            Mistake((32, 32, 3), "That would be a colour image."),
            Mistake((1, 32, 32), "Channels come last here."),
        ),
    ),
    "01.2": Exercise(
        Choice(("images", "typefaces", "characters")),
        right="characters",
        because="Then no image of a test character, in any typeface, is in training.",
        hint="What must not occur in training, in any typeface?",
        mistakes=(
            Mistake("images", "Then the same character in another typeface can be in training, with the same caption."),
            Mistake(
                "typefaces", "Then every caption occurs in training and only the typeface is new: that is `by_face`."
            ),
        ),
    ),
    "01.3": Exercise(
        WholeNumber(),
        right=1500,
        because="150 for each of ten languages. Validation and test keep their size.",
        hint="`with_labels(n)` draws n labels *for each class*.",
        mistakes=(
            Mistake(150, "That is the number for one language."),
            Mistake(15, "Each class gets that many labels; they are not divided among the classes."),
        ),
    ),
    "01.4": Exercise(
        Function(),
        right=(((TRAIN, TEST), 3), ((["x"], ["y"]), 0), (([], ["y", "y"]), 0)),
        because="Every test image counts, also when two of them show the same character.",
        hint="Go through the test images and count those whose character is in set(train).",
        mistakes=(
            Mistake(lambda train, test: len(set(train) & set(test)), "That counts distinct characters. Count images."),
            Mistake(
                lambda train, test: _right(test, train),
                "The two lists are swapped: count test images, not training images.",
            ),
            Mistake(
                lambda train, test: len(test) - _right(train, test),
                "That is the number of test images that do not leak.",
            ),
        ),
    ),
    "01.5": Exercise(
        Choice(("the network", "the labels", "the split")),
        right="the split",
        because="A head with one output for each training character cannot predict other characters. Use `by_face`.",
        hint="Which classes occur in its test part, and which in training?",
        mistakes=(
            Mistake("the network", "No network of this kind would get a test image right."),
            Mistake(
                "the labels", "The labels are correct, one for each character. In which split does each one occur?"
            ),
        ),
    ),
}
