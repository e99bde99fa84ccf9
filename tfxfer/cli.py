"""The command line of a config class: options, help texts and exit codes. Starts no TensorFlow.

    argv ─ expand ─ jsonargparse ─┐
    --config FILE ── from_file ───┼─ what was given ─ smoke values for the rest ─ with_options ─ config
                                  ┘
What the command line gives outranks what a config file gives, wherever `--config` stands.
"""

import os
import sys
import tempfile
import typing
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tfxfer.config import GROUPS, Option, flag, options_of, with_options
from tfxfer.errors import TfxferError, UserError, reason, suggest
from tfxfer.given_files import regular_file
from tfxfer.terminal import printable_streams

LARGEST_CONFIG = 2**20  # bytes of a config file
MOST_BRACKETS = 500  # in a config file
NO = "no-"  # what switches an option off: --no-jit
WIDTH = 80  # columns of a help text
INDENT = 26  # column at which the explanations of a help text begin
FILE_OPTIONS = {
    "--config FILE": "replay the config.yaml of an earlier run; options given beside it win",
    "--set NAME=VALUE ...": "give options by their names in config.yaml",
    "--help, --help-all": "show the usual options, or all of them",
}
TYPES = {int: ("N", "a whole number"), float: ("X", "a number"), str: ("NAME", "text"), bool: ("", "true or false")}
PLACEHOLDERS = {  # by field, where not NAME
    "spec": "SPEC",
    "architecture": "SPEC",
    "data_dir": "DIR",
    "run_dir": "DIR",
    "budget": "TIME",
}


# === Parsing ===


def parse(
    config_class: type,
    argv: Sequence[str],
    prog: str,
    description: str,
    aliases: Mapping[str, str] | None = None,
    smoke: Mapping[str, Any] | None = None,
    recipe: Sequence[str] = (),
) -> Any:
    """Return the config that a command line describes.

    Args:
        config_class: A dataclass of `tfxfer.config.option` and `section` fields.
        argv: The words after the command's name.
        prog: The command's name in its help text.
        description: The first paragraphs of the help text, separated by empty lines.
        aliases: Old option name -> its name today. Old names are accepted, with a note.
        smoke: Option name -> value under `--smoke`, for the options that are not given.
        recipe: Names that a config file may give as its recipe, today's first; any, where this is empty.

    Returns:
        A `config_class`. Options that are not given have their defaults.

    Raises:
        UserError: An unknown name (the nearest is named), a value of another type, or an unreadable file.
        SystemExit: After the help text was printed.
    """
    if any(word in ("-h", "--help", "--help-all") for word in argv):
        print(help_text(config_class, prog, description, everything="--help-all" in argv))
        raise SystemExit(0)
    names = Names(config_class, aliases or {})
    files, words = expand(argv, names)
    parser = parser_for(names)
    given: dict[str, Any] = {}
    for file in files:
        given |= from_file(Path(file).expanduser(), names, parser, prog, recipe)
    typed = parser.parse_args(words, defaults=False).as_dict()
    values = {name: tuple(value) if names.options[name].many else value for name, value in (given | typed).items()}
    config = with_options(config_class(), **values)
    if not getattr(config, "smoke", False):
        return config
    smoke = smoke or {}
    kept = [flag(name) for name in smoke if name in given and name not in typed and values[name] != smoke[name]]
    if kept:
        note(f"--smoke leaves what the config file gives: {', '.join(kept)}")
    return with_options(config, **{name: value for name, value in smoke.items() if name not in values})


