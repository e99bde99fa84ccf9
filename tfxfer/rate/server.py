"""The server of the rating page: Starlette on loopback, with a random token in every address.

No path of a request reaches the file system: an image is looked up in the session by its id.
"""

import json
import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tfxfer.cache import locked
from tfxfer.errors import TfxferError, UserError
from tfxfer.rate.answers import rater_name
from tfxfer.rate.database import Moved, Session
from tfxfer.rate.page import content_policy, page

LARGEST_BODY = 65_536  # bytes
MOST_AT_ONCE = 50  # ratings in a request
PORT = 8017  # where it is free; the page keeps what is not saved yet by its address
LOOPBACK = ("127.0.0.1", "localhost")


def new_token() -> str:
    """Return the random part of the address: 128 bits."""
    return secrets.token_urlsafe(16)


def app(session: Session, token: str, hosts: tuple[str, ...] = LOOPBACK) -> Starlette:
    """Return the application.

    Args:
        session: What is asked, and where ratings go.
        token: The first part of every address; any other gives 404.
        hosts: Names by which it may be called ("*": any), against pages that let a name of theirs point here.
    """

    def known(request: Request) -> None:
        if not secrets.compare_digest(request.path_params["token"].encode(), token.encode()):
            raise HTTPException(404)

    async def show(request: Request) -> Response:
        known(request)
        return HTMLResponse(await run_in_threadpool(page, session, "answers"))

    async def image(request: Request) -> Response:
        known(request)
        found = await run_in_threadpool(session.image, request.path_params["item"])
        if found is None:
            raise HTTPException(404)
        return Response(found[0], media_type=found[1])

    async def answers(request: Request) -> Response:
        known(request)
        name = rater_name(request.query_params.get("rater"))
        return JSONResponse({"answers": await run_in_threadpool(session.answers, name)})

    async def add(request: Request) -> Response:
        known(request)
        sent = await _sent(request)
        return JSONResponse({"new": await run_in_threadpool(session.add, sent["rater"], sent["answers"])})

    routes = [
        Route("/{token}/", show),
        Route("/{token}/image/{item}", image),
        Route("/{token}/answers", answers),
        Route("/{token}/answers", add, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(Headers),
        ],
        exception_handlers={HTTPException: _http, TfxferError: _ours, sqlite3.Error: _sqlite},  # type: ignore[dict-item]
    )


async def _sent(request: Request) -> dict[str, Any]:
    """Return the ratings that a request holds; larger ones are not read to their end."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"more than {LARGEST_BODY:,} bytes")
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "this is no JSON") from error
    if not isinstance(sent, dict) or set(sent) != {"rater", "answers"} or not isinstance(sent["answers"], list):
        raise HTTPException(400, "send a rater and a list of answers")
    if len(sent["answers"]) > MOST_AT_ONCE:
        raise HTTPException(413, f"more than {MOST_AT_ONCE} ratings at once")
    return sent


def _http(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)


def _ours(request: Request, error: TfxferError) -> Response:
    """Return what went wrong: 422 for what cannot be accepted, 409 and 507 for what the page should send again."""
    if isinstance(error, Moved):
        return JSONResponse({"error": "the run's folder was moved or removed while this page was open"}, 409)
    return JSONResponse({"error": str(error)}, 422 if isinstance(error, UserError) else 507)


def _sqlite(request: Request, error: sqlite3.Error) -> Response:
    return JSONResponse({"error": f"the ratings cannot be read ({error})"}, 503)


class Headers:
    """Middleware that adds to every answer what a browser must know.

    Args:
        app: The application inside.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app
        added = {
            "content-security-policy": content_policy(served=True),
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "no-referrer",  # the address holds the token
            "cross-origin-resource-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "cache-control": "no-store",
        }
        self.added = [(name.encode(), value.encode()) for name, value in added.items()]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self.added]
            await send(message)

        await self.app(scope, receive, sent)


# === Serving ===


def bound(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens: at `port`, or at `PORT`, or where that is taken at any free one.

    Raises:
        UserError: Nothing can listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in (port,) if port is not None else (PORT, 0):
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, number))
            found.listen()  # who comes before the server is up waits
            return found
        except OSError as error:
            found.close()
            problem = error
    raise UserError(f"--host {host}: nothing can listen there ({problem.strerror}); give another --host or --port")


def address(found: socket.socket, token: str) -> str:
    """Return the address of the page."""
    host, port = found.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/{token}/"


def serve(session: Session, token: str, found: socket.socket) -> None:
    """Serve a session until the process is interrupted (Ctrl+C)."""
    import uvicorn

    host = found.getsockname()[0]
    hosts = LOOPBACK if host == LOOPBACK[0] else ("*",)
    config = uvicorn.Config(
        app(session, token, hosts),
        log_level="warning",
        access_log=False,  # addresses hold the token
        server_header=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=3,
        lifespan="off",
    )
    try:
        uvicorn.Server(config).run(sockets=[found])
    except KeyboardInterrupt:
        pass
    finally:
        found.close()


@contextmanager
def alone(session: Session) -> Iterator[None]:
    """Serve a session during the block; raises `UserError` where another process does."""
    with locked(session.path, wait=False) as held:
        if not held:
            other = session.noted("served") or {}
            who = f"process {other.get('pid')} on {other.get('host')} since {other.get('since')}, at {other.get('at')}…"
            raise UserError(
                f"{session.path}: is served already by {who}; use that page, or end that process with Ctrl+C"
            )
        yield


def holder() -> dict[str, Any]:
    """Return which process this is, for another that wants to serve the same session."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
