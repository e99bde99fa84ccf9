"""Data folders and run folders of several processes: shared, read-only, held by another, left by a killed one."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tfxfer import __main__ as front
from tfxfer import cache, cli, train
from tfxfer.cache import TEMPORARY, atomic_file, data_dir, data_dirs, key_of, locked, sweep, sweep_caches
from tfxfer.config import RunConfig, option
from tfxfer.errors import UserError
from tfxfer.in_use import use
from tfxfer.models.saved_folder import describe_folder
from tfxfer.runs import Run, saved_runs

KEY = key_of("entry")


@dataclass(frozen=True)
class ToyConfig(RunConfig):
    """One option of a recipe."""

    steps: int = option(3, "how many steps")


@pytest.fixture
def child():
    """Start Python code in a process of its own, wait for its first line, and kill -9 it at the end."""
    started = []

    def start(code):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


WAIT = "print('ready', flush=True)\nimport time\ntime.sleep(600)\n"


# === Several data folders ===


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A folder in which nothing can be made, for any user: the answers of the operating system are replaced."""
    folder = tmp_path / "shared"
    folder.mkdir()
    real = {name: getattr(os, name) for name in ("access", "mkdir", "open")}

    def inside(path):
        return not isinstance(path, int) and Path(os.fsdecode(path)).absolute().is_relative_to(folder)

    def access(path, mode, **how):
        return not (inside(path) and mode & os.W_OK) and real["access"](path, mode, **how)

    def mkdir(path, *how, **more):
        if inside(path):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real["mkdir"](path, *how, **more)

    def opened(path, flags, *how, **more):
        if inside(path) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real["open"](path, flags, *how, **more)

    for name, replaced in (("access", access), ("mkdir", mkdir), ("open", opened)):
        monkeypatch.setattr(os, name, replaced)
    return folder


def test_all_folders_are_searched_and_the_first_writable_one_is_written(read_only, tmp_path):
    own = tmp_path / "own"
    found = data_dirs(f"{read_only}{os.pathsep}{own}")
    assert found.searched == (read_only, own) and found.own == own == data_dir(f"{own}{os.pathsep}{read_only}")
    assert found.shared("sources", KEY) == []


def test_beside_a_read_only_folder_alone_the_users_own_is_written(read_only, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "user_dir", lambda: tmp_path / "mine")
    assert data_dirs(read_only).searched == (read_only, tmp_path / "mine") and data_dir(read_only) == tmp_path / "mine"
    with pytest.raises(UserError, match="no folder can be made there"):
        data_dirs(read_only / "new")
    for work in (lambda: locked(read_only / "x"), lambda: atomic_file(read_only / "x" / "y.json")):
        with pytest.raises(UserError, match=r"cannot be written \(Read-only file system\).*SHARED"), work():
            pass


MOUNTED = """
import sys, os
from tfxfer.cache import data_dirs, locked
from tfxfer.errors import UserError
shared, own = sys.argv[1:]
found = data_dirs(shared + os.pathsep + own)
assert str(found.own) == own, found
assert [str(path) for path in found.shared("features", "a")] == [shared + "/features/a"], found
try:
    with locked(found.searched[0] / "features" / "a"): pass
except UserError as error: print(error)
"""


def test_a_read_only_mount_is_seen_as_one(tmp_path):
    """A real one, which binds root too; a file's mode would not."""
    shared = tmp_path / "shared"
    (shared / "features" / "a").mkdir(parents=True)
    script = f'mount --bind -o ro "$1" "$1" && mount -o remount,bind,ro "$1" && exec {sys.executable} -c "$3" "$1" "$2"'
    words = ["unshare", "-rm", "sh", "-c", script, "sh", str(shared), str(tmp_path / "own"), MOUNTED]
    try:
        may = subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        may = False
    if not may:
        pytest.skip("needs a mount of its own (unshare)")
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0 and "cannot be written (Read-only file system)" in done.stdout, done.stderr
    assert [path.name for path in shared.rglob("*")] == ["features", "a"]


# === What a killed process leaves ===


def test_temporary_files_are_no_records_and_are_swept_when_their_process_is_gone(tmp_path, child):
    records = tmp_path / "records" / KEY
    process = child(f"from tfxfer.cache import atomic_file\nwith atomic_file({str(records / 'a.npz')!r}) as path:\n"
                    f"    path.write_bytes(b'half')\n    {WAIT.replace(chr(10), chr(10) + '    ')}")  # fmt: skip
    assert list(records.glob("*.npz")) == [] and len(list(records.glob(f"{TEMPORARY}*/a.npz"))) == 1
    sweep_caches(tmp_path)
    assert len(list(records.glob(f"{TEMPORARY}*"))) == 1, "it is being written"
    kill(process)
    sweep_caches(tmp_path)
    assert list(records.iterdir()) == []


