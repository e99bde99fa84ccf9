"""`tfxfer COMMAND`: the table of commands, train, list and clean, and what starting them costs."""

import configparser
import importlib
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import tfxfer
from tfxfer import __main__ as front
from tfxfer import cli, train
from tfxfer.cache import CACHES, key_of, locked
from tfxfer.commands import COMMANDS, clean
from tfxfer.commands import list as listing
from tfxfer.config import RunConfig, option
from tfxfer.data.spec import BUILT_IN
from tfxfer.errors import UserError
from tfxfer.recipes import RECIPE_ALIASES, RECIPES
from tfxfer.runs import Run, saved_runs

ROOT = Path(__file__).parent.parent
HEAVY = ("tensorflow", "keras", "keras_hub", "tensorflow_datasets", "numpy", "scipy", "sklearn", "matplotlib")
BOUND = 0.5  # seconds of a processor that a command may take that starts no TensorFlow


def run(*words, stdin=subprocess.DEVNULL, module="tfxfer", **how):
    return subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, stdin=stdin, **how)


# === The commands ===


def test_the_console_script_leads_to_the_front_door():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, target = setup["options.entry_points"]["console_scripts"].strip().split(" = ")
    module, function = target.split(":")
    assert name == "tfxfer" and getattr(importlib.import_module(module), function) is front.main


def test_help_has_a_line_for_each_command(capsys):
    assert cli.main(front.work, ["--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", text, re.MULTILINE)
    assert cli.main(front.work, []) == 0 and capsys.readouterr().out == text


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_work_to_do_and_help(name, capsys):
    work = importlib.import_module(COMMANDS[name].module).work
    with pytest.raises(SystemExit) as ended:
        work(["--help"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("usage: ")


def test_the_version_is_the_package_s():
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"tfxfer {tfxfer.__version__}\n", "")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["tran"], "there is no command 'tran'; did you mean 'train'?"),
        (["--versoin"], "unknown option --versoin; did you mean '--version'?"),
        (["train", "featre"], "there is no recipe 'featre'; did you mean 'feature'?"),
        (["train", "--sorce", "x"], "unknown option --sorce; did you mean '--source'?"),
        (["list"], "say what to list: datasets, models, recipes, augmentations, runs"),
        (["list", "modles"], "did you mean 'models'?"),
        (["list", "models", "--jsn"], "unknown option --jsn; did you mean '--json'?"),
        (["clean", "featurs"], "did you mean 'features'?"),
        (["clean", "runs"], "runs are never removed"),
        (["clean", "--older-than", "30"], "write a number of hours, days or weeks"),
    ],
)
def test_mistakes_end_with_2_and_the_nearest_name(argv, message, capsys):
    assert cli.main(front.work, argv) == 2
    said = capsys.readouterr()
    assert message in said.err and said.out == ""


# === What starting costs ===


QUICK = [
    ["--help"],
    ["--version"],
    ["train", "--help"],
    ["train", "--help-all"],
    *(["train", name, "--help-all"] for name in RECIPES),
    *(["list", name] for name in listing.LISTS),
    ["clean"],
    ["clean", "features", "--older-than", "30d"],
]
MISTAKES = [["tran"], ["train", "featre"], ["train", "--sorce", "x"], ["train", "--target", "csv:missing.csv"]]


@pytest.mark.parametrize("argv", QUICK + MISTAKES, ids=" ".join)
def test_a_command_that_trains_nothing_starts_quickly_and_imports_nothing_heavy(argv, tmp_path):
    code = (
        "import sys\nfrom tfxfer import __main__ as front\n"
        "try: code = front.main()\nexcept SystemExit as ended: code = ended.code\n"
        f"found = [name for name in {HEAVY} if name in sys.modules]\nassert not found, found\nsys.exit(code)"
    )
    expected, seconds = (2 if argv in MISTAKES else 0), []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", code, *argv],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"TFXFER_DATA": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)  # not wall time: other tests may use the processors
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == expected, done.stderr
        if seconds[-1] < BOUND:
            break
    assert min(seconds) < BOUND, f"{' '.join(argv)}: {min(seconds):.2f} s"


