"""The command line of a config class: spelling, types, old names, replay, smoke values, help texts, exit codes."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest
import yaml

from tfxfer import cli
from tfxfer.config import (
    GROUPS,
    RunConfig,
    SourceConfig,
    TargetConfig,
    TrainingConfig,
    check_values,
    option,
    options_in,
    options_of,
    section,
    with_options,
)
from tfxfer.errors import TfxferError, UserError
from tfxfer.recipes import RECIPES
from tfxfer.runs import write_config


@dataclass(frozen=True)
class Toy(RunConfig):
    """A config with an option of every type."""

    source: SourceConfig = section(SourceConfig(), "source", group="source", common=("spec", "epochs"))
    target: TargetConfig = section(TargetConfig(), "target", group="target", common=("spec",))
    training: TrainingConfig = section(TrainingConfig(), group="training", common=("steps",))
    budgets: tuple[int, ...] = option((5, 20), "label budgets", group="arms", common=True, at_least=1)
    arms: tuple[str, ...] = option(
        ("transfer", "random"), "what is compared", ("transfer", "random", "native"), group="arms"
    )
    bridge: str = option("auto", "how text enters an image model", ("auto", "render"), group="bridge")
    fitted: bool = option(True, "begin at the ridge solution", group="model")
    dropout: float = option(0.1, "fraction of units that are dropped", group="model", at_most=1)


ALIASES = {"updates": "steps", "labels_per_class": "budgets", "ridge": "fitted"}
SMOKE = {"steps": 2, "seeds": 1, "budgets": (2,)}


def parse(*argv, aliases=ALIASES, smoke=SMOKE, recipe=("toy",)):
    return cli.parse(Toy, argv, "tfxfer train toy", "A toy.", aliases, smoke, recipe)


def changed(**values):
    return with_options(Toy(), **values)


@pytest.fixture
def file(tmp_path):
    """Write a config file; return its path."""

    def write(**values):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return str(path)

    return write


# === Spelling and types ===


def test_without_options_a_config_has_its_defaults():
    assert parse() == Toy()


@pytest.mark.parametrize(
    ("argv", "values"),
    [
        (["--budgets", "5", "20"], {"budgets": (5, 20)}),
        (["--budgets", "5,20"], {"budgets": (5, 20)}),
        (["--budgets=5,20", "--seeds=1"], {"budgets": (5, 20), "seeds": 1}),
        (["--learning-rates", "1e-3", "0.01"], {"learning_rates": (0.001, 0.01)}),
        (["--source_epochs", "4"], {"source_epochs": 4}),
        (["--source", "names", "--target-text", "a b"], {"source": "names", "target_text": "a b"}),
        (["--target-text", "5"], {"target_text": "5"}),
        (["--target-text", "null"], {"target_text": None}),
        (["--dropout", "-0.5"], {"dropout": -0.5}),
        (["--bridge", "-x"], {"bridge": "-x"}),
        (["--no-fitted"], {"fitted": False}),
        (["--fitted=false", "--jit", "true"], {"fitted": False, "jit": True}),
        (["--seeds", "4", "--seeds", "5"], {"seeds": 5}),
        (["--set", "source_epochs=5", "budgets=[5, 10]", "jit=true", "--seeds", "2"],
         {"source_epochs": 5, "budgets": (5, 10), "jit": True, "seeds": 2}),
        (["--set=fitted=false", "--set", "target-text=a=b"], {"fitted": False, "target_text": "a=b"}),
    ],
)  # fmt: skip
def test_options_are_written_in_these_ways(argv, values):
    assert parse(*argv) == changed(**values)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--sorce", "glyphs"], "unknown option --sorce; did you mean '--source'"),
        (["--source-epoch", "3"], "did you mean '--source-epochs'"),
        (["--no-fited"], "did you mean '--no-fitted'"),
        (["--no-seeds"], "unknown option --no-seeds"),
        (["--help-al"], "did you mean '--help-all'"),
        (["--set", "source_epocs=4"], "did you mean 'source_epochs'"),
        (["--set", "epochs"], "write NAME=VALUE"),
        (["--set"], "write NAME=VALUE"),
        (["--set", "smoke=maybe"], "--smoke maybe: write --smoke or --no-smoke"),
        (["--smoke", "feature"], "--smoke feature: write --smoke or --no-smoke"),
        (["--budgets", "5", "x"], "--budgets x: must be a whole number"),
        (["--budgets"], "--budgets: expected at least one"),
        (["--epochs", "2.5"], "--epochs 2.5: must be a whole number"),
        (["--epochs", "null"], "--epochs None: must be a whole number"),
        (["--dropout", "much"], "--dropout much: must be a number"),
        (["--seeds"], "--seeds: needs a value"),
        (["--seeds", "1", "2"], "--seeds 1 2: takes one value, not 2"),
        (["glyphs"], "unexpected word 'glyphs'"),
        (["--config"], "--config: give one file"),
    ],
)
def test_typing_mistakes_are_named(argv, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse(*argv)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bridge": "rendr"}, "did you mean 'render'"),
        ({"arms": ("transfer", "natve")}, "did you mean 'native'"),
        ({"seeds": 0}, "--seeds 0: must be 1 or more"),
        ({"budgets": (5, 0)}, "--budgets 0"),
        ({"budgets": ()}, "at least one"),
        ({"dropout": 1.5}, "--dropout 1.5: is a fraction"),
        ({"device": "gpu:x"}, "use auto, cpu, gpu or gpu:N"),
        ({"precision": "float16"}, "--precision float16"),
    ],
)
def test_values_out_of_range_are_named(change, message):
    with pytest.raises(UserError, match=message):
        check_values(changed(**change))


# === Config files ===


def test_a_saved_config_replays_the_run(tmp_path):
    config = changed(seeds=2, budgets=(5, 7), learning_rates=(1e-5,), target_text="title", smoke=True, run_dir="there")
    write_config(tmp_path / "config.yaml", config, "toy")
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text("utf-8"))
    assert saved["recipe"] == "toy" and "run_dir" not in saved
    assert set(saved) == {*options_in(config), "recipe"} - {"run_dir"}
    replayed = parse("--config", str(tmp_path / "config.yaml"))
    assert replayed == with_options(config, run_dir=None)


@pytest.mark.parametrize("place", ["before", "behind"])
def test_the_command_line_outranks_a_config_file(file, place):
    words, given = ["--config", file(seeds=2, fitted=False, epochs=7)], ["--seeds", "4", "--set", "fitted=true"]
    config = parse(*words, *given) if place == "before" else parse(*given, *words)
    assert config == changed(seeds=4, epochs=7)


def test_numbers_and_lists_of_a_config_file_may_be_written_by_hand(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("learning_rates: [1e-3, 0.01]\nbudgets: 5\ndropout: 0\njit: yes\ntarget_text: null\n")
    assert parse("--config", str(path)) == changed(learning_rates=(0.001, 0.01), budgets=(5,), dropout=0.0, jit=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sedes: 3", "there is no option 'sedes'; did you mean 'seeds'"),
        ("seeds: many", "--seeds many: must be a whole number"),
        ("seeds: null", "seeds has no value; write a whole number"),
        ("arms: [transfer, 5]", "--arms 5: must be text"),
        ("target_text: [a]", "must be text"),
        ("updates: 3\nsteps: 4", "'steps' stands there twice"),
        ("- seeds", "expected lines of NAME: VALUE"),
        ("seeds: [", "this is no YAML"),
        ("recipe: structure\nother: 1", "use: tfxfer train structure --config"),
    ],
)
def test_mistakes_in_a_config_file_are_named_with_the_file(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(message)) as found:
        parse("--config", str(path))
    assert str(path) in str(found.value)


def test_a_config_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        parse("--config", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(UserError, match=r"this is a folder; give .*config.yaml"):
        parse("--config", str(tmp_path))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="--config: the file is not UTF-8 text"):
        parse("--config", str(tmp_path / "bytes"))


def test_a_config_of_the_recipe_is_accepted_by_its_old_name_too(file):
    path = file(recipe="old_toy", seeds=2)
    assert parse("--config", path, recipe=("toy", "old_toy")).seeds == 2
    assert parse("--config", path, recipe=()).seeds == 2
    with pytest.raises(UserError, match="a run of the recipe 'old_toy', not of 'toy'"):
        parse("--config", path)


# === Old names ===


@pytest.mark.parametrize("place", ["flag", "set", "file"])
def test_old_names_are_accepted_with_a_note(place, file, capsys):
    argv = {
        "flag": ["--updates", "9", "--updates=9", "--labels-per-class", "3,4", "--no-ridge"],
        "set": ["--set", "updates=9", "labels_per_class=3,4", "ridge=false"],
        "file": ["--config", file(updates=9, labels_per_class=[3, 4], ridge=False)],
    }[place]
    assert parse(*argv) == changed(steps=9, budgets=(3, 4), fitted=False)
    said = capsys.readouterr()
    assert said.out == "" and sorted(said.err.splitlines()) == [
        "note: --labels-per-class is now called --budgets",
        "note: --ridge is now called --fitted",
        "note: --updates is now called --steps",
    ]


def test_todays_names_bring_no_note(capsys):
    parse("--steps", "9", "--set", "budgets=3")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", RECIPES)
def test_the_tables_of_a_recipe_name_options_that_exist(name):
    recipe = RECIPES[name]
    options = options_of(recipe.config)
    assert set(recipe.aliases.values()) <= set(options)
    assert not set(recipe.aliases) & set(options), "an old name that is an option again"
    check_values(with_options(recipe.config(), **recipe.smoke))
    for option_name, value in recipe.smoke.items():
        assert isinstance(value, tuple) == options[option_name].many, option_name


# === Smoke ===


def test_smoke_changes_what_is_not_given():
    assert parse("--smoke") == changed(smoke=True, **SMOKE)
    assert parse() == Toy() and parse("--no-smoke") == Toy()


@pytest.mark.parametrize("place", ["flag", "old flag", "set", "file"])
def test_smoke_leaves_what_is_given(place, file):
    argv = {
        "flag": ["--steps", "40"],
        "old flag": ["--updates", "40"],
        "set": ["--set", "steps=40"],
        "file": ["--config", file(steps=40)],
    }[place]
    expected = changed(**{**SMOKE, "steps": 40, "smoke": True})
    assert parse("--smoke", *argv) == expected and parse(*argv, "--set", "smoke=true") == expected


def test_what_is_given_with_its_default_is_given():
    assert parse("--smoke", "--steps", str(Toy().training.steps)).training.steps == Toy().training.steps


def test_a_note_says_what_smoke_cannot_change_in_a_replay(file, tmp_path, capsys):
    parse("--smoke", "--config", file(steps=40, seeds=1), "--budgets", "3")
    assert capsys.readouterr().err == "note: --smoke leaves what the config file gives: --steps\n"
    write_config(tmp_path / "config.yaml", parse("--smoke"), "toy")
    assert parse("--config", str(tmp_path / "config.yaml")) == parse("--smoke")
    assert capsys.readouterr().err == ""


# === Help ===


def help_of(config_class, flag, capsys, prog="python -m tfxfer.train language_modeling"):
    with pytest.raises(SystemExit) as ended:
        cli.parse(config_class, [flag], prog, "What it does. " * 9 + "\n\nRecipes: a, b.")
    assert ended.value.code == 0
    return capsys.readouterr().out


CONFIGS = [Toy, *(recipe.config for recipe in RECIPES.values())]


@pytest.mark.parametrize("config_class", CONFIGS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("flag", ["--help", "-h", "--help-all"])
def test_help_fits_80_columns_without_colour(config_class, flag, capsys):
    text = help_of(config_class, flag, capsys)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text and "  \n" not in text and "MISSING" not in text


@pytest.mark.parametrize("config_class", CONFIGS, ids=lambda c: c.__name__)
def test_the_short_help_shows_the_usual_options(config_class, capsys):
    text, options = help_of(config_class, "--help", capsys), options_of(config_class)
    shown = set(re.findall(r"^  (--[\w-]+)", text, re.MULTILINE))
    assert shown == {one.flag for one in options.values() if one.metadata["common"]}
    assert text.splitlines()[-1] == f"--help-all shows all {len(options)} options"


@pytest.mark.parametrize("config_class", CONFIGS, ids=lambda c: c.__name__)
def test_the_long_help_shows_every_option_under_its_heading(config_class, capsys):
    text, options = help_of(config_class, "--help-all", capsys), options_of(config_class)
    parts = dict(re.findall(r"^(\w+):\n((?:  .*\n)+)", text, re.MULTILINE))
    assert list(parts) == [group for group in GROUPS if group in parts]
    assert {"--config", "--set", "--help"} <= set(re.findall(r"^  (--[\w-]+)", parts["common"], re.MULTILINE))
    for one in options.values():
        entry = re.search(
            rf"^  {one.flag}[ ,\n](.*\n(?:   .*\n)*)", parts[one.metadata["group"] or "common"], re.MULTILINE
        )
        assert entry, one.name
        flat = " ".join(entry[0].split())
        assert "default" in flat and all(choice in flat for choice in one.metadata["choices"]), flat


def test_help_says_values_and_defaults(capsys):
    text = " ".join(help_of(Toy, "--help-all", capsys).split())
    for words in (
        "--budgets N ... label budgets (default: 5 20)",
        "--arms NAME ... what is compared (any of: transfer, random, native; default: transfer random)",
        "--bridge NAME how text enters an image model (one of: auto, render; default: auto)",
        "--fitted, --no-fitted begin at the ridge solution (default: yes)",
        "--target-label NAME label column (default: none)",
        "--source SPEC a data set to learn",
        "--run-dir DIR",
        "(default: runs/RECIPE-TIME)",
        "--dropout X fraction of units that are dropped (default: 0.1)",
    ):
        assert words in text, words


# === Exit codes ===


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (UserError("x"), 2), (TfxferError("x"), 1), (OSError(28, "full", "a"), 1), (KeyboardInterrupt(), 130)],
)
def test_exit_codes(error, code, capsys):
    def work(argv):
        if error:
            raise error

    assert cli.main(work, []) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error():
    code = "import sys, time\nfrom tfxfer import cli\ndef work(argv):\n    time.sleep(0.5)\n    print('x')\n"
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", f"{code}sys.exit(cli.main(work))"], stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    os.close(reading)
    _, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (0, b"")


@pytest.mark.parametrize(
    ("started", "program"),
    [
        ("/usr/bin/tfxfer", "tfxfer train"),
        ("C:/Scripts/tfxfer.exe", "tfxfer train"),
        ("/somewhere/tfxfer/__main__.py", "python -m tfxfer train"),
        ("/somewhere/tfxfer/train.py", "python -m tfxfer.train"),
        ("/somewhere/pytest/__main__.py", "python -m tfxfer.train"),
    ],
)
def test_a_command_is_called_as_the_person_called_it(started, program, monkeypatch):
    monkeypatch.setattr(sys, "argv", [started])
    assert cli.program("train") == program


@pytest.mark.tensorflow
def test_tensorflow_starts_without_a_word():
    code = "from tfxfer import cli\ncli.start_tensorflow()\nimport tensorflow as tf\ntf.constant(1) + 1"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