class Names:
    """The option names that are accepted, today's and the old ones.

    Attributes:
        options: Name -> option.
    """

    def __init__(self, config_class: type, aliases: Mapping[str, str]) -> None:
        self.options: dict[str, Option] = options_of(config_class)
        self._aliases = aliases
        self._noted: set[str] = set()

    def today(self, name: str) -> str:
        """Return an option's name today; print a note, once, for an old name."""
        if name in self.options or name not in self._aliases:
            return name
        new = self._aliases[name]
        if name not in self._noted:
            note(f"{flag(name)} is now called {flag(new)}")
        self._noted.add(name)
        return new

    def from_flag(self, word: str) -> tuple[str, bool]:
        """Return the name of an option and whether it is switched on, given `--name` or `--no-name`.

        Raises:
            UserError: There is no such option.
        """
        name = self.today(word.removeprefix("--").replace("-", "_"))
        if name in self.options:
            return name, True
        name = self.today(name.removeprefix("no_")) if name.startswith("no_") else ""
        if name in self.options and self.options[name].hint is bool:
            return name, False
        raise UserError(f"unknown option {word}; {suggest(word.replace('_', '-'), self.flags())}")

    def flags(self) -> list[str]:
        """Return today's options as they are written on a command line."""
        on = [flag(name) for name in self.options]
        off = [flag(NO + name) for name, option in self.options.items() if option.hint is bool]
        return [*on, *off, "--config", "--set", "--help", "--help-all"]


def note(message: str) -> None:
    """Print a note for the person on standard error."""
    print(f"note: {message}", file=sys.stderr)


def expand(argv: Sequence[str], names: Names) -> tuple[list[str], list[str]]:
    """Return the config files, and the other words in the one form that the parser takes.

    Old names become today's, `--set a=1` becomes `--a=1`, and `--list 5,20` becomes `--list 5 20`.
    """
    files: list[str] = []
    words: list[str] = []
    for option, values in _by_option(argv):
        if option == "--config":
            if len(values) != 1:
                raise UserError("--config: give one file, the config.yaml of an earlier run")
            files += values
        elif option == "--set":
            if not values:
                raise UserError("--set: write NAME=VALUE, e.g. --set seeds=5")
            for value in values:
                words += _from_setting(value, names)
        else:
            name, on = names.from_flag(option)
            words += _words(names.options[name], on, values)
    return files, words


