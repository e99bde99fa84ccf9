"""docs/adding.md is true: a toy recipe, data set, bridge and metric each need a file, a row, and nothing else."""

import importlib
import json
import sys
import textwrap

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

FILES = {
    "recipe": '''
        """A toy experiment: which of two words a text is, by a network and by the most frequent class."""

        from dataclasses import dataclass

        from tfxfer.config import RunConfig, TargetConfig, option, section
        from tfxfer.recipes.checks import check_arms, check_target
        from tfxfer.recipes.predictors import CLASSES
        from tfxfer.recipes.recipe import Plan, Recipe

        ARMS = {"transfer": "The method under study.", "majority": "Always the most frequent class."}


        @dataclass(frozen=True)
        class ToyConfig(RunConfig):
            target: TargetConfig = section(TargetConfig("toy"), "target", group="target")
            labels_per_class: tuple[int, ...] = option((2,), "budgets", group="arms", decides=False)
            arms: tuple[str, ...] = option(tuple(ARMS), "arms", tuple(ARMS), group="arms", decides=False)
            controls_at: tuple[int, ...] = option((), "budgets of controls", group="arms", decides=False)


        def check(config):
            check_target(config.target, config, "text", "label")
            check_arms(config, "labels_per_class")


        def build(config, run):
            import keras

            from tfxfer.experiment import Arm, Outcome
            from tfxfer.tasks.classification import load_task
            from tfxfer.transfer.feature import FeatureClassifier
            from toy_package.bridge import FirstLetters

            image = keras.Input((1, 4, 1))
            source = keras.Model(image, keras.layers.Flatten()(image))
            task = load_task(config.target, config, source, run, key="text")
            classifier = FeatureClassifier(source, task.class_names, layer=-1, input_bridge=FirstLetters())

            def transfer(budget, seed):
                train = task.train(budget, seed)
                classifier.fit(train.texts("train"), train.labels("train"))
                return Outcome(classifier.predict(task.dataset.texts("test")))

            def majority(budget, seed):
                shares = [[0.5, 0.5]] * task.sizes["test"]
                return Outcome(__import__("numpy").array(shares, "float32"))

            arms = (Arm("transfer", transfer), Arm("majority", majority))
            budgets, labels = tuple(config.labels_per_class), task.labels("test")
            return Plan("toy", arms, budgets, (task.fingerprint,), labels, classifier.save, task.class_names)


        RECIPE = Recipe(
            name="toy",
            title="toy transfer",
            equation="y = toy(x)",
            explanation="A toy.",
            config=ToyConfig,
            arms=ARMS,
            check=check,
            data=lambda config: (config.target.spec,),
            build=build,
            predictors={"FeatureClassifier": CLASSES},
            smoke={"seeds": 1},
        )
    ''',
    "builder": '''
        """A toy data set: words that begin with a or with b."""

        import tensorflow_datasets as tfds

        from tfxfer.data.builders.offline import OfflineBuilder


        class Toy(OfflineBuilder):
            """Words that begin with a or with b."""

            BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="words", description="two kinds of words")]

            def _info(self):
                features = {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["a", "b"])}
                return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

            def _split_generators(self, manager):
                return {split: self._generate_examples(split) for split in ("train", "validation", "test")}

            def _generate_examples(self, split):
                for i in range(20):
                    yield i, {"text": f"{'ab'[i % 2]}{split}{i}", "label": i % 2}
    ''',
    "bridge": '''
        """A toy bridge: the first four bytes of a text as an image of one row."""

        import keras
        import tensorflow as tf


        @keras.saving.register_keras_serializable("tfxfer")
        class FirstLetters(keras.layers.Layer):
            """Strings [B] to images [B, 1, 4, 1]."""

            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self._allow_non_tensor_positional_args, self._convert_input_args = True, False

            def call(self, texts):
                padded = tf.strings.substr(tf.strings.join([texts, "    "]), 0, 4)
                letters = tf.io.decode_raw(padded, tf.uint8, fixed_length=4)
                return tf.reshape(tf.cast(letters, tf.float32), (-1, 1, 4, 1))

            def compute_output_spec(self, texts):
                return keras.KerasTensor((None, 1, 4, 1))
    ''',
    "metric": '''
        """A toy metric."""


        def share_of_vowels(texts):
            """Return the fraction of letters that are vowels."""
            letters = "".join(texts)
            return sum(letter in "aeiou" for letter in letters) / max(1, len(letters))
    ''',
}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package with the four files, and their rows in the tables of tfxfer."""
    parent, monkeypatch = tmp_path_factory.mktemp("added"), pytest.MonkeyPatch()
    folder = parent / "toy_package"
    folder.mkdir()
    for name, text in ({"__init__": ""} | FILES).items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text).lstrip())
    monkeypatch.syspath_prepend(parent)
    from tfxfer.data import builders, spec
    from tfxfer.evaluate import comparison
    from tfxfer.recipes import RECIPES
    from tfxfer.transfer import bridges

    modules = {name: importlib.import_module(f"toy_package.{name}") for name in FILES}
    monkeypatch.setitem(RECIPES, "toy", modules["recipe"].RECIPE)
    monkeypatch.setitem(spec.BUILT_IN, "toy", ("words",))
    monkeypatch.setitem(spec.BUILT_IN_LABELS, "toy", ("label",))
    monkeypatch.setitem(builders.BUILDERS, "toy", modules["builder"].Toy)
    monkeypatch.setattr(bridges, "toy", modules["bridge"], raising=False)
    monkeypatch.setitem(comparison.MEASURES, "vowels", "share of vowels")
    yield modules
    monkeypatch.undo()
    for name in [name for name in sys.modules if name.startswith("toy_package")]:
        del sys.modules[name]


def test_a_toy_recipe_data_set_and_bridge_run_by_their_rows(package, tmp_path, monkeypatch, capsys):
    from tfxfer import predict, train
    from tfxfer.cli import main

    monkeypatch.chdir(tmp_path)
    argv = ["toy", "--smoke", "--data-dir", str(tmp_path / "data"), "--run-dir", str(tmp_path / "run")]
    assert main(train.work, argv) == 0, capsys.readouterr().err
    comparison = json.loads((tmp_path / "run" / "comparison.json").read_text())
    scores = {record["arm"]: record["metrics"]["accuracy"] for record in comparison["records"]}
    assert scores == {"transfer": 1.0, "majority": 0.5}
    assert comparison["about"]["arms"]["majority"] == "Always the most frequent class."
    page = (tmp_path / "run" / "report.html").read_text()
    assert "y = toy(x)" in page and "Always the most frequent class." in page
    capsys.readouterr()
    assert main(predict.work, [str(tmp_path / "run"), "--text", "bzzz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["top"][0][0] == "b"


def test_a_toy_recipe_stands_in_the_help(package, capsys):
    from tfxfer import train
    from tfxfer.cli import main

    with pytest.raises(SystemExit):
        main(train.work, ["toy", "--help-all"])
    assert "--labels-per-class" in capsys.readouterr().out


def test_a_toy_metric_is_named_in_texts(package):
    from tfxfer.evaluate.comparison import measure_name

    assert package["metric"].share_of_vowels(["abe"]) == pytest.approx(2 / 3)
    assert measure_name("vowels") == "share of vowels"
    assert np.isfinite(package["metric"].share_of_vowels([]))
