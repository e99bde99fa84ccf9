# %% [markdown]
# # 08 · Your own data, start to end
#
# You have a folder of pictures and a table of texts. At the end of this lesson you have a model that takes raw text,
# a page that says whether the pictures helped, and a folder you can give to somebody else.
#
# **After this lesson you can**
# - describe your data to tfxfer in one line, and read its complaints;
# - run an experiment with all arms, and find your way in its folder;
# - ask the saved model, judge it on new data, and hand it on.
#
# **Time to run:** about two minutes on 2 CPU cores. **Needs:** nothing but tfxfer; no network. **Before:** lesson 03.

# %%
from tfxfer import teach

teach.start("08")

# %%
from tfxfer.teach.figures import lesson_08 as figures

figures.way()

# %% [markdown]
# ## 1 · Two files
#
# We play that these are yours. The pictures: handwritten digits, one folder a class, as scikit-learn brings them. The
# texts: first sentences of the documentation of Python's own library, with their subject. Both are real and on your
# disk already.

# %%
import csv
import importlib
import inspect
import random
import re
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

work = Path(tempfile.mkdtemp())
scans = load_digits()
for i, (scan, digit) in enumerate(zip(scans.images, scans.target)):
    folder = work / "digits" / str(digit)
    folder.mkdir(parents=True, exist_ok=True)
    grey = Image.fromarray((255 - scan * 255 / 16).astype(np.uint8))  # black ink on white
    grey.resize((32, 32), Image.Resampling.BICUBIC).save(folder / f"{i}.png")

SUBJECTS = {
    "numbers": ("math", "cmath", "statistics", "decimal", "fractions", "random", "operator"),
    "files": ("os", "shutil", "pathlib", "tempfile", "zipfile", "tarfile", "io"),
    "network": ("socket", "ssl", "http.client", "urllib.request", "ftplib", "smtplib", "imaplib", "ipaddress"),
}


def first_sentences(modules):
    """Return the first sentences of what is said of public functions, classes and their methods."""
    found = set()
    for thing in [
        thing for name in modules for thing in vars(importlib.import_module(name)).values() if callable(thing)
    ]:
        members = [m for n, m in vars(thing).items() if not n.startswith("_")] if inspect.isclass(thing) else []
        for one in [thing, *members]:
            told = " ".join(re.split(r"(?<=\.)\s|\n\s*\n", inspect.getdoc(one) or "")[0].split())
            if 20 <= len(told) <= 90 and re.match(r"[A-Z][a-z]+ [a-z]", told):
                found.add(told)
    return found


sentences = {subject: first_sentences(modules) for subject, modules in SUBJECTS.items()}
times = Counter(sentence for found in sentences.values() for sentence in found)
own = {subject: sorted(s for s in found if times[s] == 1) for subject, found in sentences.items()}
least = min(map(len, own.values()))  # as many of each, so that no subject is the safe guess
with (work / "sentences.csv").open("w", newline="", encoding="utf-8") as file:
    table = csv.writer(file)
    table.writerow(["sentence", "subject"])
    table.writerows([s, subject] for subject in own for s in random.Random(0).sample(own[subject], least))
print(*(work / "sentences.csv").read_text("utf-8").splitlines()[:4], sep="\n")

# %% [markdown]
# ## 2 · Say what they are
#
# A *spec* names the data; options name the columns. The splits are cut by a hash of the content, so the same sentence
# can never stand in two of them.

# %%
import tfxfer

digits = tfxfer.load(f"folder:{work}/digits")
texts = tfxfer.load(f"csv:{work}/sentences.csv", text="sentence", label="subject")
print("\n\n".join(part.describe().replace(str(work), "…") for part in (digits, texts)))

# %% [markdown]
# Real data have faults. A good complaint names the file, the row, and what to do. Three typical ones:

# %%
from tfxfer.errors import UserError


def complaint(spec, **columns):
    """Return what tfxfer says about a data set that cannot be used."""
    try:
        list(tfxfer.load(spec, **columns).batches("train", 8))
        return "nothing to complain about"
    except UserError as error:
        return str(error).replace(str(work), "…")


(work / "short.csv").write_text("sentence,subject\nOpen a file.,files\n\nClose a socket.,\n", "utf-8")
(work / "photos.csv").write_text("image,label\nmissing.png,cat\nmissing2.png,dog\n", "utf-8")
print(complaint(f"csv:{work}/sentences.csv", text="sentense", label="subject"))
print(complaint(f"csv:{work}/short.csv", text="sentence", label="subject"))
print(complaint(f"csv:{work}/photos.csv"))

# %% [markdown]
# ## 3 · What will the network see?
#
# Look before you train. The source learns digits of 32 × 32 pixels; a sentence is long, so it is wrapped into rows.
# Letters much smaller or larger than what the source knows will not look familiar to it.

# %%
from tfxfer.transfer.bridges.render import draw

DRAWING = {"height": 64, "width": 224, "font_size": 20, "layout": "rows"}
some = texts.texts("train")[:3]
figures.seen(digits.with_at_most(train=10).arrays("train", channels=1)["image"], draw(some, **DRAWING), some)

# %% [markdown]
# ## 4 · Train, with every arm
#
# The command line is what you would type in a terminal. It checks everything cheap first, so that a typing error
# costs a second and not an hour.

