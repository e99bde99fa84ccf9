"""The server: what it answers, what it refuses, and that a page shows no system."""

import json
import socket
import threading

import pytest
import rated
from starlette.testclient import TestClient

from tfxfer.errors import UserError
from tfxfer.rate.page import page
from tfxfer.rate.server import LARGEST_BODY, address, app, bound, new_token

TOKEN = "t0ken"


@pytest.fixture
def session(tmp_path):
    found = rated.session(rated.run(tmp_path / "one"))
    yield found
    found.close()


@pytest.fixture
def client(session):
    return TestClient(app(session, TOKEN), base_url="http://127.0.0.1:8017", raise_server_exceptions=False)


def send(client, answers, rater="Ada", **given):
    return client.post(f"/{TOKEN}/answers", json={"rater": rater, "answers": answers}, **given)


def test_ratings_are_kept_and_come_back(client, session):
    rating = rated.rating(session, session.items[0], rated.honest)
    assert send(client, [rating]).json() == {"new": 1}
    assert send(client, [rating]).json() == {"new": 0}  # sent twice, as after a lost answer
    assert client.get(f"/{TOKEN}/answers", params={"rater": "Ada"}).json() == {"answers": [rating]}
    assert client.get(f"/{TOKEN}/answers", params={"rater": "Bo"}).json() == {"answers": []}
    bad = send(client, [rating | {"key": "0" * 16, "scores": {}}])
    assert bad.status_code == 422 and "scores for each" in bad.json()["error"]


def test_the_page_is_blind_escaped_and_loads_nothing_from_elsewhere(client, session):
    text = client.get(f"/{TOKEN}/").text
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert len(data["items"]) == len(session.items)
    assert all(set(one) == {"id", "text"} for item in data["items"] for one in item["candidates"])
    for word in ("transfer", "neighbour", "foreign", "cider", '"check"', "on white"):
        assert word not in text
    assert "http://" not in text and "https://" not in text
    image = client.get(f"/{TOKEN}/{data['items'][0]['image']}")
    assert image.headers["content-type"] == "image/png"
    assert (rated.pixels(image.content) == rated.images([session.items[0].row])[0]).all()


def test_texts_cannot_leave_their_place(tmp_path):
    hostile = [f"</script><script>alert({n})</script><!--\u2028&" for n in range(24)]
    true = rated.comparison(true=hostile)
    folder = rated.run(tmp_path / "two", records=true.records, examples=())
    with_images = rated.session(folder, test=rated.test_set(hostile))
    text = page(with_images)
    assert text.count("<script") == 2 and "alert(3)</script" not in text and "\u2028" not in text
    with_images.close()


def test_every_answer_has_a_strict_policy(client):
    for path in (f"/{TOKEN}/", "/", f"/{TOKEN}/answers?rater=Ada", "/x/../../etc/passwd"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["referrer-policy"] == "no-referrer" and headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/other/", "/other/answers?rater=Ada", f"/{TOKEN}/image/x", f"/{TOKEN}/rate.js"])
def test_a_wrong_address_shows_nothing(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["image/..%2f..%2fcomparison.json", "image/%2fetc%2fpasswd", "../config.yaml", "image/ratings.sqlite3"]
)
def test_no_path_reaches_the_file_system(client, path):
    assert client.get(f"/{TOKEN}/{path}").status_code == 404


def test_bodies_are_bounded_and_of_one_kind(client, session):
    def posted(body, kind="application/json"):
        return client.post(f"/{TOKEN}/answers", content=body, headers={"content-type": kind}).status_code

    assert posted(b"{}", "text/plain") == 415  # what a form of another page can send
    assert posted(b"[" * 10_000) == posted(b"{}") == posted(b"\xff") == posted(b"[]") == 400
    assert posted(b'"' + b"x" * LARGEST_BODY + b'"') == 413
    assert send(client, [{}] * 51).status_code == 413
    assert client.put(f"/{TOKEN}/answers", json={}).status_code == 405
    assert client.post("/other/answers", json={"rater": "Ada", "answers": []}).status_code == 404
    assert session.current() == {}


def test_another_name_for_this_machine_is_refused(client):
    assert client.get(f"/{TOKEN}/", headers={"host": "evil.example:8017"}).status_code == 400
    assert client.get(f"/{TOKEN}/", headers={"host": "localhost:8017"}).status_code == 200


def test_a_moved_folder_is_said_and_can_be_sent_again(client, session):
    rating = rated.rating(session, session.items[0], rated.honest)
    folder = session.path.parent
    away = folder.rename(folder.with_name("away"))
    gone = send(client, [rating])
    assert gone.status_code == 409 and "moved or removed" in gone.json()["error"]
    away.rename(folder)
    assert send(client, [rating]).json() == {"new": 1}


def test_two_raters_at_once(client, session):
    def rate(name):
        for item in session.items:
            assert send(client, [rated.rating(session, item, rated.honest)], name).status_code == 200

    threads = [threading.Thread(target=rate, args=(name,)) for name in ("Ada", "Bo", "Cy")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: len(own) for name, own in session.current().items()} == dict.fromkeys(("Ada", "Bo", "Cy"), 12)


def test_a_taken_port_is_named_and_tokens_differ():
    first = bound("127.0.0.1", 0)
    with pytest.raises(UserError, match="nothing can listen there"):
        bound("127.0.0.1", first.getsockname()[1])
    with pytest.raises(UserError, match="--host 192.0.2.1: nothing can listen there"):
        bound("192.0.2.1", 0)
    assert address(first, "x").startswith("http://127.0.0.1:") and first.family == socket.AF_INET
    assert len({new_token() for _ in range(20)}) == 20 and len(new_token()) >= 22
    first.close()
