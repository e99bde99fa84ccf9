"""Configs that contain one another: their flat options, how they are changed, and what of them decides a result."""

import math
import typing
from dataclasses import dataclass, fields, is_dataclass

import pytest

from tfxfer import cli
from tfxfer.config import (
    GROUPS,
    CaptionModelConfig,
    CaptionTrainingConfig,
    RunConfig,
    SourceConfig,
    TargetConfig,
    TrainingConfig,
    VQAHeadConfig,
    check_values,
    deciding,
    option,
    options_in,
    options_of,
    section,
    with_options,
)
from tfxfer.errors import UserError
from tfxfer.recipes import RECIPES

PARTS = (SourceConfig, TargetConfig, TrainingConfig, CaptionModelConfig, CaptionTrainingConfig, VQAHeadConfig)
CONFIGS = {recipe.name: recipe.config for recipe in RECIPES.values()}
ALL = [(name, each) for name, config in CONFIGS.items() for each in options_of(config).values()]


def each_option(wanted=lambda each: True):
    """Run a test for each option of each recipe that is wanted."""
    found = [(name, each) for name, each in ALL if wanted(each)]
    assert found
    return pytest.mark.parametrize(("name", "each"), found, ids=[f"{name} {each.name}" for name, each in found])


def takes_numbers(each):
    return bool({int, float} & {each.hint, *typing.get_args(each.hint)})


@dataclass(frozen=True)
class Toy(RunConfig):
    """A config with sections."""

    source: SourceConfig = section(
        SourceConfig("names", epochs=5), "source", group="source", help={"spec": "what is carried"}, leave_out=("text",)
    )
    target: TargetConfig = section(TargetConfig(), "target", common=("label",))
    training: TrainingConfig = section(TrainingConfig(), group="training")
    own: int = option(3, "its own", at_least=1, at_most=9)


# === Flat options ===


def test_a_section_gives_its_options_a_prefix_and_its_first_field_has_the_prefix_alone():
    options = options_of(Toy)
    paths = {name: options[name].path for name in ("source", "source_epochs", "steps", "own", "image_size")}
    assert paths == {
        "source": ("source", "spec"),
        "source_epochs": ("source", "epochs"),
        "steps": ("training", "steps"),
        "own": ("own",),
        "image_size": ("target", "image_size"),
    }
    assert "source_text" not in options and "target_text" in options and "target_image_size" not in options


def test_a_section_gives_defaults_texts_and_places_of_its_own():
    options = options_of(Toy)
    assert (options["source"].default, options["source_epochs"].default) == ("names", 5)
    assert options["source"].metadata["help"] == "what is carried"
    assert options["source_epochs"].metadata["help"] == options_of(SourceConfig)["epochs"].metadata["help"]
    assert options["target_label"].metadata["common"] and not options["target_text"].metadata["common"]
    assert options["source"].metadata["group"] == "source" and options["seeds"].metadata["group"] == "training"


def leaves(config, path=()):
    """Yield the path of every field that is no config itself."""
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from leaves(value, (*path, item.name))
        else:
            yield (*path, item.name)


def left_out(config_class):
    """Return the paths that sections leave out."""
    sections = [item for item in fields(config_class) if "section" in item.metadata]
    return {(item.name, name) for item in sections for name in item.metadata["section"]["leave_out"]}


@pytest.mark.parametrize("config_class", [Toy, *CONFIGS.values()], ids=lambda c: c.__name__)
def test_every_field_is_one_option_or_left_out(config_class):
    """Two fields of one flat name would be one option, and the other could never be set."""
    paths = [each.path for each in options_of(config_class).values()]
    assert len(set(paths)) == len(paths)
    assert set(paths) == set(leaves(config_class())) - left_out(config_class)
    assert left_out(config_class) <= set(leaves(config_class()))


@each_option()
def test_every_option_can_be_read_set_and_shown(name, each):
    config = CONFIGS[name]()
    assert each.of(config) == each.default == options_in(config)[each.name]
    marker = object()
    changed = with_options(config, **{each.name: marker})
    assert each.of(changed) is marker and each.of(config) == each.default
    others = options_in(changed)
    del others[each.name]
    assert others.items() <= options_in(config).items()
    assert each.metadata["group"] in GROUPS and each.metadata["help"]


@each_option()
def test_every_default_is_a_value_of_its_option(name, each):
    kinds = typing.get_args(each.hint) or (each.hint,)
    kinds = tuple(kind for kind in kinds if kind is not Ellipsis)
    for value in each.default if each.many else (each.default,):
        assert type(value) in kinds or (type(value) is int and float in kinds)
    check_values(CONFIGS[name]())


def test_an_option_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="there is no option 'source_epoch'; did you mean 'source_epochs'"):
        with_options(Toy(), source_epoch=3)


def test_options_are_set_together_whatever_section_they_are_in():
    config = with_options(Toy(), source="glyphs", source_epochs=1, steps=7, seeds=2, own=4)
    assert (config.source, config.training.steps) == (SourceConfig("glyphs", epochs=1), 7)
    assert (config.seeds, config.own, config.target) == (2, 4, TargetConfig())


# === Values ===