# %%
import os
import shlex
import subprocess
import sys


def command(module, *words, lines=None):
    """Run `python -m module words…` in the working folder, as in a terminal; show what it printed."""
    print("$ python -m", module, shlex.join(words))
    settings = {name: value for name, value in os.environ.items() if "COLOR" not in name}  # plain text, no bars
    settings |= {"COLUMNS": "100", "TERM": "dumb"}
    argv = [sys.executable, "-m", module, *words]
    done = subprocess.run(argv, cwd=work, env=settings, capture_output=True, text=True, encoding="utf-8")
    told = done.stdout.replace(str(work), "…").rstrip().splitlines()
    print(*told[:lines], sep="\n")
    assert done.returncode == 0, done.stderr


options = [f"--{name.replace('_', '-')}={value}" for name, value in DRAWING.items()]
command(
    "tfxfer.train",
    *("--source", "folder:digits", "--source-epochs", "6"),
    *("--target", "csv:sentences.csv", "--target-text", "sentence", "--target-label", "subject"),
    *("--labels-per-class", "5", "20", "--epochs", "4", "--learning-rates", "1e-3", "1e-2", *options),
    *("--run-dir", "runs/mine", *["--smoke"] * teach.smoke()),
)

# %% [markdown]
# ## 5 · What is in the folder

# %%
run = work / "runs" / "mine"
for file in sorted(run.iterdir()):
    print(f"{file.name:20} {file.stat().st_size:>10,} bytes")

# %% [markdown]
# `report.html` is one page that needs nothing else: open it in a browser. The same records are there for Python:

# %%
from tfxfer.evaluate import story, summary
from tfxfer.records import Comparison
from tfxfer.report.figures import label_efficiency

comparison = Comparison.load(run)
label_efficiency(comparison)

# %%
most = max(comparison.budgets)
score = {row["arm"]: row["score"] for row in summary(comparison) if row["labels_per_class"] == most}
told = story(comparison)
advice = "use the native model" if score["native"] > score["transfer"] else "use the transfer"
teach.say(f"""
> {told[0]}

A network that knows handwritten digits was asked about the subject of English sentences. At {most} labels a class it
gets {score["transfer"]:.1%}, dice get {score["random"]:.1%}, and counting words or letters gets
**{score["native"]:.1%}**. With these data the honest advice is: {advice}. Finding that out took one command.
""")

# %% [markdown]
# ## 6 · Hand it on, and ask it
#
# The model takes raw text: drawing, CNN and head are inside one file, and the glyphs too, so it needs no font on the
# other machine. We copy three files to “somewhere else” and ask there.

# %%
import shutil

from tfxfer.transfer.bridges.render import RenderText

shared = work / "somewhere" / "else"
shared.mkdir(parents=True)
for name in ("model.keras", "model.json", "config.yaml"):
    shutil.copy(run / name, shared)
command("tfxfer.predict", "somewhere/else", "--text", "Open a socket and wait.", "Return the square root of x.")
teach.show(RenderText.save_assets)

# %% [markdown]
# ## 7 · Judge it on new data
#
# New sentences came in, with their subjects. `evaluate` answers them with the saved model and gives the figures.

# %%
new = [("Return the sine of x.", "numbers"), ("Remove a directory.", "files"), ("Wait for a connection.", "network")]
new += [
    ("Send a line to the server.", "network"),
    ("Copy a file and its mode.", "files"),
    ("Round to n digits.", "numbers"),
]
with (work / "new.csv").open("w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([("sentence", "subject"), *new])
columns = ("--text", "sentence", "--label", "subject")
command("tfxfer.evaluate", "runs/mine", "--data", "csv:new.csv", "--split", "all", *columns, lines=12)

# %% [markdown]
# And in a year? `python -m tfxfer.train --config runs/mine/config.yaml` runs exactly this again; what has not changed
# is taken from the cache.
#
# ## Exercises
#
# **08.1** Your pictures lie in `birds/` with a sub-folder for each kind. Which spec: "folder:birds", "csv:birds" or
# "tfds:birds"?

# %%
teach.check("08.1", ...)

# %% [markdown]
# **08.2** The run above has two budgets and three seeds. Transfer, random and native run at both budgets; scratch and
# finetune at one; majority, which knows no luck, at both with one seed. How many records is that?

# %%
teach.check("08.2", ...)

# %% [markdown]
# **08.3** A colleague gets your `model.keras`. What else does the other machine need: "training data", "font" or
# "tfxfer"?

# %%
teach.check("08.3", ...)

# %% [markdown]
# **08.4** You look at the test score of ten drawings and keep the best one. What is that score now: "honest", "too
# high" or "too low"?

# %%
teach.check("08.4", ...)

# %% [markdown]
# ## Read next
#
# - T. Gebru et al., *Datasheets for datasets*, 2021: what to write beside your own data.
# - M. Mitchell et al., *Model cards for model reporting*, 2019: what to write beside your model.
# - E. Alpaydin, C. Kaynak, *Optical recognition of handwritten digits* (UCI), 1998: the digits of this lesson.
# - All options: `python -m tfxfer.train --help`. Adding a data set of your own to tfxfer: `docs/adding.md`.
