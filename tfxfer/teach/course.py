"""The lessons of the course: their order, how to open them, and what each one links to.

`header` and `navigation` give the Markdown of the first and last cell of a lesson. In `notebooks/src` the lines
`{{ header }}` and `{{ navigation }}` stand for them (see `notebooks.lessons.filled`).
"""

from dataclasses import dataclass
from importlib import metadata

from tfxfer.errors import UserError, suggest
from tfxfer.teach.showing import Shown

HOW_TO_OPEN = r"""On Linux and macOS, in the folder of the project:

```
make lab
```

This makes `.venv`, installs tfxfer and JupyterLab into it, and opens lesson 00. On Windows, or without `make`, in a
terminal (`py -3.12` is Python 3.12; 3.11 and 3.13 work as well):

```
py -3.12 -m venv .venv
.venv\Scripts\python -m pip install -c constraints.txt -e ".[test,notebooks]"
.venv\Scripts\python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_map.ipynb
```"""

NUMBERS_DIFFER = """The saved numbers are those of one run on 2 CPU cores. Yours will differ a little. The seeds are
fixed, but the order of floating-point sums depends on the processor and on the number of threads. Sentences with
numbers are computed by your run, so text and figures always agree with your numbers."""

ARXIV = "https://arxiv.org/abs/"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


@dataclass(frozen=True)
class Lesson:
    """One lesson.

    Attributes:
        file: Name of the notebook, without its ending.
        title: Title, without its number.
        documents: What to read in this repository: (title, path from its root).
        papers: (authors and year, address).
    """

    file: str
    title: str
    documents: tuple[tuple[str, str], ...]
    papers: tuple[tuple[str, str], ...]

    @property
    def number(self) -> str:
        """Number of the lesson, such as "02"."""
        return self.file[:2]


