"""Every file of a cached source is in its manifest: a changed byte in any of them trains it again, with a note."""

import pytest

import tfxfer
from tfxfer.config import RunConfig, SourceConfig
from tfxfer.fit import History
from tfxfer.runs import Run
from tfxfer.sources import pretrain
from tfxfer.sources.pretrain import Pretraining, trained_language_model

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A fresh BERT whose training is left out; returns its `Pretraining` and the number of its trainings."""
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(f"word{i % 7} and {i} more" for i in range(60)))
    trainings = []

    def untrained(model, *how, **more):
        trainings.append(1)
        return History([{"epoch": 1, "loss": 1.0, "seconds": 0.0}])

    monkeypatch.setattr(pretrain, "train", untrained)
    config = RunConfig(data_dir=str(tmp_path), run_dir=str(tmp_path / "run"))
    data = tfxfer.load(f"text:{file}", data_dir=tmp_path)
    return Pretraining.of(SourceConfig(f"text:{file}", epochs=1), config, data), trainings


def test_a_changed_byte_in_any_file_trains_the_source_again(source, caplog):
    training, trainings = source
    run = Run("captioning", training.config)
    trained_language_model(training, run)
    files = {path.name for path in training.folder.iterdir()}
    assert files == {"model.keras", "masked_lm.npz", "vocabulary.txt", "source.json"}
    trained_language_model(training, run)
    assert len(trainings) == 1, "it was whole"
    for name in ("vocabulary.txt", "masked_lm.npz"):
        content = bytearray((training.folder / name).read_bytes())
        content[-9] ^= 1
        (training.folder / name).write_bytes(content)
    trained_language_model(training, run)
    run.close()
    said = "masked_lm.npz, vocabulary.txt changed or missing; the source is trained again"
    assert len(trainings) == 2 and f"{training.folder}: {said}" in caplog.text
