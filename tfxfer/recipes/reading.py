"""`--bridge read` of feature transfer: pictures of text, or texts that are drawn, into a language model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tfxfer.data import spec as data_spec
from tfxfer.errors import UserError
from tfxfer.models import spec as model_spec
from tfxfer.recipes.recipe import Plan
from tfxfer.runs import Run

CHECKED = 2000  # test texts whose letters are counted before anything is trained


def check_read(config: Any) -> None:
    """Check what `--bridge read` asks for, without TensorFlow; raises `UserError`."""
    spec = config.source.spec
    kind = model_spec.parse(spec).kind if model_spec.is_model(spec) else data_spec.parse(spec).kind
    if kind in ("fresh", "keras", "run", "file", "glyphs", "folder"):
        raise UserError(
            f"--bridge read: letters enter a language model, and --source {spec} is none; give preset:DIR, the folder "
            "of a BERT with its vocab.txt, or a data set of texts to learn, such as names"
        )
    for name, given, usual in (
        ("layout", config.layout, "line"),
        ("layer", config.layer, None),
        ("pooling", config.pooling, "avg"),
        ("unfreeze", config.unfreeze, None),
    ):
        if given != usual:
            raise UserError(f"--{name} {given}: --bridge read reads one line into a whole frozen model; leave it out")


def build_read(config: Any, run: Run, dataset: Any = None) -> Plan:
    """Load target, source and reader, and lay out the arms; `dataset` is the target where it is loaded already."""
    from tfxfer.arms import read_features as arms
    from tfxfer.sources.reader import SMOKE, trained_reader
    from tfxfer.tasks.classification import labels_there_are, load_target, load_task
    from tfxfer.transfer.bridges.read import ALPHABET
    from tfxfer.transfer.bridges.render import RenderText
    from tfxfer.transfer.graph import fingerprint

    dataset = dataset or load_target(config.target, config, run)  # before anything is trained for it
    config = replace(config, labels_per_class=labels_there_are(config, dataset, run))
    arms.check_texts(dataset, ALPHABET, config, run, CHECKED)
    language_model = None if learns_labels(config) else bert(config, run)  # before a reader is trained for it
    reader = trained_reader(config, run, SMOKE if config.smoke else None)
    target = replace(config.target, text=None, image=None)  # pictures, where there are some; the text is their truth
    key = "image" if "image" in dataset.keys else "text"
    task = load_task(target, config, reader.model(), run, key=key, dataset=dataset)
    readings = arms.reading_of(arms.picture_task(task, config.width), reader, config, run)
    with run.phase("reading"):
        readings.check("validation")
    source, network = language_model or text_cnn(reader, config, run)
    made = arms.read_arms(source, network, readings, config, run)
    texts = task.texts("test")
    return Plan(
        title=f"{config.source.spec} → {config.target.spec} by read",
        arms=made.arms,
        budgets=tuple(sorted(config.labels_per_class)),
        keys=(task.fingerprint, fingerprint(source), readings.key),
        labels=task.labels("test"),
        dataset=task.dataset,
        texts=texts,
        drawn=RenderText(config.height, config.width, config.font_size).fits(texts) if texts is not None else None,
        class_names=task.class_names,
        examples=tuple(task.examples(made.render_images)),
        save=lambda folder: task.save(made.classifier(), folder, max(config.labels_per_class), config.seed),
    )


def learns_labels(config: Any) -> bool:
    """Return whether the source is a text CNN that learns the labels of a data set, and not a BERT.

    `--source-architecture auto` is a text CNN where the data set has labels.
    """
    import tfxfer

    source = config.source
    if model_spec.is_model(source.spec) or source.architecture not in ("auto", "fresh:text_cnn"):
        return False
    columns = {name: value for name, value in (("label", source.label), ("text", source.text)) if value}
    dataset = tfxfer.load(source.spec, data_dir=config.data_dir, download=config.download, **columns)
    return source.architecture == "fresh:text_cnn" or bool(dataset.class_names)


def bert(config: Any, run: Run) -> tuple[Any, Any]:
    """Return the body of a BERT, given or trained on texts, and the function from it to φ."""
    from tfxfer.arms.read_features import token_features
    from tfxfer.models.pooling import Pooling
    from tfxfer.sources.load import load_language_model

    model, tokenizer = load_language_model(config.source, config, run)
    kind, _, name = config.source.spec.partition(":")
    pooling = Pooling.of(Path(name)) if kind == "preset" else Pooling()
    return getattr(model, "backbone", model), token_features(tokenizer, pooling)


def text_cnn(reader: Any, config: Any, run: Run) -> tuple[Any, Any]:
    """Return a text CNN that learned the labels of a data set from pictures of its texts, and how φ is cut from it."""
    import tfxfer
    from tfxfer.arms.read_features import reading_of, string_features
    from tfxfer.sources.pretrain import Pretraining, trained_source
    from tfxfer.tasks.classification import Task

    source = config.source
    columns = {name: value for name, value in (("label", source.label), ("text", source.text)) if value}
    dataset = tfxfer.load(source.spec, data_dir=config.data_dir, download=config.download, **columns)
    key = "image" if "image" in dataset.keys else "text"
    with run.phase("reading"):
        read = reading_of(Task(dataset, key, {}), reader, config, run).as_texts(dataset, "train", "validation")
    training = Pretraining.of(replace(source, architecture="fresh:text_cnn"), config, read)
    with run.phase("source"):
        return trained_source(training, run), string_features(None)
