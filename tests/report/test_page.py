import base64
import json
import re
from dataclasses import replace
from itertools import product

import fake
import numpy as np
import pytest
from reading import Page

from tfxfer import evaluate, report
from tfxfer.errors import UserError
from tfxfer.evaluate.arms import describe, outcome
from tfxfer.evaluate.holm import with_adjusted
from tfxfer.records import Comparison, Record
from tfxfer.report import run
from tfxfer.report.panel import Panel, write_panels

pytestmark = pytest.mark.drawing

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=http://evil.example/x onerror=alert(1)>',
    "$x^{2",
    "{{ 7 * 7 }}",
    "العربية",
    "日本語",
    "a\nb\tc",
    "javascript:alert(1)",
    "]]></style><b>",
    "&lt;i&gt;",
)


def read(folder):
    return Page(report.write(folder).read_text(encoding="utf-8"))


def test_the_page_needs_nothing_from_anywhere(page):
    assert len(page.source.encode()) < 2_000_000
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
                assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
            if name == "style":
                assert not re.search(r"url\((?!#)", value)
    css = re.search(r"<style>(.*?)</style>", page.source, re.S)[1]
    assert "@import" not in css
    assert "url(" not in css


def test_tags_are_balanced_ids_unique_and_everything_has_a_text_alternative(page):
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a.get("alt") for tag, a in page.tags if tag == "img")
    figures = [a for tag, a in page.tags if tag == "svg"]
    assert len(figures) == 5
    assert all(a["role"] == "img" and len(a["aria-label"]) > 30 for a in figures)
    assert all(a.get("scope") in ("col", "row") for tag, a in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags


def test_without_a_saved_model_there_is_no_such_section(page):
    assert "Use this model" not in page.text


def test_the_verdict_the_arms_and_the_failure_are_shown(comparison, page):
    for sentence in evaluate.story(comparison):
        assert sentence in page.text.replace("\u00a0", " ")
    for arm in comparison.arms:
        assert page.text.count(arm) >= 3
    assert fake.ERROR in page.text
    assert "finetune at 400 labels a class, 1 of 3 seeds" in page.text
    assert "helped" in next(a["class"] for tag, a in page.tags if a.get("aria-label") == "Verdict")
    assert "about 11 more correct answers in every 100" in page.text
    assert "f(x) = W · φ(x) + b" in page.text
    for arm in comparison.arms:
        assert describe(comparison.about, arm).text in page.text
    assert "python -m tfxfer.train feature --seeds 3" in page.text


def test_the_numbers_of_the_table_are_the_comparisons(comparison, page):
    table = page.tables[0]
    assert table[0][0].strip() == "arm"
    assert [cell.strip() for cell in table[0][1:]] == ["5", "20", "50", "150", "400"]
    assert [row[0].strip() for row in table[1:]] == comparison.arms
    for row in table[1:]:
        for budget, cell in zip(comparison.budgets, row[1:]):
            right = comparison.correct(row[0].strip(), budget)
            mean, low, high = evaluate.interval(right)
            assert mean == pytest.approx(right.mean())
            shown = re.findall(r"\d\.\d{3}", cell)
            assert shown == [f"{mean:.3f}", f"{low:.3f}", f"{high:.3f}"]
            assert ("†" in cell) == (row[0].strip() == "finetune" and budget == 400)
            assert ("★" in cell) == (row[0].strip() == "native")


def test_every_verdict_is_in_the_verdict_table(comparison, page):
    rows = [[cell.strip() for cell in row] for row in page.tables[1][1:]]
    expected = with_adjusted(evaluate.verdicts(comparison))
    assert len(rows) == len(expected) == 5 * 6
    for row, one in zip(rows, expected):
        assert row[0] == one["b"]
        numbers = [float(x.replace("−", "-")) for x in re.findall(r"[+−]?\d\.\d{3}", " ".join(row[2:4]))]
        assert numbers == pytest.approx([one["difference"], one["low"], one["high"]], abs=6e-4)
        plain, adjusted = (outcome(one[key], one["a"], describe(None, one["b"])) for key in ("word", "adjusted"))
        assert row[4:] == [plain, "–" if one["role"] == "primary" else adjusted, one["role"]]
    assert "hurt" not in [row[4] for row in rows]
    assert [row[6] for row in rows].count("primary") == 1


def test_costs_seeds_and_replay(page):
    costs = [[cell.strip() for cell in row[:8]] for row in page.tables[2]]
    assert ["finetune", "400", "2", "1", "98,410", "–", "–", "19 s"] in costs
    assert ["transfer", "5", "3", "0", "2,570", "–", "–", "0.4 s"] in costs
    assert "peak memory" in page.text
    assert "1,234 MiB" in page.text
    assert "python -m tfxfer.train feature --config runs/feature-20261123-101500/config.yaml" in page.text
    assert "matplotlib" in page.text


def test_examples_show_correct_and_wrong_by_sign_and_word(comparison, page):
    images = [a for tag, a in page.tags if tag == "img"]
    assert len(images) == len(comparison.examples)
    assert images[0]["alt"] == "Österreichischer Schilling"
    assert "ığdır ve çevresi" in page.text
    first = comparison.select("transfer", 400)[0].probabilities[0]
    name = comparison.class_names[first.argmax()]
    assert f"{name} {first.max() * 100:.0f}\u00a0%".replace("\u00a0", " ") in page.text.replace("\u00a0", " ")
    right = [
        comparison.select(arm, 400)[0].probabilities[e["index"]].argmax() == comparison.labels[e["index"]]
        for e in comparison.examples
        for arm in ("transfer", "random")
    ]
    assert page.text.count("✓ correct") == sum(right)
    assert page.text.count("✗ wrong") == len(right) - sum(right)


def test_top_confusions_are_named_in_words(comparison, page):
    counts = np.zeros((10, 10), int)
    for row in comparison.select("transfer", 400):
        np.add.at(counts, (comparison.labels, row.probabilities.argmax(1)), 1)
    total = counts.sum(1)
    np.fill_diagonal(counts, 0)
    i, j = np.unravel_index(counts.argmax(), counts.shape)
    names = comparison.class_names
    assert f"{names[i]} was predicted as {names[j]} {counts[i, j]} of {total[i]} times" in page.text


def test_hostile_names_and_texts_stay_text(comparison, tmp_path):
    examples = [
        {"index": 0, "text": HOSTILE[0], "png": 'x" onerror="alert(1)'},
        {"index": 1, "text": HOSTILE[1], "png": base64.b64encode(b"<svg onload=alert(1)>").decode()},
        {"index": 10**9, "text": "outside the test split"},
        {"text": "without an index"},
    ]
    hostile = replace(
        comparison,
        title=HOSTILE[1],
        class_names=HOSTILE,
        examples=tuple(examples),
        records=comparison.records,
        about=dict.fromkeys(("equation", "explanation", "command"), HOSTILE[0])
        | {"arms": {"transfer": HOSTILE[1], "random": {"phrase": HOSTILE[0], "text": HOSTILE[3]}}},
    )
    hostile.save(tmp_path)
    table = {"caption": HOSTILE[0], "columns": [HOSTILE[1]], "rows": [[HOSTILE[3]]]}
    figure = {"name": "sankey", "arguments": {"flows": [[HOSTILE[0], HOSTILE[1], "copy", 3]]}}
    figure |= {"description": HOSTILE[1], "caption": HOSTILE[0]}
    write_panels(tmp_path, [Panel(*HOSTILE[:1], HOSTILE, HOSTILE, (figure,), (table,), HOSTILE)])
    (tmp_path / "config.yaml").write_text("a: </code><script>alert(2)</script>\n", "utf-8")
    page = read(tmp_path)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "i"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert HOSTILE[0] in page.text
    assert HOSTILE[1] in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "$x^{2" in page.text
    assert "&lt;i&gt;" in page.text
    assert "日本語" in page.text
    assert "outside the test split" not in page.text
    assert page.open == []


def test_without_config_log_or_examples(comparison, tmp_path):
    replace(comparison, examples=(), costs={}).save(tmp_path)
    page = read(tmp_path)
    assert "Training curves" not in page.text
    assert "config.yaml" not in page.text
    assert "Examples from" not in page.text


def test_a_log_cut_short_is_read_as_far_as_it_goes(run_folder):
    with (run_folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"phase": "source", "epoch": 9, "loss": NaN}\n[1, 2]\n{"event": "start"}\n{"phase": "sou')
    page = read(run_folder)
    assert "Training curves" in page.text
    assert "1 line(s) of metrics.jsonl could not be read" in page.text


def test_a_comparison_without_a_description_is_rendered(comparison, tmp_path):
    replace(comparison, about={}, recipe="").save(tmp_path)
    (tmp_path / "config.yaml").write_text("recipe: vqa\n", "utf-8")
    page = read(tmp_path)
    assert "The transfer under study is" not in page.text and "The command of this run" not in page.text
    assert "python -m tfxfer.train vqa --config" in page.text
    assert "The native baseline is better than transfer by 0.2" in page.text and page.open == []


def test_a_smoke_run_has_a_banner_and_no_verdict(comparison, tmp_path):
    replace(comparison, about=comparison.about | {"smoke": True}).save(tmp_path)
    page = read(tmp_path)
    assert "Smoke run." in page.text and "A smoke run has no verdict." in page.text
    assert page.text.index("Smoke run.") < page.text.index("The experiment")
    box = next(a["class"] for tag, a in page.tags if a.get("aria-label") == "Verdict")
    assert box == "verdict smoke" and "helped" not in page.source.split("</title>")[0]
    assert "Compared with the same network with random weights" not in page.text and page.open == []


def test_the_description_survives_the_disk(comparison, tmp_path):
    comparison.save(tmp_path)
    assert Comparison.load(tmp_path).about == fake.ABOUT


@pytest.mark.parametrize(
    ("model", "commands", "code"),
    [
        ({"task": "classification", "input": "text"}, ['--text "some text"'], 'model.predict(["some text"])'),
        (
            {"task": "retrieval", "input": "image", "also": {"text": {"input": "text"}}},
            ["--image photo.png", '--text "some text"'],
            'model.predict(["photo.png"])',
        ),
        (
            {"task": "vqa", "input": "image"},
            ['--image photo.png --question "What is it?"'],
            'model.predict(["photo.png"], ["What is it?"])',
        ),
    ],
)
def test_how_to_use_the_saved_model(run_folder, model, commands, code):
    (run_folder / "model.json").write_text(json.dumps(model), "utf-8")
    page = read(run_folder)
    for options in commands:
        assert f"python -m tfxfer.predict runs/feature-20261123-101500 {options}" in page.text
    assert 'model = tfxfer.from_run("runs/feature-20261123-101500")' in page.text and code in page.text
    assert page.text.index("Use this model") > page.text.index("Reproduce this run")


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_without_a_saved_model_there_are_no_commands(tmp_path, text):
    if text is not None:
        (tmp_path / "model.json").write_text(text, "utf-8")
    assert run.usage(tmp_path) is None


def one_arm(arm, budget, probabilities, seed=0):
    return Record(arm, budget, seed, metrics={"accuracy": 0.5}, probabilities=np.asarray(probabilities, np.float32))


@pytest.mark.parametrize("budget", [20, None])
def test_one_budget_one_seed_two_classes(tmp_path, budget):
    good, bad = np.eye(2)[[0, 1] * 20], np.full((40, 2), 0.5)
    records = (one_arm("transfer", budget, good), one_arm("random", budget, bad))
    Comparison("tiny", ("no", "yes"), np.array([0, 1] * 20, np.int32), records).save(tmp_path)
    page = read(tmp_path)
    assert "No evidence that transfer helped or hurt: +0.500" in page.text
    assert "1 seed, so no verdict: seeds may differ by more" in page.text
    assert "There are no errors." in page.text


def test_transfer_failed_and_an_arm_without_a_description(tmp_path):
    failed = Record("transfer", 5, 0, status="failed", error="a layer named <conv9> does not exist")
    records = (failed, one_arm("my own arm", 5, np.full((4, 2), 0.5)))
    Comparison("t", ("a", "b"), np.array([0, 1, 0, 1], np.int32), records).save(tmp_path)
    page = read(tmp_path)
    assert "No verdict on transfer against random weights" in page.text
    assert "a layer named <conv9> does not exist" in page.text
    assert "my own arm" in page.text


def test_a_hundred_classes_and_large_pictures_stay_below_two_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 100, 1000).astype(np.int32)
    probabilities = rng.dirichlet(np.full(100, 0.1), 1000)
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(300_000)).decode()
    records = tuple(one_arm(arm, 5, probabilities) for arm in ("transfer", "random"))
    examples = tuple({"index": i, "text": "x" * 100_000, "png": image} for i in range(50))
    Comparison("t", tuple(f"class {i}" for i in range(100)), labels, records, examples=examples).save(tmp_path)
    page = read(tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 2_000_000
    assert sum(tag == "img" for tag, _ in page.tags) == 2
    assert "Only the classes with the most errors are drawn." in page.text


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match="not a finished run"):
        report.write(tmp_path)


