"""Cache keys: every field that can change a source or a record is part of its key, found by walking the config.

No field is listed here: one that is added to a config is tested from then on.
"""

import typing
from dataclasses import dataclass, fields, is_dataclass, replace
from types import SimpleNamespace

import here
import keras
import numpy as np
import pytest

from tfxfer import cli
from tfxfer.config import CaptionTrainingConfig, RunConfig, SourceConfig, option
from tfxfer.recipes import RECIPES, runner
from tfxfer.recipes.runner import records_folder
from tfxfer.sources.language_model import pretrain_decoder
from tfxfer.sources.pretrain import Pretraining

pytestmark = pytest.mark.tensorflow
CODE_KEY = runner.code_key
IMAGES = SimpleNamespace(keys=("image", "label"), image_shape=(32, 32, 1), fingerprint="images")
TEXTS = SimpleNamespace(keys=("text",), image_shape=None, fingerprint="texts")


@pytest.fixture(autouse=True)
def code(monkeypatch):
    """The key of the code, without reading all files each time."""
    monkeypatch.setattr(runner, "code_key", lambda: "code")


def leaves(config, path=()):
    """Yield (path, field, type) of every field that is no config itself."""
    hints = typing.get_type_hints(type(config))
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from leaves(value, (*path, item.name))
        else:
            yield (*path, item.name), item, hints[item.name]


def other(value, item, hint):
    """Return a value of the same type that differs."""
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return (*value, other(value[-1] if value else inner(), item, inner))
    choices = item.metadata.get("choices", ())
    if choices:
        return next(choice for choice in choices if choice != value)
    if value is None or isinstance(value, str):
        return f"{value}x"
    return not value if isinstance(value, bool) else value + 1


def changed(config, path, value):
    first, *rest = path
    return replace(config, **{first: changed(getattr(config, first), rest, value) if rest else value})


def variants(config):
    """Yield the path of each field, whether it decides, and the config with this field changed alone."""
    for path, item, hint in leaves(config):
        value = config
        for name in path:
            value = getattr(value, name)
        different = other(value, item, hint)
        assert different != value
        yield path, item.metadata.get("decides", True), changed(config, path, different)


def wrong_keys(config, key):
    """Return the paths of fields that decide and leave the key as it is, or do not decide and change it."""
    own = key(config)
    assert key(config) == own
    found = list(variants(config))
    assert len({key(variant) for _, decides, variant in found if decides}) == sum(decides for _, decides, _ in found)
    return [path for path, decides, variant in found if (key(variant) != own) != decides]


# === Sources ===


@pytest.mark.parametrize("dataset", [IMAGES, TEXTS], ids=["images", "texts"])
def test_every_field_of_a_source_changes_its_key(dataset):
    assert not wrong_keys(SourceConfig(), lambda source: Pretraining.of(source, RunConfig(), dataset).key)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_field_of_a_run_that_decides_changes_the_key_of_each_source(recipe, tmp_path):
    config = here.config_of(recipe, data_dir=str(tmp_path))
    sources = [item.name for item in fields(config) if isinstance(getattr(config, item.name), SourceConfig)]
    assert sources
    run_fields = {item.name for item in fields(RunConfig)}
    for name in sources:

        def key(changed, name=name):
            return Pretraining.of(getattr(changed, name), changed, IMAGES).key

        for path, decides, variant in variants(config):
            part_of_it = path[0] == name or path[0] in run_fields
            assert (key(variant) != key(config)) == (part_of_it and decides), (name, path)


def test_a_field_that_is_added_to_a_run_or_a_source_is_in_the_key():
    @dataclass(frozen=True)
    class MoreSource(SourceConfig):
        """One more field."""

        more: int = option(1, "more")

    assert not wrong_keys(MoreSource(), lambda source: Pretraining.of(source, RunConfig(), TEXTS).key)
    assert ("more",) in [path for path, _, _ in variants(MoreSource())]


def test_data_and_size_of_images_are_in_the_key():
    def key(dataset=IMAGES, size=0):
        return Pretraining.of(SourceConfig(), RunConfig(), dataset, size).key

    newer = SimpleNamespace(**vars(IMAGES) | {"fingerprint": "newer"})
    vary = SimpleNamespace(**vars(IMAGES) | {"image_shape": None})
    assert len({key(), key(newer), key(vary), key(size=48)}) == 4
    assert key(vary) == key(vary, 64)  # images that vary are resized to 64 x 64


@pytest.mark.parametrize(
    ("dataset", "architecture", "rate"), [(IMAGES, "fresh:cnn", 1e-2), (TEXTS, "fresh:bert", 1e-3)]
)
def test_what_stands_for_the_same_training_has_one_key(dataset, architecture, rate):
    def key(**how):
        return Pretraining.of(SourceConfig(**how), RunConfig(), dataset).key

    assert key() == key(architecture=architecture) == key(architecture=architecture, learning_rate=rate)