LESSONS = {
    lesson.number: lesson
    for lesson in (
        Lesson(
            "00_map",
            "Overview",
            (("README", "README.md"), ("which transfer to choose", "docs/choosing.md")),
            (
                ("Pan and Yang 2010", "https://doi.org/10.1109/TKDE.2009.191"),
                (
                    "Frome et al. 2013 (DeViSE)",
                    "https://papers.nips.cc/paper/5204-devise-a-deep-visual-semantic-embedding-model",
                ),
                ("Zhai et al. 2022 (LiT)", ARXIV + "2111.07991"),
                ("Lu et al. 2021", ARXIV + "2103.05247"),
                ("Norelli et al. 2022 (ASIF)", ARXIV + "2210.01738"),
            ),
        ),
        Lesson(
            "01_two_modalities_one_data_set",
            "Two modalities, one data set",
            (
                ("data card of glyphs", "data/glyphs/README.md"),
                ("of languages", "data/languages/README.md"),
                ("of names", "data/names/README.md"),
            ),
            (("Kapoor and Narayanan 2023", "https://doi.org/10.1016/j.patter.2023.100804"),),
        ),
        Lesson(
            "02_feature_transfer",
            "Feature transfer",
            (("which transfer to choose", "docs/choosing.md"), ("results", "docs/results.md")),
            (
                ("Yosinski et al. 2014", ARXIV + "1411.1792"),
                ("Alain and Bengio 2016", ARXIV + "1610.01644"),
                ("Sun et al. 2018 (Super Characters)", ARXIV + "1810.07653"),
                ("Zhou et al. 2016 (class activation maps)", ARXIV + "1512.04150"),
                ("Chollet 2020", "https://keras.io/guides/transfer_learning/"),
            ),
        ),
        Lesson(
            "03_why_controls_matter",
            "Why controls matter",
            (
                ("results", "docs/results.md"),
                ("why a random control", "docs/decisions/0003-random-control.md"),
                ("how a verdict is computed", "docs/decisions/0004-verdict.md"),
            ),
            (
                ("Jarrett et al. 2009", "https://doi.org/10.1109/ICCV.2009.5459469"),
                ("Rothermel et al. 2021", ARXIV + "2107.12460"),
                ("Gelman and Stern 2006", "https://doi.org/10.1198/000313006X152649"),
                ("Bouthillier et al. 2021", ARXIV + "2103.03098"),
            ),
        ),
        Lesson(
            "04_retrieval_and_zero_shot",
            "Knowledge transfer I: retrieval and zero-shot",
            (("which transfer to choose", "docs/choosing.md"),),
            (
                ("Radford et al. 2021 (CLIP)", ARXIV + "2103.00020"),
                ("Zhai et al. 2022 (LiT)", ARXIV + "2111.07991"),
                (
                    "Frome et al. 2013 (DeViSE)",
                    "https://papers.nips.cc/paper/5204-devise-a-deep-visual-semantic-embedding-model",
                ),
                ("Liang et al. 2022", ARXIV + "2203.02053"),
                ("Norelli et al. 2022 (ASIF)", ARXIV + "2210.01738"),
            ),
        ),
        Lesson(
            "05_captions_and_beam_search",
            "Knowledge transfer II: captions and beam search",
            (("why beam search and masks are our own", "docs/decisions/0007-own-masking.md"),),
            (
                ("Rothe et al. 2020", ARXIV + "1907.12461"),
                ("Mokady et al. 2021 (ClipCap)", ARXIV + "2111.09734"),
                ("Vedantam et al. 2015 (CIDEr)", ARXIV + "1411.5726"),
                ("Holtzman et al. 2020", ARXIV + "1904.09751"),
            ),
        ),
        Lesson(
            "06_visual_questions",
            "Visual question answering",
            (("results of visual question answering", "docs/results-vqa.md"),),
            (
                ("Goyal et al. 2017 (VQA v2)", ARXIV + "1612.00837"),
                ("Agrawal et al. 2018 (VQA-CP)", ARXIV + "1712.00377"),
                ("Jabri et al. 2016", ARXIV + "1606.08390"),
                ("Perez et al. 2018 (FiLM)", ARXIV + "1709.07871"),
                ("Kim et al. 2017", ARXIV + "1610.04325"),
            ),
        ),
        Lesson(
            "07_structure_transfer",
            "Structure transfer",
            (("weight maps", "docs/weight-maps.md"),),
            (
                ("Chen et al. 2016 (Net2Net)", ARXIV + "1511.05641"),
                ("Lu et al. 2021", ARXIV + "2103.05247"),
                ("Rothermel et al. 2021", ARXIV + "2107.12460"),
                ("Xu et al. 2024", ARXIV + "2311.18823"),
            ),
        ),
        Lesson(
            "08_your_own_data",
            "Your own data",
            (("add a data set", "docs/adding.md"), ("which transfer to choose", "docs/choosing.md")),
            (
                ("Gebru et al. 2021 (datasheets)", ARXIV + "1803.09010"),
                ("Mitchell et al. 2019 (model cards)", ARXIV + "1810.03993"),
            ),
        ),
        Lesson(
            "09_the_articles_code",
            "Three programs of an article, line by line",
            (
                ("weight maps", "docs/weight-maps.md"),
                ("why beam search and masks are our own", "docs/decisions/0007-own-masking.md"),
            ),
            (
                ("Rothe et al. 2020", ARXIV + "1907.12461"),
                ("Mokady et al. 2021 (ClipCap)", ARXIV + "2111.09734"),
                ("Chollet 2020", "https://keras.io/guides/transfer_learning/"),
            ),
        ),
        Lesson(
            "10_choosing_a_method",
            "Choosing a method",
            (
                ("the atlas", "docs/atlas.md"),
                ("which transfer, when", "docs/choosing.md"),
                ("transferability scores", "docs/scores.md"),
            ),
            (
                ("Bao et al. 2019", "https://doi.org/10.1109/ICIP.2019.8803726"),
                ("Nguyen et al. 2020", ARXIV + "2002.12462"),
                ("You et al. 2021", ARXIV + "2102.11005"),
                ("Agostinelli et al. 2022", ARXIV + "2204.01403"),
                ("Lei et al. 2018", ARXIV + "1604.04173"),
            ),
        ),
        Lesson(
            "11_judging",
            "Judging: figures and people",
            (
                ("human evaluation", "docs/rate.md"),
                ("comparing runs", "docs/compare.md"),
                ("how the verdict is computed", "docs/decisions/0004-verdict.md"),
            ),
            (
                ("Bloom 1995", "https://doi.org/10.1177/0193841X9501900504"),
                ("Card et al. 2020", ARXIV + "2010.06595"),
                ("Schuirmann 1987", "https://doi.org/10.1007/BF01068419"),
                ("Artstein and Poesio 2008", "https://doi.org/10.1162/coli.07-034-R2"),
                ("Kilickaya et al. 2017", ARXIV + "1612.07600"),
            ),
        ),
        Lesson(
            "12_fusion",
            "Fusion: two eyes",
            (
                ("knowledge fusion", "docs/fusion.md"),
                ("several tasks", "docs/multitask.md"),
                ("merging models", "docs/merge.md"),
                ("joining data sets", "docs/fuse.md"),
            ),
            (
                ("Williams and Beer 2010", ARXIV + "1004.2515"),
                ("Liang et al. 2023", ARXIV + "2302.12247"),
                ("Arevalo et al. 2017", ARXIV + "1702.01992"),
                ("Perez et al. 2018", ARXIV + "1709.07871"),
                ("Kendall et al. 2018", ARXIV + "1705.07115"),
            ),
        ),
        Lesson(
            "13_few_labels",
            "Few labels",
            (
                ("remedies for few labels", "docs/little_data.md"),
                ("augmentation", "docs/augment.md"),
                ("how the verdict is computed", "docs/decisions/0004-verdict.md"),
            ),
            (
                ("Snell et al. 2017", ARXIV + "1703.05175"),
                (
                    "Zhou et al. 2004",
                    "https://proceedings.neurips.cc/paper/2003/hash/87682805257e619d49b8e0dfdc14affa-Abstract.html",
                ),
                ("Oliver et al. 2018", ARXIV + "1804.09170"),
                ("Sener and Savarese 2018", ARXIV + "1708.00489"),
                ("Cubuk et al. 2020", ARXIV + "1909.13719"),
            ),
        ),
    )
}