def test_writing_again_replaces_the_page(run_folder):
    first = report.write(run_folder).read_text(encoding="utf-8")
    plain = json.loads((run_folder / "comparison.json").read_text(encoding="utf-8"))
    plain["title"] = "another title"
    del plain["digest"]  # as a person who changes the file has to
    (run_folder / "comparison.json").write_text(json.dumps(plain), encoding="utf-8")
    second = report.write(run_folder).read_text(encoding="utf-8")
    assert "another title" in second
    assert "another title" not in first
    assert not list(run_folder.glob(".report*"))


def captions(tmp_path):
    """Two arms that predict texts, scored by two measures that disagree, at two numbers of pairs."""
    rng = np.random.default_rng(0)
    records = []
    for arm, nats, cider in (("transfer", -1.0, 0.2), ("random", -1.5, 0.4)):
        for budget, seed in product((50, 150), range(3)):
            scores = {"log_likelihood": nats + rng.normal(0, 0.1, 40), "cider_d": cider + rng.random(40) / 10}
            answers = np.array([f"{arm} caption {i}" for i in range(40)])
            records.append(Record(arm, budget, seed, scores=scores, answers=answers))
    examples = ({"index": 3, "true": "a <b>true</b> caption"},)
    compared_by = {"measures": ("log_likelihood", "cider_d"), "unit": "pairs"}
    made = Comparison("images → words", (), np.zeros(40), tuple(records), examples=examples, **compared_by)
    made.save(tmp_path)
    return made


def test_answers_that_are_texts_are_scored_by_every_measure(tmp_path):
    captions(tmp_path)
    page = read(tmp_path)
    assert "Transfer helped: +0.5" in page.text and "nats a token over random weights" in page.text
    assert "By CIDEr-D: Transfer hurt" in page.text
    assert "averaged over 50 and 150 pairs" in page.text
    assert "transfer caption 3" in page.text and "random caption 3" in page.text
    assert "a <b>true</b> caption" in page.text  # as text, not as a tag
    assert "labels a class" not in page.text and "correct answers in every 100" not in page.text
    assert page.open == []


def test_scores_and_answers_survive_the_disk(tmp_path):
    made = captions(tmp_path)
    back = Comparison.load(tmp_path)
    assert (back.measures, back.unit) == (made.measures, made.unit)
    np.testing.assert_allclose(back.scores("random", 150, "cider_d"), made.scores("random", 150, "cider_d"))
    assert list(back.select("transfer", 50)[0].answers) == list(made.select("transfer", 50)[0].answers)
