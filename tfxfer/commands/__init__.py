"""The commands of `tfxfer`: each is a row here, and a module with `work(argv)`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A row of the table of commands.

    Attributes:
        summary: What it does, in one line.
        module: Has `work(argv) -> None`; it is imported when the command is called.
    """

    summary: str
    module: str


COMMANDS: dict[str, Command] = {
    "train": Command("run a transfer beside its controls", "tfxfer.train"),
    "predict": Command("ask a saved run about new texts or images", "tfxfer.predict"),
    "evaluate": Command("score a saved run on new data", "tfxfer.evaluate.__main__"),
    "score": Command("say how well a source suits a target, before training", "tfxfer.commands.score"),
    "advise": Command("say what to train for a target, after short pilots", "tfxfer.commands.advise"),
    "doctor": Command("find faults in a data set, before training", "tfxfer.commands.doctor"),
    "compare": Command("compare runs on the same test set", "tfxfer.commands.compare"),
    "merge": Command("merge fine-tuned classifiers into one, beside its parents", "tfxfer.commands.merge"),
    "distill": Command("train a small student on what a run answers, beside itself alone", "tfxfer.commands.distill"),
    "compress": Command("make a run's model smaller, and say what that costs", "tfxfer.commands.compress"),
    "rate": Command("let people rate what runs answered, on a page", "tfxfer.commands.rate"),
    "list": Command("show data sets, models, recipes or runs", "tfxfer.commands.list"),
    "clean": Command("show what is cached, and remove it", "tfxfer.commands.clean"),
}