def _by_option(argv: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return each option with the values that follow it; `--a=1` is `--a 1`."""
    found: list[tuple[str, list[str]]] = []
    for word in argv:
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            found.append((option, [value] if equals else []))
        elif found:
            found[-1][1].append(word)
        else:
            raise UserError(f"unexpected word '{word}'; options begin with --, and --help shows them")
    return found


def _from_setting(word: str, names: Names) -> list[str]:
    name, equals, value = word.partition("=")
    name = names.today(name.strip().replace("-", "_"))
    if not equals:
        raise UserError(f"--set {word}: write NAME=VALUE, e.g. --set seeds=5")
    if name not in names.options:
        raise UserError(f"--set {word}: there is no option '{name}'; {suggest(name, names.options)}")
    option = names.options[name]
    return _words(option, True, [value.strip("[]()") if option.many else value])


def _words(option: Option, on: bool, values: Sequence[str]) -> list[str]:
    """Return an option and its values as the parser takes them."""
    if option.hint is bool:
        if not values:
            return [option.flag if on else flag(NO + option.name)]
        if len(values) > 1 or not on or values[0].lower() not in ("true", "false"):
            raise UserError(f"{option.flag} {' '.join(values)}: write {option.flag} or {flag(NO + option.name)}")
        return _words(option, values[0].lower() == "true", [])
    if option.many:
        parts = [part.strip() for value in values for part in value.split(",")]
        return [option.flag, *(part for part in parts if part)]
    if len(values) != 1:
        what = f"takes one value, not {len(values)}" if values else "needs a value"
        raise UserError(f"{option.flag} {' '.join(values)}".rstrip() + f": {what}")
    return [f"{option.flag}={values[0]}"]


def parser_for(names: Names) -> Any:
    """Return a jsonargparse parser that checks the types of all options."""
    from jsonargparse import ActionYesNo, ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            raise UserError(_readable(message, names)) from ex

    parser = Parser(exit_on_error=False, add_help=False)
    for option in names.options.values():
        if option.hint is bool:
            parser.add_argument(option.flag, action=ActionYesNo(no_prefix=NO), default=False)
        elif option.many:
            parser.add_argument(option.flag, type=typing.get_args(option.hint)[0], nargs="+")
        else:
            parser.add_argument(option.flag, type=option.hint)
    return parser


def _readable(message: str, names: Names) -> str:
    """Return the parser's message on a wrong type as `--option value: must be …`."""
    import re

    wrong = re.search(r'Parser key "(\w+)".*(?:Got|Given) value: (.*)', message, re.DOTALL)
    if wrong:
        option = names.options[wrong[1]]
        return f"{option.flag} {wrong[2]}: must be {_type(option)[1]}"
    return message.removeprefix("argument ")


def _type(option: Option) -> tuple[str, str]:
    """Return the placeholder of an option's value, and its type in words."""
    inner = typing.get_args(option.hint) or (option.hint,)
    return next((words for kind, words in TYPES.items() if kind in inner), ("VALUE", "of another type"))


def from_file(path: Path, names: Names, parser: Any, prog: str, recipe: Sequence[str]) -> dict[str, Any]:
    """Return the options that a config file gives, by their names today.

    Raises:
        UserError: The file cannot be read, is of another recipe, or has an unknown key or a value of another type.
    """
    values = _read_yaml(path)
    named = values.pop("recipe", None)
    if recipe and named is not None and named not in recipe:
        command = f"{prog.removesuffix(f' {recipe[0]}')} {named} --config {path}"
        raise UserError(f"--config {path}: a run of the recipe '{named}', not of '{recipe[0]}'; use: {command}")
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = names.today(str(key))
        if name not in names.options:
            raise UserError(f"--config {path}: there is no option '{key}'; {suggest(name, names.options)}")
        if name in found:
            raise UserError(f"--config {path}: '{name}' stands there twice, by its old name too; remove one")
        option = names.options[name]
        if value is None and type(None) not in typing.get_args(option.hint):
            raise UserError(f"--config {path}: {name} has no value; write {_type(option)[1]}")
        found[name] = [value] if option.many and not isinstance(value, list) else value
    try:
        return parser.parse_object(found, defaults=False).as_dict()
    except UserError as error:
        raise UserError(f"--config {path}: {error}") from error


def _read_yaml(path: Path) -> dict[Any, Any]:
    import yaml

    if path.is_dir():
        raise UserError(f"--config {path}: this is a folder; give {path / 'config.yaml'}")
    if not path.exists():
        near = sorted(map(str, path.parent.iterdir())) if path.parent.is_dir() else []
        raise UserError(f"--config {path}: there is no such file; {suggest(str(path), near)}")
    try:
        regular_file(path, LARGEST_CONFIG)
        text = path.read_text(encoding="utf-8")
        if text.count("[") + text.count("{") > MOST_BRACKETS:  # the parser takes their square in time
            raise UserError(f"has more than {MOST_BRACKETS} brackets; write a list as NAME: [1, 2] or as lines - 1")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):  # a few lines could stand for billions
            raise UserError("has an alias (*NAME); write the value out")
        values = yaml.safe_load(text)
    except UserError as error:
        raise UserError(f"--config {path}: {str(error).removeprefix(f'{path}: ')}") from error
    except UnicodeDecodeError as error:
        raise UserError("--config: the file is not UTF-8 text; name the config.yaml of an earlier run") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: the 45th of a month
        raise UserError(f"--config {path}: this is no YAML: {reason(error)}") from error
    if not isinstance(values, dict):
        raise UserError(f"--config {path}: expected lines of NAME: VALUE, as in the config.yaml of a run")
    return values


# === Help texts ===


