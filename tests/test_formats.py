"""Every row of the table in docs/formats.md: its command runs on a file of its form, and examples come out."""

import re
import shlex
from pathlib import Path

import pytest
from format_samples import COUNT, SAMPLES, write_sample

import tfxfer
from tfxfer.commands import doctor

pytestmark = pytest.mark.tensorflow
DOCUMENT = Path(__file__).parent.parent / "docs" / "formats.md"
FORMS = re.findall(r"^\| .* \| `tfxfer doctor (\S+)( .*)?` \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)


def test_every_form_has_a_sample_and_every_sample_a_form():
    assert sorted(spec.partition(":")[2] for spec, _ in FORMS) == sorted(SAMPLES)


@pytest.mark.parametrize(("spec", "options"), FORMS, ids=[spec for spec, _ in FORMS])
def test_the_command_of_every_form_runs(spec, options, tmp_path, monkeypatch, data_dir, capsys):
    if spec.startswith("parquet:"):
        pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    write_sample(Path(spec.partition(":")[2]))
    doctor.work([spec, *shlex.split(options), "--data-dir", str(data_dir), "--checks", "overlap"])
    assert spec in capsys.readouterr().out
    words = shlex.split(options)
    columns = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2]))
    found = tfxfer.load(spec, data_dir=data_dir, **columns)
    assert sum(found.sizes.values()) == COUNT
    assert "caption" in found.keys or not spec.startswith("captions")