def test_a_file_is_written_while_others_sweep(tmp_path):
    with atomic_file(tmp_path / "a.json") as path:
        sweep(tmp_path)
        path.write_text("{}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_clean_leaves_what_a_running_process_uses_until_it_ends(tmp_path, monkeypatch, child, capsys):
    monkeypatch.setenv("TFXFER_DATA", str(tmp_path))
    entry = tmp_path / "records" / KEY
    entry.mkdir(parents=True)
    (entry / "transfer-5-0.npz").touch()
    process = child(f"from pathlib import Path\nfrom tfxfer.in_use import use\nuse(Path({str(entry)!r}))\n{WAIT}")
    assert cli.main(front.work, ["clean", "records", "--yes"]) == 0
    assert "another process uses it; it stays" in capsys.readouterr().out and entry.exists()
    kill(process)
    assert cli.main(front.work, ["clean", "records", "--yes"]) == 0
    assert not entry.exists() and not list((tmp_path / "in_use").glob("*.txt"))


def test_a_process_that_ends_uses_nothing_any_more(tmp_path):
    entry = tmp_path / "features" / KEY
    code = f"from pathlib import Path\nfrom tfxfer.in_use import use\nuse(Path({str(entry)!r}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert [path.name for path in (tmp_path / "in_use").iterdir()] == ["all.lock"]


def test_entries_of_a_folder_that_cannot_be_written_are_used_all_the_same(read_only):
    use(read_only / "features" / KEY)
    assert list(read_only.iterdir()) == []


# === The folder of a run ===


def test_of_two_commands_in_one_folder_the_second_is_told_who_works_there(tmp_path, monkeypatch, child, capsys):
    folder = tmp_path / "run"
    child(f"from tfxfer.config import RunConfig\nfrom tfxfer.runs import Run\n"
          f"run = Run('feature', RunConfig(run_dir={str(folder)!r}))\n{WAIT}")  # fmt: skip
    before = time.strftime("%Y-%m-%d %H:")
    monkeypatch.setattr(cli, "start_tensorflow", None)  # it is said before
    words = ["train", "--smoke", "--run-dir", str(folder), "--data-dir", str(tmp_path / "data")]
    assert cli.main(front.work, words) == 2
    said = capsys.readouterr().err
    assert f"--run-dir {folder}: process " in said and f" on {socket.gethostname()}, since {before}" in said


def test_after_a_kill_the_folder_is_free(tmp_path, child):
    folder = tmp_path / "run"
    made = f"run = Run('feature', RunConfig(run_dir={str(folder)!r}))"
    kill(child(f"from tfxfer.config import RunConfig\nfrom tfxfer.runs import Run\n{made}\n{WAIT}"))
    Run("feature", RunConfig(run_dir=str(folder))).close()


def killed_before_the_report(folder, **options):
    """A run that has its model and its comparison, and no report."""
    Run("toy", ToyConfig(run_dir=str(folder), **options)).close()
    for name in ("comparison.json", "model.keras", "model.json"):
        (folder / name).write_text("{}")


def test_a_run_killed_before_its_report_goes_on_and_every_command_calls_it_unfinished(tmp_path):
    folder = tmp_path / "runs" / "toy"
    killed_before_the_report(folder)
    assert [row["verdict"] for row in saved_runs(tmp_path / "runs")] == ["unfinished"]
    with pytest.raises(UserError, match=r"an unfinished run; give the command that began it again, with --run-dir"):
        describe_folder(folder)
    Run("toy", ToyConfig(run_dir=str(folder), data_dir=str(tmp_path / "elsewhere"))).close()  # the same command
    with pytest.raises(UserError, match=r"an unfinished run of another command \(other: steps\)"):
        Run("toy", ToyConfig(run_dir=str(folder), steps=4))
    Run("toy", ToyConfig(run_dir=str(folder))).close()  # the refused one holds nothing


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["report.html"], "an earlier run"),
        (["model.keras"], "a saved model"),
        (["config.yaml", "model.json", "model.keras"], "a saved model"),  # copied from a run's folder
    ],
)
def test_what_is_finished_is_kept(files, what, tmp_path, monkeypatch, capsys):
    for name in files:
        (tmp_path / name).write_text("precious")
    monkeypatch.setattr(cli, "start_tensorflow", None)
    assert cli.main(train.work, ["--smoke", "--run-dir", str(tmp_path), "--data-dir", str(tmp_path / "data")]) == 2
    assert f"holds {what}, which is kept; name another folder" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == files
