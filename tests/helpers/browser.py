"""A real browser for tests of pages: Debian's chromium, with a profile of its own, and no network."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from typing import TYPE_CHECKING, Any, Final

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["TracePage", "chromium"]

FLAGS: Final = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
LIMIT_S: Final = 30.0

# Runs before anything in the page: what the page's policy forbids is written down.
_WATCH: Final = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation",
        (event) => window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
"""


def _installed(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"{name} is not installed: `make system` sees to it"
    return path


@contextlib.contextmanager
def chromium(
    profile: Path, *, width: int = 1500, height: int = 950, offline: bool = True
) -> Iterator[webdriver.Chrome]:
    """A browser that is ended with the block.

    Args:
        profile: a new folder for what it keeps.
        width: of its window, in CSS pixels.
        height: likewise.
        offline: whether it has no network, not even to this machine.
    """
    options = Options()
    options.binary_location = _installed("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_installed("chromedriver")))
    try:
        driver.set_page_load_timeout(LIMIT_S)
        driver.set_script_timeout(LIMIT_S)
        driver.execute_cdp_cmd("Network.enable", {})
        network = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", network)
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _WATCH})
        yield driver
    finally:
        driver.quit()


class TracePage:
    """A page that `write_html` has written, open in a browser.

    Args:
        driver: the browser.
        path: the page.
        fragment: what follows `#` in its address.

    Attributes:
        loaded_s: seconds until it was ready.
    """

    def __init__(self, driver: webdriver.Chrome, path: Path, fragment: str = "") -> None:
        self.driver = driver
        driver.get("about:blank")  # the same address with another fragment would not be loaded anew
        self.console()  # what others have left there
        begun_s = time.perf_counter()
        driver.get(path.as_uri() + (f"#{fragment}" if fragment else ""))
        ready = "return window.__trace.ready || window.__trace.error || false"
        found = WebDriverWait(driver, LIMIT_S, poll_frequency=0.02).until(lambda _: self.js(ready))
        self.loaded_s = time.perf_counter() - begun_s
        assert found is True, found

    def js(self, script: str, *values: Any) -> Any:
        """The result of a script, whose arguments are `values`."""
        return self.driver.execute_script(script, *values)

    def ask(self, call: str, *values: Any) -> Any:
        """The result of a call of `window.__trace`; as JSON, which can hold half a character."""
        return json.loads(
            self.js(f"return JSON.stringify(window.__trace.{call}(...arguments) ?? null)", *values)
        )

    def until(self, script: str, *values: Any) -> Any:
        """Wait until a script returns something that is true, and return that."""
        return WebDriverWait(self.driver, LIMIT_S, poll_frequency=0.02).until(
            lambda _: self.js(script, *values)
        )

    def colours(self, *, dark: bool) -> None:
        """Make the system's colours dark or light."""
        value = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.until("return matchMedia(`(prefers-color-scheme: ${arguments[0]})`).matches", value)

    def complaints(self) -> list[str]:
        """What the browser's console says of errors, and what the page's policy has forbidden."""
        return [*self.console(), *self.js("return window.violations")]

    def console(self) -> list[str]:
        """Errors in the browser's console, each told once."""
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # selenium has no types for it
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]
