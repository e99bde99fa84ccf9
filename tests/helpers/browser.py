"""Headless Chromium, driven over a pipe by its DevTools protocol; needs no package."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEYS = {"Enter": 13, "Backspace": 8, "ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39}
OPTIONS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe", "--hide-scrollbars"),
)


class Navigated(Exception):
    """The page on which something was asked gave way to another."""


class Browser:
    """A browser with a profile of its own; use it as a context manager."""

    def __init__(self):
        self._profile = tempfile.mkdtemp(prefix="chromium-")
        theirs, self._to = os.pipe()
        self._from, ours = os.pipe()
        command = f'exec "$0" "$@" 3<&{theirs} 4>&{ours}'
        words = ["bash", "-c", command, CHROMIUM, *OPTIONS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            words, pass_fds=(theirs, ours), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(ours)
        self._number, self._rest = 0, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(10)
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method, session=None, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                assert select.select([self._from], [], [], 30)[0], f"Chromium does not answer {method}"
                part = os.read(self._from, 2**20)
                assert part, "Chromium ended"
                self._rest += part
            raw, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(raw)
            if answer.get("id") == self._number:
                if "navigated" in str(answer.get("error", "")):
                    raise Navigated(answer["error"]["message"])
                assert "error" not in answer, answer
                return answer["result"]

    def tab(self, address, width=1100, height=800, dark=False, phone=False):
        """Open a page in a profile of its own, as another person's browser."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Tab(self, session, context).sized(width, height, dark, phone).to(address)


class Tab:
    """A page."""

    def __init__(self, browser, session, context):
        self.browser, self.session, self.context = browser, session, context

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def sized(self, width, height, dark=False, phone=False):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        return self

    def to(self, address):
        self.call("Page.navigate", url=str(address))
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")
        return self

    def reload(self):
        self.run("window.old = true")
        self.call("Page.reload")
        self.until("!window.old && document.readyState === 'complete'")

    def run(self, code):
        """Return the value of JavaScript."""
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition, seconds=40):
        end = time.monotonic() + seconds
        while not self._holds(condition):
            assert time.monotonic() < end, (condition, self.text())
            time.sleep(0.03)

    def _holds(self, condition):
        """Whether a condition holds; not while a page gives way to another."""
        try:
            return self.run(f"Boolean({condition})")
        except Navigated:
            return False

    def text(self):
        return self.run("document.body ? document.body.innerText : ''")

    def click(self, selector):
        """Click the middle of an element with the mouse."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{found}.scrollIntoView({{block: 'center'}})")
        place = "[r.x + r.width / 2, r.y + r.height / 2]"
        x, y = self.run(f"(() => {{ const r = {found}.getBoundingClientRect(); return {place}; }})()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def keys(self, *names):
        for name in names:
            code = KEYS.get(name, ord(name[0].upper()))
            text = {"Enter": "\r"}.get(name, name if len(name) == 1 else "")
            about = {"key": name, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def write(self, text):
        self.call("Input.insertText", text=text)

    def downloads_to(self, folder):
        self.browser.call(
            "Browser.setDownloadBehavior", behavior="allow", browserContextId=self.context, downloadPath=str(folder)
        )

    def shot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        Path(path).write_bytes(base64.b64decode(data))
