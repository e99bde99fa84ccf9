"""Structure transfer: M = T(S), beside the controls that could explain it away.

    S   a source model: by default a BERT that learned the names of characters, without ever seeing one
    T   a weight map: which tensor of M is made of which tensors of S; printed, saved and drawn as the ledger
    M   a model of the other modality: by default a picture transformer that tells which diacritic a letter carries

Command:   python -m tfxfer.train structure
Replay:    python -m tfxfer.train structure --config runs/structure-<time>/config.yaml
Every arm has its learning rate chosen on validation: without that, a frozen pretrained transformer's lead over a random
one is an artefact (Rothermel et al. 2021). Time, scores and machine: docs/results.md. Seeds: 0, 1, 2.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import keras
import numpy as np

import tfxfer
from tfxfer.cache import write_json
from tfxfer.config import StructureConfig
from tfxfer.errors import UserError
from tfxfer.experiment import Arm, Experiment
from tfxfer.recipes.arms import Plan, fresh_copy, named_errors
from tfxfer.recipes.baselines import most_frequent, native
from tfxfer.recipes.checks import resolved
from tfxfer.recipes.feature import finish, kept_records, load_source, load_target, run_arms, smoke
from tfxfer.recipes.networks import Network
from tfxfer.recipes.runtime import prepare
from tfxfer.recipes.task import Task, takes
from tfxfer.runs import Run
from tfxfer.transfer.bridges.patches import encoder_blocks
from tfxfer.transfer.bridges.tokens import learn_vocabulary
from tfxfer.transfer.graph import fingerprint
from tfxfer.transfer.structure import WeightMap
from tfxfer.transfer.weights.ledger import entries, flows, show_layers, totals

WANTS = {"encoder_to_vision": ("text", "image"), "image_cnn_to_text_cnn": ("image", "text")}
VOCABULARY = 5000  # most frequent tokens that get an embedding of their own
PROVEN_ON = 32  # test pictures
LOOKED_AT, WHITE = 128, 229  # training pictures, and the least grey value of 255 that is white


def run(config: StructureConfig) -> Path:
    """Run the experiment that `config` describes; return the run's folder."""
    config = resolved(smoke(config) if config.smoke else config)
    this = Run("structure", config)
    try:
        this.say(f"tfxfer {tfxfer.__version__} · structure transfer · {prepare(config)} · {this.folder}")
        source = load_source(config, this, (config.image_size or 32,) * 2)
        task = load_target(config, source, this, at_least=max(config.labels_per_class))
        transfer = Transfer(source, task, config)
        ledger(transfer, task, this)
        plan = arms(transfer, task, config, this)
        experiment = Experiment(
            title=f"{config.source} → {config.target} by {config.transfer}",
            class_names=task.class_names,
            labels=task.labels("test"),
            arms=tuple(arm for arm in plan.arms if arm.name in config.arms),
            budgets=tuple(sorted(config.labels_per_class)),
            seeds=tuple(range(config.seed, config.seed + config.seeds)),
            examples=tuple(task.examples(None)),
            recipe="structure",
        )
        with this.phase("arms"):
            comparison = run_arms(experiment, this, kept_records(config, task, plan))
        finish(comparison, plan, task, this)
        return this.folder
    finally:
        this.close()