def lesson_of(number: str) -> Lesson:
    """Return the lesson with a number such as "02".

    Raises:
        UserError: There is no such lesson.
    """
    if number not in LESSONS:
        raise UserError(f"there is no lesson '{number}'; {suggest(number, LESSONS)}")
    return LESSONS[number]


def repository() -> str | None:
    """Return the address of tfxfer on GitHub: the `Source` of `project_urls` in setup.cfg, or None without one."""
    try:
        lines = metadata.metadata("tfxfer").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return None
    named = dict(line.split(", ", 1) for line in lines)
    address = named.get("Source", "").rstrip("/")
    return address if address.startswith("https://github.com/") else None


def badge(number: str, address: str | None = None, branch: str = "main") -> str:
    """Return Markdown that opens a lesson in Colab; nothing when the repository is on no public address.

    Args:
        number: Number of the lesson.
        address: Of the repository on GitHub; `repository()` by default.
        branch: Branch or tag.

    >>> badge("02", "https://github.com/me/tfxfer").split("](")[-1]
    'https://colab.research.google.com/github/me/tfxfer/blob/main/notebooks/02_feature_transfer.ipynb)'
    """
    address = address or repository()
    file = lesson_of(number).file
    if address is None:
        return ""
    path = address.removeprefix("https://github.com/")
    page = f"https://colab.research.google.com/github/{path}/blob/{branch}/notebooks/{file}.ipynb"
    return f"[![Open in Colab]({BADGE})]({page})"


def header(number: str, address: str | None = None) -> Shown:
    """Return what stands under the title of a lesson: the lessons before and after it, and the Colab badge.

    Lesson 00 says how to open the course, and that numbers differ from machine to machine.
    """
    address = address or repository()
    parts = [_neighbours(lesson_of(number))]
    if address is not None:
        install = f"`%pip install 'tfxfer @ git+{address}'`"
        parts.append(f"{badge(number, address)} In Colab, run {install} first and restart the session.")
    if number == "00":
        parts += [f"**How to open the lessons.** {HOW_TO_OPEN}", f"**Numbers.** {NUMBERS_DIFFER}"]
    return Shown("\n\n".join(parts))


def navigation(number: str) -> Shown:
    """Return what ends a lesson: its papers, what to read in this repository, and the lessons before and after it."""
    lesson = lesson_of(number)
    papers = " · ".join(f"[{name}]({address})" for name, address in lesson.papers)
    documents = " · ".join(f"[{name}](../{path})" for name, path in lesson.documents)
    return Shown(f"**Papers:** {papers}\n\n**In this repository:** {documents}\n\n{_neighbours(lesson)}")


def _neighbours(lesson: Lesson) -> str:
    numbers = list(LESSONS)
    place = numbers.index(lesson.number)
    before = f"← {_link(LESSONS[numbers[place - 1]])}" if place else ""
    after = f"{_link(LESSONS[numbers[place + 1]])} →" if place + 1 < len(numbers) else ""
    overview = f"[all lessons]({LESSONS['00'].file}.ipynb)" if place > 1 else ""
    return " | ".join(part for part in (before, overview, after) if part)


def _link(lesson: Lesson) -> str:
    return f"[{lesson.number} {lesson.title}]({lesson.file}.ipynb)"
