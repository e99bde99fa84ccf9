"""`tfxfer list datasets|models|recipes|augmentations|runs`: what there is, one line each; TensorFlow is not started."""

from collections.abc import Callable, Sequence

from tfxfer import cli
from tfxfer.data.spec import EMOJI_LANGUAGES
from tfxfer.errors import UserError, suggest
from tfxfer.terminal import json_text

Row = dict[str, str]
ABOUT = {  # spec of a built-in data set -> what it holds
    "glyphs/by_character": "images of characters, with names; the test split has other characters",
    "glyphs/by_face": "the same images; the test split has other typefaces",
    "names/all": "names of Unicode characters that have no image in glyphs: texts without labels",
    "names/listed": "those of them without the names that are made by rule",
    "languages/all": "names of countries, languages and currencies, labelled by language",
    "languages/latin": "those of ten languages in Latin script",
    "languages/other": "those of ten other languages in Latin script",
    "emoji/en": "emoji drawn by OpenMoji, with categories and English names; the test split has other concepts",
    **{f"emoji/{code}": f"the same with names in {name}" for code, name in EMOJI_LANGUAGES.items() if code != "en"},
    "emoji/noto": "the same emoji as the colour font Noto draws them, where it is installed; English names",
}

FUSED_FORMS = {  # words of a fused spec -> what it is
    "on=COLUMN": "images of A with texts of B: pairs by equal keys, or on=label by class, on=nearest&via=PAIRS",
    "mix=0.7,0.3": "a mixture of data sets; or mix=temperature:0.5, balance=label",
}


def parser() -> cli.CommandParser:
    """Return the parser of this command."""
    made = cli.CommandParser(cli.program("list"), "Show what there is, one line each.")
    made.add_argument("what", nargs="?", help=", ".join(LISTS))
    made.add_argument("--json", action="store_true", help="a JSON list of objects instead of lines")
    return made


def work(argv: Sequence[str]) -> None:
    """Print the rows that are asked for."""
    asked = parser().parse_args(argv)
    if asked.what is None:
        raise UserError(f"say what to list: {', '.join(LISTS)}")
    if asked.what not in LISTS:
        raise UserError(f"there is no list of '{asked.what}'; {suggest(asked.what, LISTS)}")
    rows = LISTS[asked.what]()
    if asked.json:
        print(json_text(rows, indent=1))
    elif rows:
        print("\n".join(lined_up(rows)))
    else:
        cli.note(f"there are no {asked.what} yet")


def lined_up(rows: Sequence[Row]) -> list[str]:
    """Return one line for each row, its columns below one another.

    >>> lined_up([{"name": "a", "summary": "one"}, {"name": "long", "summary": "two"}])
    ['a     one', 'long  two']
    """
    widths = {key: max(len(row[key]) for row in rows) for key in rows[0]}
    return ["  ".join(f"{row[key]:{width}}" for key, width in widths.items()).rstrip() for row in rows]


def datasets() -> list[Row]:
    """Return the built-in data sets, then the forms of a spec."""
    from tfxfer.data.spec import BUILT_IN, PATH_KINDS

    specs = [f"{name}/{config}" for name, configs in BUILT_IN.items() for config in configs]
    rows = [{"name": spec, "summary": ABOUT.get(spec, "built in")} for spec in specs]
    rows.append({"name": "tfds:NAME[:SPLIT]", "summary": "a data set of TensorFlow Datasets"})
    rows += [{"name": f"{kind}:PATH", "summary": what} for kind, what in PATH_KINDS.items()]
    return rows + [{"name": f"fuse:A+B?{words}", "summary": what} for words, what in FUSED_FORMS.items()]


def models() -> list[Row]:
    """Return the architectures that can be trained from fresh weights, then the forms of a spec."""
    from tfxfer.models.spec import FRESH, KINDS, MODALITY

    rows = [{"name": f"fresh:{name}", "summary": f"untrained, reads {MODALITY[f'fresh:{name}']}s"} for name in FRESH]
    values = {"run": "PATH", "file": "PATH"}
    forms = {kind: what for kind, what in KINDS.items() if kind != "fresh"}
    return rows + [{"name": f"{kind}:{values.get(kind, 'NAME')}", "summary": what} for kind, what in forms.items()]


def recipes() -> list[Row]:
    """Return the recipes with the first sentence of their summaries, which holds the equation."""
    from tfxfer.recipes import RECIPES

    return [{"name": name, "summary": recipe.summary.partition(". ")[0]} for name, recipe in RECIPES.items()]


def augmentations() -> list[Row]:
    """Return the edits of `--augment` with their usual strengths, then what "auto" stands for."""
    from tfxfer.data.augment.policy import AUTO, EDITS

    rows = [
        {"name": edit.spec + ("" if edit.strength is None else f":{edit.strength:g}"), "summary": edit.about}
        for edit in EDITS.values()
    ]
    examples = {"drawn": "texts drawn as pixels", "text": "texts", "glyphs": "images of characters"}
    examples |= {"images": "other images", "pairs": "images with texts"}
    return rows + [{"name": "auto", "summary": f"for {examples[name]}: {text}"} for name, text in AUTO.items()]


def runs() -> list[Row]:
    """Return the runs in the folder `runs`, the newest first."""
    from tfxfer.runs import saved_runs

    return saved_runs()


LISTS: dict[str, Callable[[], list[Row]]] = {
    "datasets": datasets,
    "models": models,
    "recipes": recipes,
    "augmentations": augmentations,
    "runs": runs,
}
