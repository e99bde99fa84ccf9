"""`tfxfer rate RUN [RUN ...]`: people rate what runs answered, blind, on a page; and what their ratings say.

The page and its server are in `tfxfer.rate`. Ratings stand in `ratings.sqlite3` in the folder of the first run.
"""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfxfer import cli
from tfxfer.errors import UserError
from tfxfer.terminal import json_text

if TYPE_CHECKING:
    from tfxfer.rate.database import Session
    from tfxfer.rate.systems import RatedRun
    from tfxfer.rate.test_set import TestSet

MOST_SYSTEMS = 8
REPORT = "ratings.html"


def parser() -> cli.CommandParser:
    """Return the parser of this command."""
    about = "People rate what runs answered to the same test examples: blind, on a page of their own (docs/rate.md)."
    made = cli.CommandParser(cli.program("rate"), about)
    made.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs; ratings are kept in the first")
    what = made.add_argument_group("what is rated, when a session begins")
    what.add_argument("--arms", nargs="+", metavar="ARM", help="arms of each run (default: transfer)")
    what.add_argument("--budget", type=int, metavar="N", help="their budget (default: the greatest)")
    what.add_argument("--arm-seed", type=int, metavar="N", help="their seed (default: the first)")
    what.add_argument("--items", type=int, metavar="N", help="test examples that are shown (default: 50)")
    what.add_argument(
        "--ask", choices=["scales", "choice"], help="1 to 5 on scales, or the better of two (default: scales)"
    )
    what.add_argument(
        "--scales", nargs="+", metavar="NAME", help="correctness, detail, fluency (default: as the task asks)"
    )
    what.add_argument(
        "--checks", type=int, metavar="N", help="attention checks (default: one for ten items, at least 2)"
    )
    what.add_argument("--seed", type=int, metavar="N", help="draws the examples (default: 0)")
    what.add_argument("--data-dir", metavar="DIR", help="prepared data and caches (default: the run's)")
    what.add_argument("--download", action="store_true", help="allow downloads of data sets")
    what.add_argument("--session", metavar="NAME", help="another session in the same folder")
    page = made.add_argument_group("the page")
    page.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine only)"
    )
    page.add_argument("--port", type=int, metavar="N", help="port to listen at (default: 8017, or a free one)")
    page.add_argument("--no-browser", action="store_true", help="do not open a browser")
    page.add_argument("--export", metavar="FILE", help="write the session for raters elsewhere, and serve nothing")
    page.add_argument("--format", default="page", metavar="NAME", help="of --export: page, label-studio or potato")
    results = made.add_argument_group("results")
    results.add_argument(
        "--import", nargs="+", dest="files", metavar="FILE", help="take the files that an exported page saved"
    )
    results.add_argument("--edited", action="store_true", help="take them although they were changed since")
    results.add_argument("--report", action="store_true", help=f"say what the ratings say, and write {REPORT}")
    results.add_argument("--json", action="store_true", help="all figures of the report as JSON")
    results.add_argument(
        "--only-attentive", action="store_true", help="without raters who failed over a third of the checks"
    )
    return made


def work(argv: Sequence[str]) -> None:
    """Begin or open a session, and serve it, export it, import into it or report it."""
    asked = parser().parse_args(argv)
    check(asked)
    with closing(opened(asked)) as session:
        if asked.files:
            take(asked, session)
        if asked.report or asked.json:
            report(asked, session)
        elif asked.export:
            give(asked, session)
        elif not asked.files:
            serve(asked, session)


