"""The command line made from a config dataclass: parsing, spelling help, and exit codes. Starts no TensorFlow."""

import os
import sys
import tempfile
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, NoReturn

from tfxfer.errors import TfxferError, UserError, suggest

NO = "no-"  # what switches an option off: --no-evidence


def flag(name: str) -> str:
    """Return the command-line spelling of a config field.

    >>> flag("labels_per_class")
    '--labels-per-class'
    """
    return "--" + name.replace("_", "-")


def parser_for(config_class: type, prog: str, description: str) -> Any:
    """Return a jsonargparse parser with one option for each field of a frozen config dataclass."""
    from jsonargparse import ArgumentParser

    class Parser(ArgumentParser):
        def error(self, message: str, ex: Exception | None = None) -> NoReturn:
            raise UserError(_readable(message, config_class)) from ex

    parser = Parser(prog=prog, description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="a config.yaml of an earlier run, replayed")
    parser.add_argument("--set", nargs="+", metavar="NAME=VALUE", help="any option by its name in config.yaml")
    for item in fields(config_class):
        parser.add_argument(flag(item.name), **_argument(item, typing.get_type_hints(config_class)[item.name]))
    return parser


def _argument(item: Field, hint: Any) -> dict[str, Any]:
    """Return the keyword arguments of `add_argument` for one field."""
    from jsonargparse import ActionYesNo

    default = None if item.default is MISSING else item.default
    how: dict[str, Any] = {"default": default, "help": item.metadata.get("help", "")}
    if hint is bool:
        return how | {"action": ActionYesNo(no_prefix=NO)}
    if typing.get_origin(hint) is tuple:
        one = typing.get_args(hint)[0]
        return how | {"type": one, "nargs": "+", "default": list(default or ())}
    return how | {"type": hint}


def _readable(message: str, config_class: type) -> str:
    """Turn the parser's message into one that offers the nearest option for a name that does not exist."""
    hints = typing.get_type_hints(config_class)
    off = [flag(NO + name) for name, hint in hints.items() if hint is bool]
    known = [*(flag(name) for name in hints), *off, "--config", "--set", "--help"]
    for word in message.replace(",", " ").split():
        name = word.strip("'\".").split("=")[0]
        if name.startswith("--") and name not in known:
            return f"unknown option {name}; {suggest(name, known)}"
    if "is not accepted" in message:  # a key of a config file
        name = message.split("'")[1]
        return f"the config has an unknown key '{name}'; {suggest(name, [f.name for f in fields(config_class)])}"
    return message


def expand(argv: Sequence[str], config_class: type) -> list[str]:
    """Write `--set a=1` as `--a 1` and `--list 5,20` as `--list 5 20`, so that one parser checks them all."""
    hints = typing.get_type_hints(config_class)
    lists = {flag(n) for n, hint in hints.items() if typing.get_origin(hint) is tuple}
    out: list[str] = []
    current = ""
    for word in argv:
        if word.startswith("--"):
            current, _, value = word.partition("=")
            current = current.replace("_", "-")
            if current != "--set":
                out.append(current)
            words = [value] if value else []
        else:
            words = [word]
        for value in words:
            if current == "--set":
                out += _from_setting(value, config_class)
            else:
                out += [v for v in value.split(",") if v] if current in lists else [value]
    return out


def _from_setting(word: str, config_class: type) -> list[str]:
    name, separator, value = word.partition("=")
    name = name.replace("-", "_")
    if not separator:
        raise UserError(f"--set {word}: write NAME=VALUE, e.g. --set epochs=5")
    hints = typing.get_type_hints(config_class)
    if name not in hints:
        raise UserError(f"--set {word}: there is no option '{name}'; {suggest(name, hints)}")
    if hints[name] is bool:
        if value.lower() not in ("true", "false"):
            raise UserError(f"--set {word}: write true or false")
        return [flag(name) if value.lower() == "true" else flag(NO + name)]
    values = value.strip("[]()").split(",") if typing.get_origin(hints[name]) is tuple else [value]
    return [flag(name), *(v.strip() for v in values)]


def parse(config_class: type, argv: Sequence[str], prog: str, description: str) -> Any:
    """Parse a command line into a config; raises `UserError` with the nearest name for a typo."""
    parser = parser_for(config_class, prog, description)
    try:
        found = parser.parse_args(expand(argv, config_class)).as_dict()
    except UnicodeDecodeError as error:
        raise UserError("--config: the file is not UTF-8 text; name the config.yaml of an earlier run") from error
    hints = typing.get_type_hints(config_class)
    values = {f.name: found[f.name] for f in fields(config_class)}
    return config_class(**{n: tuple(v) if typing.get_origin(hints[n]) is tuple else v for n, v in values.items()})


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
    try:
        work(sys.argv[1:] if argv is None else argv)
        return 0
    except TfxferError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"\nerror: {what}; look at this path, its permissions and its disk", file=sys.stderr)
        return 1
