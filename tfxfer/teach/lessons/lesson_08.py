"""Exercises of lesson 08, your own data."""

from tfxfer.teach.exercise import Choice, Exercise, Mistake, Whole

EXERCISES = {
    "08.1": Exercise(
        Choice(("folder:birds", "csv:birds", "tfds:birds")),
        right="folder:birds",
        because="A sub-folder is a class, and its name the label.",
        hint="The word before the colon says how the path is to be read.",
        mistakes=(
            Mistake("csv:birds", "That reads a table, a file with columns."),
            Mistake("tfds:birds", "That names a set of TensorFlow Datasets."),
        ),
    ),
    "08.2": Exercise(
        Whole(),
        right=26,
        because="3 · 2 · 3 and 2 · 1 · 3 and 1 · 2 · 1.",
        hint="Arms times budgets times seeds, for each of the three groups; then the sum.",
        mistakes=(
            Mistake(36, "Not every arm runs at both budgets with every seed."),
            Mistake(30, "Majority needs one seed only."),
            Mistake(32, "Scratch and finetune run at one budget only."),
            Mistake(24, "And majority?"),
        ),
    ),
    "08.3": Exercise(
        Choice(("training data", "font", "tfxfer")),
        right="tfxfer",
        because="Its layer that draws text is code. The glyphs it draws with are in the file.",
        hint="`save_assets` says what goes along. What can be in a file, and what is code?",
        mistakes=(
            Mistake("training data", "What was learned from them is in the weights."),
            Mistake("font", "Look at `save_assets`: what does it write?"),
        ),
    ),
    "08.4": Exercise(
        Choice(("honest", "too high", "too low")),
        right="too high",
        because="The best of ten is partly the luckiest of ten. Choose on validation, and look at the test once.",
        hint="Ten equally good drawings score differently by luck. Which of them do you keep?",
        mistakes=(
            Mistake("honest", "It would be, had the choice been made without looking at it."),
            Mistake("too low", "You keep the one that was lucky, not the one that was unlucky."),
        ),
    ),
}