@pytest.mark.parametrize("module", ["tfxfer.train", "tfxfer.predict", "tfxfer.evaluate"])
def test_the_commands_that_are_modules_stay(module):
    done = run("--help", module=module)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: python -m {module}")


def test_a_help_text_can_be_printed_where_only_ascii_can():
    done = run("train", "--help", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "Traceback" not in done.stderr


# === train ===


@dataclass(frozen=True)
class ToyConfig(RunConfig):
    """One option of its own."""

    steps: int = option(100, "steps", group="training", common=True, at_least=1)
    target: str = option("csv:a.csv", "a data set", group="target", common=True)


@dataclass
class ToyRecipe:
    """What train takes of a row of `tfxfer.recipes`, and the configs that it was run with."""

    name: str = "toy"
    config: type = ToyConfig
    summary: str = "A toy, y = x. It does nothing."
    smoke: dict[str, Any] = field(default_factory=lambda: {"steps": 2})
    aliases: dict[str, str] = field(default_factory=lambda: {"updates": "steps"})
    calls: list[Any] = field(default_factory=list)

    def check(self, config):
        if config.target == "wrong":
            raise UserError("--target wrong: is wrong")

    def data(self, config):
        return (config.target, None)


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """The only recipe there is; it is not run, and TensorFlow is not started."""
    recipe = ToyRecipe()
    monkeypatch.setattr(train, "RECIPES", {"toy": recipe})
    monkeypatch.setattr(train, "RECIPE_ALIASES", {"game": "toy"})
    monkeypatch.setattr(train, "DEFAULT", "toy")
    monkeypatch.setattr(train, "run", lambda recipe, config: recipe.calls.append(config))
    monkeypatch.setenv("TFXFER_DATA", str(tmp_path))
    return recipe


@pytest.mark.parametrize("argv", [[], ["toy"], ["game"]])
def test_train_runs_the_recipe_that_is_named(argv, toy, capsys):
    train.work([*argv, "--updates", "7"])
    assert toy.calls == [ToyConfig(steps=7)]
    notes = ["note: the recipe game is now called toy"] * (argv == ["game"])
    assert capsys.readouterr().err.splitlines() == [*notes, "note: --updates is now called --steps"]


def test_train_leaves_what_is_given_under_smoke(toy):
    train.work(["--smoke"])
    train.work(["--smoke", "--steps", "100"])
    assert toy.calls == [ToyConfig(smoke=True, steps=2), ToyConfig(smoke=True)]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--steps", "0"], "--steps 0: must be 1 or more"),
        (["--target", "wrong"], "--target wrong: is wrong"),
        (["tyo"], "did you mean 'toy'"),
        (["--config", "config.yaml"], "use: .* other --config config.yaml"),
    ],
)
def test_train_checks_before_tensorflow_starts(argv, message, toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("recipe: other\n")
    with pytest.raises(UserError, match=message):
        train.work(argv)
    assert toy.calls == []


def test_train_prepares_all_data_but_the_first_ahead(toy, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(toy, "data", lambda config: ("glyphs/by_face", None, "names", "csv:a.csv"), raising=False)
    monkeypatch.setattr(
        train, "prepare_in_background", lambda specs, folder: asked.append(specs) or locked(folder / "any")
    )
    train.work([])
    assert asked == [["names"]] and capsys.readouterr().out.startswith("preparing glyphs/by_face, names, once, in ")


def test_recipes_have_their_names_and_old_names_lead_to_one():
    assert all(recipe.name == name for name, recipe in RECIPES.items())
    assert set(RECIPE_ALIASES.values()) <= set(RECIPES) and not set(RECIPE_ALIASES) & set(RECIPES)


@pytest.mark.parametrize(
    ("module", "argv", "nearest"),
    [
        ("tfxfer.predict", ["runs/a", "--imgae", "a.png"], "--image"),
        ("tfxfer.evaluate.__main__", ["runs/a", "--data", "names", "--lable", "x"], "--label"),
    ],
)
def test_every_command_names_the_option_that_was_meant(module, argv, nearest):
    work = importlib.import_module(module).work
    with pytest.raises(UserError, match=f"did you mean '{nearest}'"):
        work(argv)


# === list ===


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Runs: one that helped, a smoke run, without a verdict, killed, cut short; and a folder that is no run."""
    monkeypatch.chdir(tmp_path)
    primary = {"role": "primary", "word": "helped", "difference": 0.1234, "measure": "recall_at_1"}
    for name, verdicts in (("feature-20261123-101500", [{"role": "secondary"}, primary]), ("mine", [])):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "comparison.json").write_text(json.dumps({"recipe": "feature", "verdicts": verdicts}))
        (folder / "report.html").touch()
    smoke = tmp_path / "runs" / "vqa-20261201-101500"
    smoke.mkdir()
    (smoke / "comparison.json").write_text(
        json.dumps({"recipe": "vqa", "verdicts": [primary], "about": {"smoke": True}})
    )
    (smoke / "report.html").touch()
    Run("vqa", ToyConfig(run_dir="runs/killed")).close()
    (tmp_path / "runs" / "retrieval-20270101-000000-1").mkdir()
    (tmp_path / "runs" / "retrieval-20270101-000000-1" / "comparison.json").write_text('{"recipe": "ret')
    (tmp_path / "runs" / "retrieval-20270101-000000-1" / "report.html").touch()
    (tmp_path / "runs" / "stranger").mkdir()
    for name in ("comparison.json", "report.html"):
        os.utime(tmp_path / "runs" / "mine" / name, (1e9, 1e9))
    return tmp_path / "runs"


def test_runs_are_listed_with_recipe_date_and_verdict(runs, capsys):
    rows = {row["name"]: row for row in saved_runs()}
    assert list(rows)[-1] == "mine" and "stranger" not in rows
    assert rows["feature-20261123-101500"] == {
        "name": "feature-20261123-101500",
        "recipe": "feature",
        "date": "2026-11-23 10:15",
        "verdict": "helped, +0.123 recall at 1",
    }
    assert (rows["mine"]["verdict"], rows["killed"]["verdict"]) == ("no verdict", "unfinished")
    assert rows["killed"]["recipe"] == "vqa"
    assert rows["vqa-20261201-101500"]["verdict"] == "smoke run, no verdict"
    cut = rows["retrieval-20270101-000000-1"]
    assert (cut["recipe"], cut["verdict"]) == ("retrieval", "damaged")
    assert cli.main(front.work, ["list", "runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and any(re.fullmatch(r"feature-\S+ +feature +2026-11-23 10:15  helped.*", x) for x in lines)


def test_no_runs_are_said_and_are_an_empty_list(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(front.work, ["list", "runs"]) == 0
    assert capsys.readouterr() == ("", "note: there are no runs yet\n")
    assert cli.main(front.work, ["list", "runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("what", ["datasets", "models", "recipes"])
def test_lists_are_lines_for_people_and_json_for_machines(what, capsys):
    assert cli.main(front.work, ["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert cli.main(front.work, ["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(lines) == len(rows) >= 1
    for line, row in zip(lines, rows):
        assert line.startswith(row["name"]) and line.endswith(row["summary"])


def test_what_is_listed_can_be_used():
    from tfxfer.data import spec as data_spec
    from tfxfer.models import spec as model_spec

    built_in = {f"{name}/{config}" for name, configs in BUILT_IN.items() for config in configs}
    assert set(listing.ABOUT) == built_in
    for row in listing.datasets():
        if row["name"] in built_in:
            data_spec.parse(row["name"])
    for row in listing.models():
        assert model_spec.is_model(row["name"])
        if row["name"].startswith("fresh:"):
            model_spec.parse(row["name"])
    assert [row["name"] for row in listing.recipes()] == list(RECIPES)


# === clean ===


KEY = key_of("a")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with something in each cache, and with files that are not tfxfer's."""
    folder = tmp_path / "data"
    monkeypatch.setenv("TFXFER_DATA", str(folder))
    files = {
        f"features/{KEY}/shard-000000.npy": 1000,
        f"features/{KEY}.lock": 0,
        f"features/{key_of('b')}/manifest.json": 24,
        f"records/{KEY}/transfer-5-0.npz": 10,
        f"sources/{KEY}/model.keras": 2000,
        f"sources/reading-{KEY}.npz": 5,
        f"inspected/{KEY}.json": 7,
        "tfds/glyphs/by_face/1.0.0/dataset_info.json": 3,
        "tfds/glyphs/by_face/1.0.0/glyphs-train.tfrecord": 30,
        "tfds/glyphs/by_face/1.0.0.lock": 0,
        "tfds/mnist/3.0.1/dataset_info.json": 3,
        "tfds/mnist/incomplete.ABC_3.0.2/dataset_info.json": 3,
        "features/my-own/notes.txt": 9,
        "photos/holiday.png": 9,
        "runs/feature-20261123-101500/config.yaml": 9,
    }
    for name, size in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return folder


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_clean_alone_shows_and_removes_nothing(data, capsys):
    before = files_in(data)
    assert cli.main(front.work, ["clean"]) == 0
    text = capsys.readouterr().out
    assert files_in(data) == before and max(map(len, text.splitlines()[1:])) <= 80
    rows = {line.split()[0]: line.split()[1:5] for line in text.splitlines() if line.split()[:1]}
    assert rows["features"] == ["2", "2", "1.0", "KiB"] and rows["tfds"][:2] == ["2", "3"]
    assert rows["sources"][:2] == ["2", "2"] and rows["records"][:2] == ["1", "1"] and set(CACHES) <= set(rows)


def test_clean_removes_what_is_named_and_nothing_else(data, capsys):
    before = files_in(data)
    assert cli.main(front.work, ["clean", "features", "records", "--yes"]) == 0
    assert before - files_in(data) == {
        f"features/{KEY}/shard-000000.npy",
        f"features/{key_of('b')}/manifest.json",
        f"records/{KEY}/transfer-5-0.npz",
    }
    assert f"removed 3 entries, 3 files, 1.0 KiB in {data}" in capsys.readouterr().out
    assert cli.main(front.work, ["clean", "features", "--yes"]) == 0
    assert "nothing to remove" in capsys.readouterr().out


def test_clean_all_leaves_what_is_not_tfxfers(data):
    assert cli.main(front.work, ["clean", *CACHES, "--yes"]) == 0
    assert files_in(data) == {
        f"features/{KEY}.lock",
        "tfds/glyphs/by_face/1.0.0.lock",
        "tfds/mnist/incomplete.ABC_3.0.2/dataset_info.json",
        "features/my-own/notes.txt",
        "photos/holiday.png",
        "runs/feature-20261123-101500/config.yaml",
    }


def test_clean_by_age_looks_at_the_newest_file_of_an_entry(data):
    month = time.time() - 31 * 86400
    for path in [*data.rglob("*"), data]:
        os.utime(path, (month, month))
    os.utime(data / "features" / KEY / "shard-000000.npy")
    assert cli.main(front.work, ["clean", "--older-than", "30d", "--yes"]) == 0
    left = files_in(data)
    assert f"features/{KEY}/shard-000000.npy" in left
    assert not [name for name in left if name.startswith(("records", "sources", "inspected"))]
    assert f"features/{key_of('b')}/manifest.json" not in left


def test_clean_leaves_what_another_process_uses(data, capsys):
    code = (
        f"import time\nfrom tfxfer.cache import locked\nwith locked({str(data / 'features' / KEY)!r}):\n"
        "    print('held', flush=True)\n    time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "held\n"
        assert cli.main(front.work, ["clean", "features", "--yes"]) == 0
        said = capsys.readouterr().out
        assert f"{data / 'features' / KEY}: another process uses it; it stays" in said and "removed 1 entry" in said
        assert (data / "features" / KEY / "shard-000000.npy").exists()
    finally:
        child.kill()
        child.wait()
    assert cli.main(front.work, ["clean", "features", "--yes"]) == 0
    assert not (data / "features" / KEY).exists()


def test_clean_never_leaves_the_data_folder(data, tmp_path):
    outside = tmp_path / "outside"
    (outside / KEY).mkdir(parents=True)
    (outside / KEY / "precious").write_text("x")
    (data / "features" / key_of("link")).symlink_to(outside)
    (data / "records" / KEY / "link").symlink_to(outside)
    (data / "sources").rename(data / "elsewhere")
    (data / "sources").symlink_to(outside)
    (data / "tfds" / "linked").symlink_to(data / "tfds" / "mnist")
    assert cli.main(front.work, ["clean", *CACHES, "--yes"]) == 0
    assert (outside / KEY / "precious").read_text() == "x"
    assert not (data / "features" / key_of("link")).is_symlink() and not (data / "records" / KEY).exists()


def test_clean_takes_up_a_removal_that_was_interrupted(data, monkeypatch):
    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(clean.shutil, "rmtree", killed)
    assert cli.main(front.work, ["clean", "features", "tfds", "--yes"]) == 130
    monkeypatch.undo()
    monkeypatch.setenv("TFXFER_DATA", str(data))
    (half,) = data.rglob(".removed-*")
    assert not half.with_name(half.name.rpartition("-")[2]).exists(), "half an entry could be found"
    assert cli.main(front.work, ["clean", "features", "tfds", "--yes"]) == 0
    assert not [path for path in data.rglob("*") if path.name.startswith(".removed")]


def test_clean_names_what_it_cannot_remove_and_removes_the_rest(data, monkeypatch, capsys):
    real = clean.remove

    def stubborn(path):
        if path.name == KEY:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(clean, "remove", stubborn)
    assert cli.main(front.work, ["clean", "features", "--yes"]) == 1
    said = capsys.readouterr()
    assert "1 could not be removed" in said.err and "Permission denied" in said.err and "removed 1 entry" in said.out


def test_clean_without_a_terminal_refuses_to_ask(data):
    before = files_in(data)
    done = run("clean", "features")
    assert done.returncode == 2 and "give --yes" in done.stderr and files_in(data) == before


def at_terminal(*words, answer=None, sign=None):
    """Run a command on a terminal of its own; answer its question, or send it a signal there."""
    ours, theirs = pty.openpty()
    code = (  # a job in the background ignores SIGINT, and so would its children
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tfxfer.__main__ import main\nsys.exit(main())"
    )
    child = subprocess.Popen([sys.executable, "-c", code, *words], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 1000)
    try:
        if answer is not None:
            os.write(ours, answer)
        while sign is not None and child.poll() is None:  # the first may come before the process waits for input
            child.send_signal(sign)
            time.sleep(0.5)
        return child.wait(timeout=60), said.decode()
    finally:
        child.kill()
        os.close(ours)


@pytest.mark.parametrize(("answer", "removed"), [(b"y\n", True), (b"n\n", False), (b"\n", False), (b"\x04", False)])
def test_clean_asks_on_a_terminal(answer, removed, data):
    code, said = at_terminal("clean", "features", answer=answer)
    assert code == 0 and "2 entries, 2 files, 1.0 KiB" in said and "Remove them? [y/N]" in said
    assert (data / "features" / KEY).exists() is not removed


def test_an_interrupted_command_ends_with_130(data):
    code, _ = at_terminal("clean", "features", sign=signal.SIGINT)
    assert code == 130 and (data / "features" / KEY).exists()


def test_a_lock_is_held_once_and_waiting_can_be_refused(tmp_path):
    with locked(tmp_path / "a") as held:
        assert held
        with locked(tmp_path / "a", wait=False) as second:
            assert second is False
        assert FileLock(tmp_path / "a.lock").is_locked is False, "another object of the same path"
    with locked(tmp_path / "a", wait=False) as third:
        assert third is True
    with pytest.raises(KeyError), locked(tmp_path / "a"):
        raise KeyError
    assert (tmp_path / "a.lock").exists(), "all processes must find the same file"
