"""What the commands that make a run of runs share: `merge`, `distill` and `compress`."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from tfxfer import cli
from tfxfer.cache import data_dirs
from tfxfer.config import RunConfig
from tfxfer.data.background import prepare_in_background, unprepared
from tfxfer.runs import Run, run_dir_held
from tfxfer.terminal import console


def runs_and_options(
    config_class: type, argv: Sequence[str], command: str, shown: str, description: str
) -> tuple[tuple[str, ...], Any]:
    """Return the runs that stand before the options of a command line, and the options.

    Args:
        config_class: Of the options.
        argv: The words after the command's name.
        command: Its name.
        shown: How its help shows the runs, such as "RUN [RUN ...]".
        description: Of the help.

    Raises:
        UserError: An option is unknown, or of another type.
    """
    first = next((place for place, word in enumerate(argv) if word.startswith("-")), len(argv))
    prog = f"{cli.program(command)} {shown}"
    asked = cli.parse(config_class, argv[first:], prog=prog, description=description, recipe=(command,))
    return tuple(argv[:first]), asked


@contextmanager
def new_run(command: str, asked: Any, config: RunConfig, specs: Sequence[str | None], about: str = "") -> Iterator[Run]:
    """Give a command's run, its folder held, its data prepared in the background, its device and seed set.

    Args:
        command: The command's name.
        asked: Its options.
        config: Device, seed and data folder.
        specs: Data sets that it will load; the first is needed first.
        about: What stands beside the command's name in its first line.
    """
    caches, out = data_dirs(config.data_dir), console(highlight=False, stderr=asked.json)
    with run_dir_held(asked.run_dir):
        new = unprepared(specs, *caches.searched)
        if new:
            cli.note(f"preparing {', '.join(new)}, once, in {caches.own}")
        with prepare_in_background(new[1:], caches.own):
            cli.start_tensorflow()
            from tfxfer.recipes.device import prepare

            with closing(Run(command, asked, out)) as run:
                run.say(f"{command} {about}".rstrip() + f" · {prepare(config)} · {run.folder}")
                yield run