def check(asked: Namespace) -> None:
    """Raise `UserError` for what cannot work, before a run is read."""
    from tfxfer.errors import suggest
    from tfxfer.rate.exports import EXPORTS
    from tfxfer.rate.items import SCALES

    for option, least in (("items", 1), ("checks", 0), ("seed", 0), ("port", 0)):
        value = getattr(asked, option)
        if value is not None and value < least:
            raise UserError(f"--{option} {value}: must be {least} or more")
    if asked.port is not None and asked.port > 65535:
        raise UserError(f"--port {asked.port}: must be 65535 or less")
    unknown = next((name for name in asked.scales or () if name not in SCALES), None)
    if unknown is not None:
        raise UserError(f"--scales {unknown}: {suggest(unknown, SCALES)}")
    if asked.scales and asked.ask == "choice":
        raise UserError("--scales: a choice has none; leave one of --scales and --ask choice out")
    if asked.format not in EXPORTS:
        raise UserError(f"--format {asked.format}: {suggest(asked.format, EXPORTS)}")
    if asked.edited and not asked.files:
        raise UserError("--edited: belongs to --import FILE")
    serves = not (asked.export or asked.files or asked.report or asked.json)
    if serves and not all(map(find_spec, ("starlette", "uvicorn"))):
        raise UserError(
            "the page needs the packages starlette and uvicorn; run: pip install 'tfxfer[rate]', or give raters one "
            "file without a server: --export page.html"
        )


# === Sessions ===


def opened(asked: Namespace) -> "Session":
    """Return the session that a request means: the one that is there, if its options are the same, or a new one."""
    from tfxfer.rate.database import Session, check_belongs, check_same, session_path
    from tfxfer.rate.systems import run_folder

    folders = [run_folder(run) for run in asked.runs]
    path = session_path(folders[0], asked.session)
    if not path.exists():
        if asked.report or asked.json or asked.files:
            raise UserError(
                f"{path}: nobody has rated this run yet; begin with: {cli.program('rate')} {' '.join(asked.runs)}"
            )
        if not os.access(folders[0], os.W_OK):
            raise UserError(
                f"{folders[0]}: cannot be written, and ratings are kept there; copy it to a folder of yours"
            )
        begin(asked, folders, path)
    session = Session(path)
    try:
        check_belongs(session, folders[0])
        check_same(session, vars(asked), folders)
    except BaseException:
        session.close()
        raise
    return session


def begin(asked: Namespace, folders: Sequence[Path], path: Path) -> None:
    """Draw the items of a new session, and write it."""
    from dataclasses import replace

    from tfxfer.cache import locked
    from tfxfer.rate.database import create
    from tfxfer.rate.items import USUAL, draw
    from tfxfer.rate.systems import KINDS, RatedRun, systems_of

    runs = [RatedRun.load(folder) for folder in folders]
    systems = systems_of(runs, asked.arms or ["transfer"], asked.budget, asked.arm_seed)
    ask = asked.ask or "scales"
    if len(systems) > MOST_SYSTEMS:
        raise UserError(
            f"{len(systems)} systems: a rater can compare {MOST_SYSTEMS} at most; name fewer runs or --arms"
        )
    if ask == "choice" and len(systems) < 2:
        raise UserError("--ask choice: takes two systems; name another run, or two arms: --arms transfer neighbour")
    test = same_test_set(runs, asked)
    items, counts = draw(systems, test, items=asked.items or 50, checks=asked.checks, ask=ask, seed=asked.seed or 0)
    wanted, images = asked.items or 50, test.encoded([item.row for item in items])
    found = sum(item.kind == "item" for item in items)
    if found < wanted:
        why = "that have different answers" if ask == "choice" else "in the test set"
        cli.note(f"{found} items: there are no more test examples {why}")
    kind = runs[0].kind
    scales = [] if ask == "choice" else asked.scales or list(USUAL[kind])
    about = {
        "title": f"{KINDS[kind]}, rated by people: {' / '.join(system.label for system in systems)}",
        "kind": kind,
        "ask": ask,
        "scales": scales,
        "systems": [system.plain() for system in systems],
        "counts": counts,
        "options": {
            "arms": asked.arms or ["transfer"],
            "budget": systems[0].budget,
            "arm_seed": systems[0].seed,
            "items": wanted,
            "ask": ask,
            "scales": scales,
            "checks": len(items) - found,
            "seed": asked.seed or 0,
        },
    }
    while not path.exists():  # another process may have begun the same session meanwhile
        with locked(path, wait=False) as held:
            if held and not path.exists():
                create(path, about, [replace(item, image=image) for item, image in zip(items, images)])
        time.sleep(0.1)
    cli.note(f"session of {len(items)} screens, {len(items) - found} of them attention checks: {path}")