def test_a_source_is_cached_in_the_data_folder_under_its_key(tmp_path):
    training = Pretraining.of(SourceConfig(), RunConfig(data_dir=str(tmp_path)), IMAGES)
    assert training.folder == tmp_path / "sources" / training.key


# === Precision: sources of one arithmetic are none of another ===


COMMANDS = [
    ("captioning", []),
    ("structure", ["--transfer", "encoder_to_decoder"]),
    ("structure", []),
    ("feature", []),
    ("retrieval", []),
    ("vqa", []),
]


@pytest.mark.parametrize(("recipe", "words"), COMMANDS, ids=[" ".join([recipe, *words]) for recipe, words in COMMANDS])
def test_half_precision_and_float32_share_no_source_and_no_record(recipe, words, tmp_path):
    row = RECIPES[recipe]
    found = []
    for precision in ("float32", "mixed_bfloat16", "mixed_float16"):
        argv = [*words, "--precision", precision, "--data-dir", str(tmp_path)]
        config = row.resolve(cli.parse(row.config, argv, "train", "a recipe", row.aliases, row.smoke))
        sources = {item.name: getattr(config, item.name) for item in fields(config)}
        keys = {
            name: Pretraining.of(source, config, TEXTS if name == "language_model" else IMAGES).key
            for name, source in sources.items()
            if isinstance(source, SourceConfig)
        }
        found.append(keys | {"records": records_folder(config).name})
    for name in found[0]:
        assert len({keys[name] for keys in found}) == len(found), name


# === The decoder's text-only pre-training ===


class Untrained:
    """What `pretrain_decoder` takes of a captioner; it counts its trainings and trains nothing."""

    def __init__(self):
        image = keras.Input((2, 2, 3))
        self.encoder = keras.Model(image, keras.layers.Identity()(image))
        first = keras.Input((2,))
        self.model = keras.Model(first, keras.layers.Dense(1, name="head")(first))
        self.fitted = 0

    def fit(self, images, captions, **how):
        self.fitted += 1
        return SimpleNamespace(history={"loss": [0.0]})


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """Return a function that pretrains a decoder and returns the file that it is cached in."""
    monkeypatch.setattr("tfxfer.sources.language_model.new_weight_paths", lambda model: set())
    captioner = Untrained()

    def run(training=CaptionTrainingConfig(), config=RunConfig(), texts=("a", "b")):  # noqa: B008 - frozen
        config = replace(config, data_dir=str(tmp_path))
        before = set(tmp_path.rglob("*.npz"))
        found = pretrain_decoder(captioner, texts, training, config, here.Quiet())
        assert set(found) == {variable.path for variable in captioner.model.trainable_variables}
        new = set(tmp_path.rglob("*.npz")) - before
        return new.pop().name if new else None

    run.captioner = captioner
    return run


def test_every_field_of_a_pre_training_that_decides_changes_the_decoder_s_key(pretrained):
    assert pretrained() and pretrained() is None and pretrained.captioner.fitted == 1
    for path, decides, variant in variants(CaptionTrainingConfig()):
        assert bool(pretrained(training=variant)) == decides, path
    for path, decides, variant in variants(RunConfig()):
        assert bool(pretrained(config=variant)) == decides, path
    assert pretrained(texts=("a",)) and pretrained(texts=("b", "a"))


def test_other_weights_of_the_language_model_are_another_pre_training(pretrained):
    assert pretrained()
    kernel = pretrained.captioner.model.trainable_variables[0]
    kernel.assign(np.asarray(kernel) + 1)
    assert pretrained()


# === Records ===


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_field_of_a_recipe_that_decides_changes_the_records_folder(recipe, tmp_path):
    config = here.config_of(recipe, data_dir=str(tmp_path))
    assert not wrong_keys(config, lambda config: records_folder(config, "data").name)


def test_records_depend_on_data_models_and_the_recipe(tmp_path):
    configs = [here.config_of(recipe, data_dir=str(tmp_path)) for recipe in RECIPES]
    names = [records_folder(config, "data", "model").name for config in configs]
    names += [records_folder(configs[0], *keys).name for keys in (("data", "other"), ("model", "data"), ("data",))]
    assert len(set(names)) == len(names)
    assert records_folder(configs[0], "data").parent == tmp_path / "records"


def test_records_of_other_code_are_not_taken_for_those_of_this(tmp_path, monkeypatch):
    config = here.config_of("feature", data_dir=str(tmp_path))
    names = {records_folder(config).name}
    for key in (CODE_KEY, lambda: "newer"):
        monkeypatch.setattr(runner, "code_key", key)
        names.add(records_folder(config).name)
    assert len(names) == 3 and CODE_KEY() == CODE_KEY()


def test_fresh_forgets_the_records_of_the_same_experiment_alone(tmp_path):
    config = here.config_of("feature", data_dir=str(tmp_path))
    for key in ("a", "b"):
        records_folder(config, key).mkdir(parents=True)
    assert not records_folder(replace(config, fresh=True), "a").exists() and records_folder(config, "b").exists()
