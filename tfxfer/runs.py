"""A run's folder: its config, its log, its metrics, its model, its report; and reading one again."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tfxfer.cache import atomic_file
from tfxfer.errors import UserError, suggest


class Run:
    """One run and its folder `runs/<recipe>-<time>/`.

    A folder that is asked for by name may hold a run that was killed: its log goes on, its metrics are told again.

    Attributes:
        folder: The run's folder.
        console: Where a person reads along.
        costs: Seconds by phase, filled by `phase`.
    """

    def __init__(self, recipe: str, config: Any, console: Console | None = None) -> None:
        self.recipe = recipe
        self.console = console or Console(highlight=False)
        self.costs: dict[str, float] = {}
        self.started = time.perf_counter()
        self.folder = _new_folder(recipe, config.run_dir)
        self._log = (self.folder / "log.txt").open("a", encoding="utf-8")
        self._metrics = (self.folder / "metrics.jsonl").open("w", encoding="utf-8")
        write_config(self.folder / "config.yaml", config)

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

    def progress(self) -> Progress:
        """Return a progress bar on this run's console; it leaves no trace where there is no terminal."""
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


def write_config(path: Path, config: Any) -> None:
    """Write the resolved config as YAML that `--config` takes."""
    import yaml

    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}
    plain.pop("run_dir", None)  # a replay makes a folder of its own
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
        folder = Path("runs") / (stem if not number else f"{stem}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
    raise UserError(f"runs/{stem}: a thousand runs in one second; use --run-dir")


def open_run(folder: str | Path) -> dict[str, Any]:
    """Return what a saved model needs to be asked: "task", "class_names", "image_shape" and the model's path.

    Raises:
        UserError: the folder is not there, or holds no finished run.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        known = sorted(str(p) for p in folder.parent.glob("*")) if folder.parent.is_dir() else []
        raise UserError(f"{folder}: there is no such run; {suggest(str(folder), known)}")
    missing = [n for n in ("model.json", "model.keras") if not (folder / n).is_file()]
    if missing:
        raise UserError(f"{folder}: not a finished run ({', '.join(missing)} missing); run it again")
    return json.loads((folder / "model.json").read_text(encoding="utf-8")) | {"model": folder / "model.keras"}