def same_test_set(runs: Sequence["RatedRun"], asked: Namespace) -> "TestSet":
    """Return the test examples that all runs were scored on; loads each target once.

    Raises:
        UserError: Two runs were scored on different ones; what differs is named.
    """
    from tfxfer.rate.test_set import check_unchanged, load_test_set

    targets = [target_of(run) for run in runs]
    cli.start_tensorflow()
    loaded: list[tuple[Any, TestSet]] = []
    for run, (target, data_dir) in zip(runs, targets):
        known = next((test for before, test in loaded if before == target), None)
        test = known or load_test_set(run, target, asked.data_dir or data_dir, asked.download)
        check_unchanged(test, run)
        difference = loaded[0][1].differs(test) if loaded and known is None else ""
        if difference:
            raise UserError(
                f"{runs[0].folder} and {run.folder}: have other test sets ({difference}); give runs with one target"
            )
        loaded.append((target, test))
    return loaded[0][1]


def target_of(run: "RatedRun") -> tuple[Any, str | None]:
    """Return the target of a run, and its data folder, from its `config.yaml`."""
    from tfxfer.recipes import RECIPES

    recipe = RECIPES.get(run.comparison.recipe)
    if recipe is None:
        raise UserError(f"{run.folder}: does not say which recipe it is of; run it again")
    words = ["--config", str(run.folder / "config.yaml")]
    config = cli.parse(recipe.config, words, cli.program("rate"), "", recipe.aliases)
    return config.target, config.data_dir


# === What is done with a session ===


def take(asked: Namespace, session: "Session") -> None:
    """Import files of ratings."""
    from tfxfer.rate.exports import add_file

    for file in asked.files:
        rater, new, count = add_file(Path(file).expanduser(), session, asked.edited)
        cli.note(
            f"{file}: {new} new ratings of {rater}" + (f", {count - new} were there before" if new < count else "")
        )


def give(asked: Namespace, session: "Session") -> None:
    """Export a session."""
    from tfxfer.rate.exports import export

    for path in export(session, Path(asked.export).expanduser(), asked.format):
        print(path)
    if asked.format == "page":
        cli.note(f"send it to raters; the files that they save come back with --import: {command(asked)} --import FILE")


def report(asked: Namespace, session: "Session") -> None:
    """Print what the ratings say, and write the page."""
    from tfxfer.rate import show
    from tfxfer.rate.figures import figures

    found = figures(session, asked.only_attentive)
    if asked.json:
        print(json_text(found, indent=1))
        return
    name = REPORT if asked.session is None else f"ratings-{asked.session}.html"
    page = show.write(session, found, session.path.with_name(name))
    show.terminal(found)
    print(f"\npage: {page}")


def serve(asked: Namespace, session: "Session") -> None:
    """Serve the page until Ctrl+C."""
    from tfxfer.rate.server import address, alone, bound, holder, new_token
    from tfxfer.rate.server import serve as run_server

    with alone(session):
        found, token = bound(asked.host, asked.port), new_token()
        page = address(found, token)
        session.note("served", holder() | {"at": page.rpartition(f"{token}/")[0]})
        if found.getsockname()[0] != "127.0.0.1":
            cli.note(
                "others reach this page by this machine's name; there is no encryption, so know who is in the network"
            )
        print(f"rate here: {page}\nCtrl+C ends it; ratings are kept at once in {session.path}", flush=True)
        if not asked.no_browser and sys.stdout.isatty():
            import webbrowser

            webbrowser.open(page)
        run_server(session, token, found)
        people = session.current()
        count = sum(map(len, people.values()))
        print(f"\n{count} ratings of {len(people)} raters in {session.path}; what they say: {command(asked)} --report")


def command(asked: Namespace) -> str:
    """Return the command line that opens the same session."""
    name = f" --session {asked.session}" if asked.session else ""
    return f"{cli.program('rate')} {asked.runs[0]}{name}"
