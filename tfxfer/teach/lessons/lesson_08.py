"""Exercises of lesson 08, your own data."""

from tfxfer.teach.exercise import Choice, Exercise, Mistake, WholeNumber

EXERCISES = {
    "08.1": Exercise(
        Choice(("folder:birds", "csv:birds", "tfds:birds")),
        right="folder:birds",
        because="Each sub-folder is a class, and its name is the label.",
        hint="The word before the colon names the format of the data.",
        mistakes=(
            Mistake("csv:birds", "That reads a table, a file with columns."),
            Mistake("tfds:birds", "That names a data set of TensorFlow Datasets."),
        ),
    ),
    "08.2": Exercise(
        WholeNumber(),
        right=26,
        because="3 · 2 · 3 and 2 · 1 · 3 and 1 · 2 · 1.",
        hint="Multiply arms, budgets and seeds in each of the three groups. Then add.",
        mistakes=(
            Mistake(36, "Not every arm runs at both budgets with every seed."),
            Mistake(30, "Majority runs with one seed only."),
            Mistake(32, "Scratch and finetune run at one budget only."),
            Mistake(24, "The records of majority are missing."),
        ),
    ),
    "08.3": Exercise(
        Choice(("training data", "font", "tfxfer")),
        right="tfxfer",
        because="The layer that draws text is code of tfxfer. The glyphs are in the file.",
        hint="`save_assets` shows what the file contains. What is code, and so not in it?",
        mistakes=(
            Mistake("training data", "The file contains the trained weights. The data are not needed."),
            Mistake("font", "Look at `save_assets`: what does it write?"),
        ),
    ),
    "08.4": Exercise(
        Choice(("honest", "too high", "too low")),
        right="too high",
        because="The maximum of ten test scores is biased upwards. Choose on validation, and use the test split once.",
        hint="Ten equally good ways get different test scores by chance. Which of them do you keep?",
        mistakes=(
            Mistake("honest", "It would be, if the choice had been made on the validation split."),
            Mistake("too low", "You keep the highest of ten scores, not the lowest."),
        ),
    ),
}
