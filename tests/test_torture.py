"""The smaller form of `make torture`: a few files for each reader, a flipped byte in each file of a run."""

import here
import pytest
from torture import damage, fuzz

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("name", fuzz.READERS)
def test_files_that_are_nearly_right_are_read_or_refused(name, tmp_path):
    read, refused, wrong = fuzz.fuzz(name, tmp_path, seconds=0)
    assert not wrong
    assert read + refused >= 40


def test_a_flipped_byte_in_a_result_is_named_or_changes_no_answer(data_dir, tmp_path):
    run = tmp_path / "run"
    done = here.command(*damage.WORDS[1:], "--run-dir", run, data_dir=data_dir)
    assert done.returncode == 0, done.stderr
    found = damage.results(run, flips=1)
    assert {"model.keras", "comparison.json", "probabilities.npz", "config.yaml"} <= set(found)
    assert [wrong for _, _, wrong in found.values() if wrong] == []
    assert sum(named for _, named, _ in found.values()) > 0