class Transfer:
    """T: the weight map from a source's body to a model of the task.

    Args:
        source: S.
        task: What M is to tell; its modality is the other one.
        config: Which map, and its sizes.

    Raises:
        UserError: The source or the target is of the wrong modality for this map.
    """

    def __init__(self, source: keras.Model, task: Task, config: StructureConfig) -> None:
        self.source, self.task, self.config = source, task, config
        self.white_paper = on_white_paper(task)
        wants, gives = WANTS[config.transfer]
        if (takes(source), task.key) != (wants, gives):
            raise UserError(
                f"--transfer {config.transfer}: makes a model for {gives}s out of one for {wants}s; {config.source} "
                f"takes {takes(source)}s and {config.target} gives {task.key}s"
            )

    def plan(self, body: keras.Model, trainable: str, seed: int) -> WeightMap:
        """Return the map from a body (the source's, or one with fresh weights) to a classifier."""
        classes = len(self.task.class_names)
        if self.config.transfer == "encoder_to_vision":
            from tfxfer.transfer.structure import encoder_to_vision

            sizes = (self.task.image_shape, self.config.patch_size, classes)
            options = {"pooling": self.config.pooling, "white_paper": self.white_paper}
            return encoder_to_vision(body, *sizes, trainable=trainable, seed=seed, **options)
        from tfxfer.transfer.structure import image_cnn_to_text_cnn

        unit, length = self.config.unit, self.config.length
        vocabulary = self._vocabulary()
        return image_cnn_to_text_cnn(body, vocabulary, num_classes=classes, unit=unit, length=length, seed=seed)

    @lru_cache(maxsize=1)  # noqa: B019 - one object a run
    def _vocabulary(self) -> list[str] | None:
        unit = self.config.unit
        return None if unit == "bytes" else learn_vocabulary(self.task.dataset.texts("train"), unit, VOCABULARY)

    def proof(self, weight_map: WeightMap, pictures: np.ndarray) -> str:
        """Run the carried blocks beside the source's on the same embeddings, and say how far they differ."""
        if self.config.transfer != "encoder_to_vision":
            return f"What the map promises by itself: {weight_map.preserves}."
        target = weight_map.apply()
        embeddings = keras.Model(target.input, target.get_layer("embeddings").output)(pictures)
        theirs = encoder_blocks(self.source, embeddings.shape[1])(embeddings)
        worst = float(np.abs(np.asarray(target.get_layer("body")(embeddings)) - np.asarray(theirs)).max())
        return (
            f"Fed with the embeddings of {len(pictures)} test pictures, the carried blocks give what the source's "
            f"blocks give: greatest difference {worst:.2g}."
        )


def on_white_paper(task: Task) -> bool:
    """Tell whether a task's pictures are mostly white, as print is: then zero should be the paper, not mid-grey."""
    if task.key != "image":
        return False
    some = task.dataset.with_at_most(train=LOOKED_AT).arrays("train", **task.reading)["image"]
    return bool(np.mean(np.asarray(some) > WHITE) > 0.5)


def ledger(transfer: Transfer, task: Task, this: Run) -> None:
    """Print the ledger, prove what can be proven, and keep both for the report."""
    config = transfer.config
    weight_map = transfer.plan(transfer.source, config.trainable, config.seed)
    show_layers(weight_map, this.console)
    pictures = np.zeros(0)
    if task.key == "image":
        pictures = task.dataset.with_at_most(test=PROVEN_ON).arrays("test", **task.reading)["image"]
    proof = transfer.proof(weight_map, pictures)
    this.say(proof)
    weight_map.to_json(this.folder / "weight_map.json")
    told = {"entries": entries(weight_map, group=True), "totals": totals(weight_map), "proof": proof}
    write_json(this.folder / "ledger.json", told | {"flows": flows(weight_map), "titles": dict(weight_map.titles)})


def arms(transfer: Transfer, task: Task, config: StructureConfig, this: Run) -> Plan:
    """Return the arms: one map, the same budget, and one thing changed at a time."""
    vision = config.transfer == "encoder_to_vision"
    compiled = replace(config, jit=config.jit or vision)  # XLA speeds small transformers up, and slows CNNs down
    bodies: dict[str, Callable[[int], keras.Model]] = {
        "source": lambda seed: transfer.source,
        "fresh": lru_cache(maxsize=1)(lambda seed: fresh_copy(transfer.source, seed)),
    }

    def network(name: str, body: str, trainable: str) -> Network:
        def build(seed: int) -> keras.Model:
            return transfer.plan(bodies[body](seed), trainable, seed).apply()

        return Network.on(task, build, compiled, this, name)

    trained = network("transfer", "source", config.trainable)
    random = network("random", "fresh", config.trainable)
    random.twin = trained  # the same architecture and trainable set: one compilation serves both
    found = [Arm("transfer", trained), Arm("random", random)]
    if vision:  # a text CNN trains as a whole in any case
        at = config.trained_at or (min(config.labels_per_class, key=lambda n: abs(n - 20)),)
        scratch, finetune = network("scratch", "fresh", "all"), network("finetune", "source", "all")
        finetune.twin = scratch
        found += [Arm("scratch", scratch, at), Arm("finetune", finetune, at)]
    found += [Arm("native", partial(native, task)), Arm("majority", partial(most_frequent, task), one_seed=True)]
    named = (replace(a, run=named_errors(a.run, task), recall=getattr(a.run, "recall", None)) for a in found)
    return Plan(config.transfer, tuple(named), None, fingerprint(transfer.source), trained.final)
