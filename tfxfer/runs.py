"""A run's folder: its config, log, metrics, model and report; and reading it again."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer import terminal
from tfxfer.cache import atomic_file, sweep
from tfxfer.config import options_in
from tfxfer.errors import DamagedFile, UserError
from tfxfer.own_files import read_own_json, reading_own
from tfxfer.run_folder import LOG, held, is_begun, is_finished, is_run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

RUNS = Path("runs")  # where runs stand unless --run-dir says otherwise, in the working folder
PLACES = {"data_dir", "download"}  # options that say where things are; the results are the same


class Run:
    """One run and its folder `runs/<recipe>-<time>/`, in which no other process works until it is closed.

    A folder that `--run-dir` names may hold a run that was killed: its log goes on, its metrics are written anew.

    Attributes:
        folder: The run's folder.
        console: Where a person reads along.
        costs: Seconds by phase, filled by `phase`.
        cautions: Sentences that stand beside the verdict, filled by `caution`.
    """

    def __init__(self, recipe: str, config: Any, console: "Console | None" = None) -> None:
        self.recipe = recipe
        self.console = console or terminal.console(highlight=False)
        self.costs: dict[str, float] = {}
        self.cautions: list[str] = []
        self.started = time.perf_counter()
        with ExitStack() as stack:
            self.folder = _new_folder(recipe, config, stack)
            self._held = stack.pop_all()  # closed when the run is
        self._log = (self.folder / LOG).open("a", encoding="utf-8", errors="backslashreplace")
        self._metrics = (self.folder / "metrics.jsonl").open("w", encoding="utf-8", errors="backslashreplace")
        write_config(self.folder / "config.yaml", config, recipe)

    def say(self, message: str, style: str = "") -> None:
        """Print a line for the person and keep it, with its time, in `log.txt`."""
        self.console.print(message, style=style, markup=False, soft_wrap=True)
        self._log.write(f"{time.strftime('%H:%M:%S')} {message}\n")
        self._log.flush()

    def caution(self, message: str) -> None:
        """Say what makes the verdict weaker than it looks, now and again beside the verdict."""
        self.cautions.append(message)
        self.say(f"caution: {message}", style="yellow")

    def metric(self, phase: str, **values: Any) -> None:
        """Append one row to `metrics.jsonl`."""
        self._metrics.write(json.dumps({"phase": phase, **values}, ensure_ascii=False) + "\n")
        self._metrics.flush()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the seconds of a block under `name` in `costs`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.costs[name] = round(self.costs.get(name, 0.0) + time.perf_counter() - started, 2)

    def progress(self) -> "Progress":
        """Return a progress bar on this run's console; nothing is printed where there is no terminal."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        return Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def close(self) -> None:
        """Close the run's files."""
        self._log.close()
        self._metrics.close()
        self._held.close()