def help_text(config_class: type, prog: str, description: str, everything: bool = False) -> str:
    """Return the help text of a command: the usual options, or all of them under headings."""
    import textwrap

    options = options_of(config_class).values()
    parts = [f"usage: {prog} [--config FILE] [OPTIONS]"]
    parts += [textwrap.fill(part, WIDTH, break_on_hyphens=False) for part in description.split("\n\n") if part]
    if everything:
        for group in GROUPS:
            entries = [(_head(one), _explained(one)) for one in options if _group(one) == group]
            entries += FILE_OPTIONS.items() if group == "common" else []
            parts += [_listed(group, entries)] if entries else []
    else:
        parts.append(_listed("options", [(_head(one), _explained(one)) for one in options if one.metadata["common"]]))
        parts.append(f"--help-all shows all {len(options)} options")
    return "\n\n".join(parts)


def _group(option: Option) -> str:
    group = option.metadata["group"]
    return group if group in GROUPS else "common"


def _listed(heading: str, entries: Iterable[tuple[str, str]]) -> str:
    """Return a heading and, below it, each option beside its explanation."""
    import textwrap

    lines = [f"{heading}:"]
    for head, explanation in entries:
        text = textwrap.wrap(explanation, WIDTH - INDENT, break_on_hyphens=False) or [""]
        if len(head) > INDENT - 4:
            lines.append(f"  {head}")
        else:
            text[0] = f"  {head:{INDENT - 2}}{text[0]}"
            lines.append(text.pop(0))
        lines += [" " * INDENT + line for line in text]
    return "\n".join(lines)


def _head(option: Option) -> str:
    if option.hint is bool:
        return f"{option.flag}, {flag(NO + option.name)}"
    return f"{option.flag} {PLACEHOLDERS.get(option.path[-1], _type(option)[0])}{' ...' * option.many}"


def _explained(option: Option) -> str:
    """Return an option's help with its allowed values and its default, where the text does not say it."""
    text, choices = option.metadata["help"], option.metadata["choices"]
    facts = [f"{'any' if option.many else 'one'} of: {', '.join(choices)}"] if choices else []
    if "(default" not in text:
        facts.append(f"default: {_shown(option.default)}")
    return f"{text} ({'; '.join(facts)})" if facts else text


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_shown, value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


# === Commands ===


class CommandParser(ArgumentParser):
    """An argparse parser for a command without a config: its errors are `UserError`s that name the nearest option."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise `UserError` in place of the exit that argparse would make."""
        unknown = next((word for word in message.split() if word.startswith("--")), "").partition("=")[0]
        if message.startswith("unrecognized") and unknown:
            raise UserError(f"unknown option {unknown}; {suggest(unknown, self._option_string_actions)}")
        raise UserError(f"{message}; see {self.prog} --help")


def program(command: str) -> str:
    """Return how the person called a command: `tfxfer train`, `python -m tfxfer train` or `python -m tfxfer.train`."""
    started = Path(sys.argv[0])
    if started.name == "__main__.py" and started.parent.name == "tfxfer":
        return f"python -m tfxfer {command}"
    return f"tfxfer {command}" if started.stem == "tfxfer" else f"python -m tfxfer.{command}"


def start_tensorflow() -> None:
    """Import TensorFlow and look for devices, without the lines that its native code writes to the terminal.

    They come before any log level is heeded, and a missing GPU looks like an error in them. When the start fails,
    they are shown.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def main(work: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0, 1 for a failure, 2 for the user's mistake, 130 when interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # TensorFlow's own choice on new processors only
    with printable_streams():
        return _run(work, sys.argv[1:] if argv is None else argv)


def _run(work: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    try:
        work(argv)
        sys.stdout.flush()  # so that a closed pipe is met here
        return 0
    except TfxferError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except MemoryError:
        print(
            "\nerror: there is not enough memory for this; ask for less, e.g. smaller images or batches",
            file=sys.stderr,
        )
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"\nerror: {what}; look at this path, its permissions and its disk", file=sys.stderr)
        return 1
