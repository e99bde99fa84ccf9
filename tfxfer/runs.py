"""A run's folder: its config, log, metrics, model and report; and reading it again."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer.cache import atomic_file
from tfxfer.config import options_in
from tfxfer.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

RUNS = Path("runs")  # where runs stand unless --run-dir says otherwise, in the working folder


class Run:
    """One run and its folder `runs/<recipe>-<time>/`.

    A folder that `--run-dir` names may hold a run that was killed: its log goes on, its metrics are written anew.

    Attributes:
        folder: The run's folder.
        console: Where a person reads along.
        costs: Seconds by phase, filled by `phase`.
    """

    def __init__(self, recipe: str, config: Any, console: "Console | None" = None) -> None:
        from rich.console import Console

        self.recipe = recipe
        self.console = console or Console(highlight=False)
        self.costs: dict[str, float] = {}
        self.started = time.perf_counter()
        self.folder = _new_folder(recipe, config.run_dir)
        self._log = (self.folder / "log.txt").open("a", encoding="utf-8")
        self._metrics = (self.folder / "metrics.jsonl").open("w", encoding="utf-8")
        write_config(self.folder / "config.yaml", config, recipe)

    def say(self, message: str, style: str = "") -> None:
        """Print a line for the person and keep it, with its time, in `log.txt`."""
        self.console.print(message, style=style, markup=False, soft_wrap=True)
        self._log.write(f"{time.strftime('%H:%M:%S')} {message}\n")
        self._log.flush()

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

    plain: dict[str, Any] = {"recipe": recipe} if recipe else {}
    plain |= {name: list(value) if isinstance(value, tuple) else value for name, value in options_in(config).items()}
    plain.pop("run_dir", None)
    with atomic_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _new_folder(recipe: str, wanted: str | None) -> Path:
    if wanted:
        folder = Path(wanted).expanduser()
        if any((folder / name).exists() for name in ("comparison.json", "model.keras", "report.html")):
            raise UserError(f"--run-dir {folder}: holds an earlier run, which is kept; name another folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"--run-dir {folder}: no folder can be made there ({error.strerror}); name another"
            ) from error
        return folder
    stem = f"{recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1000):
        folder = RUNS / (stem if not number else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise UserError(f"{RUNS / stem}: a thousand runs in one second; use --run-dir")


def saved_runs(parent: Path = RUNS) -> list[dict[str, str]]:
    """Return what is known of each run in a folder, the newest first.

    Returns:
        Dicts with "name" (the folder's), "recipe", "date" as "2026-11-23 09:15", and "verdict": the primary one in a
        few words, "no verdict" where a comparison has none or is of a smoke run, "unfinished" where there is no
        readable comparison.
    """
    folders = [path for path in parent.iterdir() if _is_run(path)] if parent.is_dir() else []
    return sorted(map(_described, folders), key=lambda row: (row["date"], row["name"]), reverse=True)


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.yaml", "comparison.json"))


def _described(folder: Path) -> dict[str, str]:
    recipe, date = _recipe_and_date(folder)
    row = {"name": folder.name, "recipe": recipe, "date": date, "verdict": "unfinished"}
    try:
        comparison = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
        verdicts = comparison["verdicts"]
        primary = next((one for one in verdicts if one["role"] == "primary"), None)
        smoke = comparison.get("about", {}).get("smoke")
        words = "smoke run, no verdict" if smoke else _in_words(primary)
        return row | {"recipe": comparison["recipe"] or recipe, "verdict": words}
    except (OSError, ValueError, KeyError, TypeError):  # killed while it wrote, or of another version
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
