"""The rating page: the same for the server and, with everything inside, as one file without a server."""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from tfxfer.rate.database import Session
from tfxfer.rate.items import SCALES, Item
from tfxfer.terminal import printable

FILE_FORMAT = "tfxfer-ratings-1"  # of the file in which ratings come back from a page without a server
WHAT = {"captions": "captions", "answers": "answers", "classes": "answers"}


def page(session: Session, post: str = "") -> str:
    """Return the page of a session as HTML. It loads nothing from elsewhere, and names no system.

    Args:
        session: What is asked.
        post: Where ratings go, relative to the page, and "image/ITEM" beside it; "" for a page without a server, which
            has its images inside.
    """
    what = WHAT[session.about["kind"]]
    shown = {
        "format": FILE_FORMAT,
        "session": session.about["id"],
        "digest": session.about["items"],
        "ask": session.about["ask"],
        "what": what,
        "scales": [vars(SCALES[name]) for name in session.about["scales"]],
        "post": post,
        "items": [_shown(item, session, bool(post)) for item in session.items],
    }
    css, script = source("rate.css"), source("rate.js")
    policy = "" if post else content_policy(served=False)
    return _template().render(css=Markup(css), script=Markup(script), data=_data(shown), what=what, meta_policy=policy)


def _shown(item: Item, session: Session, served: bool) -> dict[str, Any]:
    """Return what raters may know of an item: not which systems, what kind of screen, or what is true."""
    image = session.image(item.id)
    address = ""
    if image:
        content, media = image
        address = f"image/{item.id}" if served else f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"
    candidates = sorted(
        ({"id": one.id, "text": printable(one.text)} for one in item.candidates), key=lambda one: one["id"]
    )
    return {
        "id": item.id,
        "image": address,
        "question": printable(item.question),
        "text": printable(item.text),
        "candidates": candidates,
    }


def _data(value: Any) -> Markup:
    """Return JSON that stands in a `<script>` of type JSON: ASCII only, and no `<` that could end it."""
    text = json.dumps(value, ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def content_policy(*, served: bool) -> str:
    """Return the Content-Security-Policy: the page's own script and style, by their hashes, and nothing else."""
    script, style = (_hash(source(name)) for name in ("rate.js", "rate.css"))
    images = "'self'" if served else "data:"
    rules = [
        "default-src 'none'",
        f"script-src '{script}'",
        f"style-src '{style}'",
        f"img-src {images}",
        *(["connect-src 'self'"] if served else []),
        "base-uri 'none'",
        "form-action 'none'",
        *(["frame-ancestors 'none'"] if served else []),  # no `<meta>` can say this
    ]
    return "; ".join(rules)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


@cache
def source(name: str) -> str:
    """Return the text of a file of this package."""
    return files("tfxfer.rate").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("tfxfer", "rate")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("rate.html")
