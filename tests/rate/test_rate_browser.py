"""The page in headless Chromium: keys and clicks, undo, a reload, two people, a narrow screen, dark, no server."""

import json
import threading
import time
from contextlib import contextmanager

import pytest
import rated
from browser import CHROMIUM, Browser

from tfxfer.rate import show
from tfxfer.rate.exports import add_file, export
from tfxfer.rate.figures import figures
from tfxfer.rate.server import address, app, bound, new_token

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
RATED = "document.getElementById('count').textContent"
WORKING = "!document.getElementById('work').hidden"
DONE = "!document.getElementById('done').hidden"
SAVED = "document.getElementById('saved').textContent === 'saved ✓'"
SHOWN = (
    "[...document.querySelectorAll('.candidate > p > span:last-child, .pick:not(.tie) > span')].map(e => e.textContent)"
)


@pytest.fixture(scope="module")
def browser():
    with Browser() as found:
        yield found


@contextmanager
def served(session, port=0):
    """Serve a session in a thread; yield the address of its page."""
    import uvicorn

    found, token = bound("127.0.0.1", port), new_token()
    server = uvicorn.Server(uvicorn.Config(app(session, token), log_level="warning", access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [found]})
    thread.start()
    try:
        yield address(found, token)
    finally:
        server.should_exit = True
        thread.join()
        found.close()


@pytest.fixture
def folder(tmp_path):
    return rated.run(tmp_path / "one")


def begin(browser, page, name, **sizes):
    tab = browser.tab(page, **sizes)
    tab.until("document.activeElement.id === 'name'")
    tab.write(name)
    tab.keys("Enter")
    tab.until(WORKING)
    return tab


def judged(tab, session):
    """Whether each text on the screen is true of what is shown."""
    shown = tab.run(SHOWN)
    item = next(one for one in session.items if sorted(c.text for c in one.candidates) == sorted(shown))
    by_text = {one.text: rated.honest(one, item) for one in item.candidates}
    return [by_text[text] for text in shown]


def rate_by_keys(tab, session, scales=3):
    """Rate one screen: 5 for a true caption, 2 for another."""
    for right in judged(tab, session):
        tab.keys(*["5" if right else "2"] * scales)
    tab.keys("Enter")


def test_twenty_items_end_to_end_with_a_reload_and_an_undo(browser, folder):
    session = rated.session(folder, items=20)
    with served(session) as page:
        tab = begin(browser, page, "Ada")
        tab.keys("Enter")  # nothing is rated yet: it stays, and says what is missing
        assert "still open: correctness" in tab.text() and tab.run(RATED) == "0 of 22 rated"
        for _ in range(8):
            rate_by_keys(tab, session)
        tab.until(SAVED)
        before = tab.run(SHOWN)
        tab.reload()
        tab.until(WORKING)
        assert tab.run(RATED) == "8 of 22 rated" and tab.run(SHOWN) == before
        tab.keys("u")
        assert tab.run(RATED) == "7 of 22 rated"
        assert tab.run("document.querySelectorAll('[aria-checked=true]').length") >= 3  # as they were rated
        tab.keys("Enter", "s")  # later: it comes again at the end
        for _ in range(14):
            rate_by_keys(tab, session)
        tab.until(f"{DONE} && {SAVED}")
    doubtful = {item.id for item in session.items[::4]}
    rated.rate_all(session, "Bo", lambda c, item: rated.honest(c, item) != (item.id in doubtful))
    (name, answers), *others = session.current().items()
    assert (name, len(answers), len(others)) == ("Ada", 22, 1)
    found = figures(session)
    assert found["preference"][0]["word"] == "preferred" and found["raters"][0]["passed"] == 2
    show.terminal(found)  # with -s, the report of docs/rate.md
    session.close()


def test_two_people_at_once_one_by_clicks_on_a_dark_phone(browser, folder):
    session = rated.session(folder, "choice", items=5)
    with served(session) as page:
        one = begin(browser, page, "Ada")
        two = begin(browser, page, "Zoë", width=360, height=640, dark=True, phone=True)
        assert two.run("document.documentElement.scrollWidth") == 360
        assert two.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        low = "[...document.querySelectorAll('button')].filter(b => b.offsetHeight && b.offsetHeight < 35).length"
        assert two.run(low) == 0  # every button is large enough for a thumb
        for n in range(7):
            keys, places = judged(one, session), judged(two, session)
            one.keys(str(keys.index(True) + 1) if sum(keys) == 1 else "0")
            two.click(f".pick:nth-child({places.index(True) + 1 if sum(places) == 1 else 3})")
            two.until(f"{RATED}.startsWith('{n + 1} of')")
        one.until(f"{DONE} && {SAVED}")
        two.until(f"{DONE} && {SAVED}")
    assert {name: len(own) for name, own in session.current().items()} == {"Ada": 7, "Zoë": 7}
    assert figures(session)["agreement"][0]["alpha"] in (None, 1)
    session.close()


def test_ratings_wait_while_the_server_is_away(browser, folder):
    session = rated.session(folder, "choice", items=4)
    with served(session) as page:
        tab = begin(browser, page, "Ada")
        tab.keys("1")
        tab.until(SAVED)
    tab.keys("2", "1")
    tab.until("document.getElementById('banner').textContent.includes('2 ratings kept in this browser')")
    port = int(page.split(":")[2].split("/")[0])
    with served(session, port) as again:  # at another address of the same place
        tab.to(again)
        tab.until(f"{WORKING} && {RATED}.startsWith('3 of') && {SAVED}")
    assert len(session.answers("Ada")) == 3
    session.close()


def test_a_page_without_a_server_gives_a_file_that_comes_back(browser, folder, tmp_path):
    session = rated.session(folder, items=3)
    (page,) = export(session, tmp_path / "page.html", "page")
    tab = begin(browser, page.as_uri(), "Zoë 🦊", width=390, height=844)
    rate_by_keys(tab, session)
    tab.reload()
    tab.until(f"{WORKING} && {RATED} === '1 of 5 rated'")
    for _ in range(4):
        rate_by_keys(tab, session)
    tab.until(DONE)
    tab.downloads_to(tmp_path)
    tab.click("#save")
    file, deadline = tmp_path / "ratings-Zoe-.json", time.monotonic() + 10
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert add_file(file, session) == ("Zoë 🦊", 5, 5)  # with the digest that the page made
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"rater": "Eve"}), "utf-8")
    with pytest.raises(ValueError, match="was changed after the page saved it"):
        add_file(file, session)
    session.close()