def peak_memory_mib() -> float:
    """Return the greatest resident memory of this process so far, in MiB."""
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def write_config(path: Path, config: Any, recipe: str = "") -> None:
    """Write the resolved config as YAML that `--config` takes.

    Args:
        path: The file.
        config: Its values stand in the file by the flat names of the options, without `run_dir`: a replay makes a
            folder of its own.
        recipe: The recipe's name, which stands in the file too.
    """
    import yaml

    with atomic_file(path) as temporary:
        text = yaml.safe_dump(_plain(config, recipe), sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")


def _plain(config: Any, recipe: str) -> dict[str, Any]:
    plain: dict[str, Any] = {"recipe": recipe} if recipe else {}
    plain |= {name: list(value) if isinstance(value, tuple) else value for name, value in options_in(config).items()}
    plain.pop("run_dir", None)
    return plain


@contextmanager
def run_dir_held(wanted: str | None) -> Iterator[None]:
    """Check the folder that `--run-dir` names before long work starts, and hold it during the block.

    Raises:
        UserError: It holds an earlier run, another process works in it, or it cannot be made.
    """
    with ExitStack() as stack:
        if wanted:
            _named_folder(wanted, stack)
        yield


def _new_folder(recipe: str, config: Any, stack: ExitStack) -> Path:
    """Return the folder of a run, held until `stack` is closed."""
    if config.run_dir:
        folder = _named_folder(config.run_dir, stack)
        _refuse_another(folder, _plain(config, recipe))
        return folder
    stem = f"{recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1000):
        folder = RUNS / (stem if not number else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        stack.enter_context(held(folder))
        return folder
    raise UserError(f"{RUNS / stem}: a thousand runs in one second; use --run-dir")


def _named_folder(wanted: str, stack: ExitStack) -> Path:
    folder = Path(wanted).expanduser()
    _refuse_finished(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--run-dir {folder}: no folder can be made there ({error.strerror}); name another") from error
    stack.enter_context(held(folder))
    _refuse_finished(folder)  # by another process, just before it let go of the folder
    sweep(folder)
    return folder


def _refuse_finished(folder: Path) -> None:
    """Refuse a folder of a finished run, or of a saved model that belongs to no run."""
    if is_finished(folder):
        raise UserError(f"--run-dir {folder}: holds an earlier run, which is kept; name another folder")
    if (folder / "model.keras").exists() and not is_begun(folder):
        raise UserError(f"--run-dir {folder}: holds a saved model, which is kept; name another folder")


def _refuse_another(folder: Path, plain: dict[str, Any]) -> None:
    """Refuse to go on in the folder of an unfinished run that has results already, if it was another command's."""
    import yaml

    if not any((folder / name).exists() for name in ("comparison.json", "model.keras")):
        return
    try:
        before = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        differing = sorted(name for name in {*before, *plain} - PLACES if before.get(name) != plain.get(name))
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError):
        differing = ["config.yaml, which cannot be read"]
    if differing:
        raise UserError(
            f"--run-dir {folder}: holds an unfinished run of another command (other: {', '.join(differing)}); give "
            "that command again, or name another folder"
        )


def saved_runs(parent: Path = RUNS) -> list[dict[str, str]]:
    """Return what is known of each run in a folder, the newest first.

    Returns:
        Dicts with "name" (the folder's), "recipe", "date" as "2026-11-23 09:15", and "verdict": the primary one in a
        few words, "no verdict" where a comparison has none or is of a smoke run, "unfinished" where there is no
        report yet, "damaged" where the comparison cannot be read.
    """
    folders = [path for path in parent.iterdir() if is_run(path)] if parent.is_dir() else []
    return sorted(map(_described, folders), key=lambda row: (row["date"], row["name"]), reverse=True)


def _described(folder: Path) -> dict[str, str]:
    recipe, date = _recipe_and_date(folder)
    row = {"name": folder.name, "recipe": recipe, "date": date, "verdict": "unfinished"}
    if not is_finished(folder):
        return row
    file = folder / "comparison.json"
    try:
        comparison = read_own_json(file, "", {"verdicts": list, "recipe": str})
        with reading_own(file, ""):
            primary = next((one for one in comparison["verdicts"] if one["role"] == "primary"), None)
            words = "smoke run, no verdict" if comparison.get("about", {}).get("smoke") else _in_words(primary)
        return row | {"recipe": comparison["recipe"] or recipe, "verdict": words}
    except DamagedFile:
        return row | {"verdict": "damaged"}
    except OSError:
        return row


def _in_words(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return "no verdict"
    measure = str(verdict["measure"]).replace("_", " ")
    return f"{verdict['word']}, {verdict['difference']:+.3f} {measure}"


def _recipe_and_date(folder: Path) -> tuple[str, str]:
    """Return both by the folder's name; else by the line `recipe:` of its config and by the newest of its files."""
    named = re.fullmatch(r"(\w+)-(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)\d\d(-\d+)?", folder.name)
    if named:
        return named[1], f"{named[2]}-{named[3]}-{named[4]} {named[5]}:{named[6]}"
    config = folder / "config.yaml"
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    line = re.search(r"^recipe: (\w+)$", text, re.MULTILINE)
    newest = max(path.stat().st_mtime for path in folder.iterdir())
    return line[1] if line else "", time.strftime("%Y-%m-%d %H:%M", time.localtime(newest))