@each_option(takes_numbers)
def test_no_option_takes_a_number_out_of_its_range(name, each):
    """Every option says its bounds; a value beyond one, or none that is finite, is refused by the option's name."""
    wrong = [math.nan, math.inf, -math.inf, each.metadata["at_least"] - 1]
    wrong += [each.metadata["at_most"] + 1] if math.isfinite(each.metadata["at_most"]) else []
    for value in wrong:
        with pytest.raises(UserError, match=f"^{each.flag} "):
            check_values(with_options(CONFIGS[name](), **{each.name: (value,) if each.many else value}))


@each_option(lambda each: each.metadata["choices"])
def test_no_option_takes_a_choice_that_it_does_not_have(name, each):
    choices = each.metadata["choices"]
    near = choices[0] + "x"
    with pytest.raises(UserError, match=f"^{each.flag} {near}: not one of its values; did you mean '{choices[0]}'"):
        check_values(with_options(CONFIGS[name](), **{each.name: (near,) if each.many else near}))
    for value in choices:
        check_values(with_options(CONFIGS[name](), **{each.name: (value,) if each.many else value}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"own": 0}, "--own 0: must be 1 or more"),
        ({"own": 10}, "--own 10: must be at most 9"),
        ({"steps": -1}, "--steps -1: must not be negative"),
        ({"learning_rates": (1e-3, 0.0)}, "--learning-rates 0.0: a rate is a number above 0, such as 0.003"),
        ({"learning_rates": ()}, "--learning-rates: give at least one value"),
        ({"seed": 2**32}, "--seed 4294967296: must be at most 4,294,967,295"),
        ({"device": "gpu:x"}, "--device gpu:x: use auto, cpu, gpu or gpu:N"),
        ({"device": "tpu"}, "--device tpu"),
    ],
)
def test_a_value_out_of_its_range_is_named_with_the_remedy(change, message):
    with pytest.raises(UserError) as error:
        check_values(with_options(Toy(), **change))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("device", ["auto", "cpu", "gpu", "gpu:0", "gpu:12"])
def test_devices(device):
    check_values(Toy(device=device))


# === What decides ===


def test_what_decides_is_found_by_walking_and_named_by_its_path():
    found = deciding(Toy())
    assert {"source.spec", "source.text", "target.max_test", "training.learning_rates", "own"} <= set(found)
    assert not {"seeds", "fresh", "smoke", "download", "data_dir", "run_dir"} & set(found)
    assert found["source.epochs"] == 5 and found["precision"] == "float32"


def test_a_field_that_is_added_decides():
    @dataclass(frozen=True)
    class More(Toy):
        """One more field, without a word on whether it decides."""

        more: int = option(1, "more")

    assert set(deciding(More())) - set(deciding(Toy())) == {"more"}


def test_what_decides_of_a_base_class_is_the_same_in_every_recipe():
    keys = [deciding(config(), RunConfig) for config in (RunConfig, Toy, *CONFIGS.values())]
    assert all(one == keys[0] for one in keys) and set(keys[0]) == set(deciding(RunConfig()))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_every_field_of_a_section_decides(part):
    watched = {"checkpoints", "train_set"}  # what is looked at within a training, and what an arm's own key holds
    assert set(deciding(part())) == {item.name for item in fields(part)} - watched


# === Training ===


@pytest.mark.parametrize(
    ("grid", "middle"), [((3e-3,), 3e-3), ((1e-2, 1e-4, 1e-3), 1e-3), ((1, 2, 3, 4), 2), ((1, 1, 2), 1)]
)
def test_a_search_begins_in_the_middle_of_the_grid(grid, middle):
    training = TrainingConfig(learning_rates=grid)
    assert training.learning_rate == middle
    assert training.at(0.5) == TrainingConfig(learning_rates=(0.5,)) and training.at(0.5).learning_rate == 0.5


@pytest.mark.parametrize(
    ("how", "examples", "share", "steps"),
    [
        ({"steps": 100}, 7, 0.25, 100),
        ({"steps": 100, "steps_scaling": "sqrt"}, 7, 0.25, 50),
        ({"steps": 100, "steps_scaling": "sqrt"}, 7, 1.0, 100),
        ({"steps": 2, "steps_scaling": "sqrt"}, 7, 1e-6, 1),
        ({"steps": 0, "epochs": 3, "batch_size": 4}, 9, 0.25, 9),
        ({"steps": 0, "epochs": 3, "batch_size": 4}, 8, 1.0, 6),
        ({"steps": 0, "epochs": 0}, 8, 1.0, 0),
    ],
)
def test_steps_of_a_training(how, examples, share, steps):
    assert TrainingConfig(**how).steps_for(examples, share) == steps


def test_a_captioner_has_a_prefix_only_where_it_is_conditioned_by_one():
    assert CaptionModelConfig().prefix == 0
    assert CaptionModelConfig(conditioning="prefix", prefix_length=7).prefix == 7


def test_seeds_are_a_number_or_auto():
    config = cli.parse(RunConfig, ["--seeds", "auto"], "x", "y")
    check_values(config)
    assert config.seeds == "auto" and config.most_seeds == 20
    with pytest.raises(UserError, match="--seeds auto chooses how often every arm runs"):
        check_values(cli.parse(RunConfig, ["--seeds", "auto", "--probe-seeds", "5"], "x", "y"))
    with pytest.raises(UserError, match="--seeds 0: must be 1 or more"):
        check_values(cli.parse(RunConfig, ["--seeds", "0"], "x", "y"))
