"""The command line: spelling help, types, replay, exit codes."""

import subprocess
import sys

import pytest
import yaml

from tfxfer import cli, train
from tfxfer.config import FeatureConfig, KnowledgeConfig, check_values
from tfxfer.errors import TfxferError, UserError
from tfxfer.runs import write_config


def parse(*argv):
    return cli.parse(FeatureConfig, argv, "test", "")


def test_no_argument_is_the_default_experiment():
    assert parse() == FeatureConfig()


def test_lists_take_spaces_and_commas():
    assert parse("--labels-per-class", "5", "20").labels_per_class == (5, 20)
    assert parse("--labels-per-class", "5,20").labels_per_class == (5, 20)
    assert parse("--labels-per-class=5,20", "--seeds=1").labels_per_class == (5, 20)
    assert parse("--learning-rates", "1e-3").learning_rates == (0.001,)


def test_set_reaches_every_option():
    config = parse("--set", "epochs=5", "labels_per_class=[5,10]", "smoke=true", "--seeds", "2")
    assert (config.epochs, config.labels_per_class, config.smoke, config.seeds) == (5, (5, 10), True, 2)


@pytest.mark.parametrize("argv", [["--no-evidence"], ["--set", "evidence=false"]])
def test_what_is_on_can_be_switched_off_over_a_config_too(argv, tmp_path):
    write_config(tmp_path / "config.yaml", KnowledgeConfig(evidence=True, download=True))
    replayed = ["--config", str(tmp_path / "config.yaml"), *argv]
    for words in (argv, replayed):
        assert cli.parse(KnowledgeConfig, words, "test", "").evidence is False
    assert cli.parse(KnowledgeConfig, replayed, "test", "").download is True
    assert cli.parse(KnowledgeConfig, [*replayed, "--no-download"], "test", "").download is False


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--sorce", "glyphs"], "did you mean '--source'"),
        (["--set", "epocs=4"], "did you mean 'epochs'"),
        (["--set", "epochs"], "write NAME=VALUE"),
        (["--set", "smoke=maybe"], "write true or false"),
        (["--labels-per-class", "5", "x"], "labels_per_class"),
        (["--epochs", "2.5"], "epochs"),
    ],
)
def test_typing_mistakes_are_named(argv, message):
    with pytest.raises(UserError, match=message):
        parse(*argv)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bridge": "rendr"}, "did you mean 'render'"),
        ({"arms": ("transfer", "natve")}, "did you mean 'native'"),
        ({"seeds": 0}, "--seeds 0: must be above 0"),
        ({"labels_per_class": (5, 0)}, "--labels-per-class"),
        ({"labels_per_class": ()}, "at least one"),
        ({"learning_rates": (-1.0,)}, "must not be negative"),
        ({"device": "gpu:x"}, "use auto, cpu, gpu or gpu:N"),
        ({"precision": "float16"}, "--precision float16"),
    ],
)
def test_values_out_of_range_are_named(change, message):
    with pytest.raises(UserError, match=message):
        check_values(FeatureConfig(**change))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["featre"], "did you mean 'feature'"),
        (["--target", "csv:nowhere.csv"], "nowhere.csv does not exist"),
        (["--target", "langages"], "did you mean 'languages'"),
        (["--source", "keras:MobilNetV2"], "did you mean 'MobileNetV2'"),
        (["--source", "run:nowhere"], "does not exist"),
        (["--source", "keras:VGG16", "--source-label", "x"], "leave it out"),
        (["--model", "keras:VGG16"], "give it as --source"),
        (["--arms", "native"], "'transfer' is the method under study"),
        (["--trained-at", "7"], "must be among"),
    ],
)
def test_requests_are_checked_before_work_starts(argv, message):
    with pytest.raises(UserError, match=message):
        train.work(argv)


def test_a_saved_config_replays_the_run(tmp_path):
    config = FeatureConfig(seeds=2, labels_per_class=(5, 7), learning_rates=(1e-2,), target_text="title", smoke=True)
    write_config(tmp_path / "config.yaml", config)
    assert parse("--config", str(tmp_path / "config.yaml")) == config
    assert parse("--config", str(tmp_path / "config.yaml"), "--seeds", "4").seeds == 4


def test_an_unknown_key_in_a_config_is_named(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"sedes": 3}), encoding="utf-8")
    with pytest.raises(UserError, match="did you mean 'seeds'"):
        parse("--config", str(file))


@pytest.mark.parametrize(
    ("error", "code"), [(None, 0), (UserError("x"), 2), (TfxferError("x"), 1), (KeyboardInterrupt(), 130)]
)
def test_exit_codes(error, code, capsys):
    def work(argv):
        if error:
            raise error

    assert cli.main(work, []) == code
    assert "Traceback" not in capsys.readouterr().err


def test_tensorflow_starts_without_a_word():
    code = "from tfxfer import cli\ncli.start_tensorflow()\nimport tensorflow as tf\ntf.constant(1) + 1"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
