"""How long the page of a long trace takes: to be written, to be loaded, to draw a frame, to tell a story.

usage: python tests/benchmarks/trace_page.py [--events N] [--frames N] [--page FILE]

Makes up a trace of a training, writes its page, and opens it in chromium without a window, which draws in
software. A frame is timed with its pixels: at seven depths of zoom from the whole run to a ten-thousandth of
it, moving along, and while zooming in. A story is the time from a click to the next frame. Frames and stories
are judged by the 95th percentile. Shows a table on standard error and prints one JSON object. Exit code 1
when a goal is missed, 2 for sizes that cannot be.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from actors.tracing import Trace, write_html  # noqa: E402 - found through the line above
from tests.benchmarks.cost.rounds import Goal, goals_table  # noqa: E402 - likewise
from tests.helpers.browser import TracePage, chromium  # noqa: E402 - likewise
from tests.helpers.synthetic_trace import synthetic_events  # noqa: E402 - likewise

DEPTHS: Final = (1.0, 0.5, 0.1, 0.02, 0.005, 0.001, 0.0001)

_FRAMES: Final = """
    const [depths, frames] = arguments;
    const { app, frame } = window.__trace;
    const found = {};
    const whole = app.view.full[1] - app.view.full[0];
    for (const depth of depths) {
        found[depth] = [];
        for (let k = 0; k < frames; k++) {
            const begin = whole * (0.1 + (0.8 * k) / frames);
            app.view.show(begin, begin + whole * depth);
            found[depth].push(frame());
        }
    }
    app.view.fit();
    found.zoom = [];
    for (let k = 0; k < frames; k++) {
        app.view.zoom(0.75, 500);
        found.zoom.push(frame());
    }
    return found;
"""
_STORIES: Final = """
    const { app, frame, select } = window.__trace;
    const found = [];
    for (let k = 0; k < arguments[0]; k++) {
        const begun = performance.now();
        select("messages", Math.floor((app.model.messages.count * (k + 0.5)) / arguments[0]));
        frame();
        found.push(performance.now() - begun);
    }
    return found;
"""


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def write(events: int, path: Path) -> tuple[float, int]:
    """Seconds to write the page, and the most memory in use, in bytes; the trace is made before."""
    trace = Trace.of(synthetic_events(events))
    begun_s = time.perf_counter()
    write_html(trace, path)
    return time.perf_counter() - begun_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(events: int, frames: int, path: Path, profile: Path) -> dict[str, Any]:
    """Everything that is printed."""
    write_s, rss_bytes = write(events, path)
    with chromium(profile) as driver:
        page = TracePage(driver, path)
        of_depths = page.js(_FRAMES, list(DEPTHS), frames)
        click_ms = page.js(_STORIES, frames)
    frame_ms = [value for values in of_depths.values() for value in values]
    goals = {
        "write_s": Goal(write_s, at_most=15.0),
        "load_s": Goal(page.loaded_s, at_most=5.0),
        "frame_ms": Goal(p95(frame_ms), min(frame_ms), at_most=50.0),
        "click_ms": Goal(p95(click_ms), min(click_ms), at_most=200.0),
    }
    return {
        "events": events,
        "page_bytes": path.stat().st_size,
        "peak_rss_bytes": rss_bytes,
        "frames_ms": {
            depth: {"median": round(statistics.median(values), 2), "p95": round(p95(values), 2)}
            for depth, values in of_depths.items()
        },
        "goals": {name: goal.report() for name, goal in goals.items()},
    }


def main() -> None:
    """Measure, show, judge."""
    parser = argparse.ArgumentParser(description="The page of a long trace.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--frames", type=int, default=20, help="at each depth")
    parser.add_argument("--page", type=Path, help="keep the page here")
    arguments = parser.parse_args()
    if arguments.events < 1000 or arguments.frames < 1:
        parser.error("there must be 1000 events and one frame at least")
    with tempfile.TemporaryDirectory() as name:
        path = arguments.page or Path(name) / "page.html"
        found = measure(arguments.events, arguments.frames, path, Path(name) / "profile")
    print(goals_table(found["goals"]), file=sys.stderr)
    print(json.dumps(found))
    sys.exit(0 if all(goal["reached"] for goal in found["goals"].values()) else 1)


if __name__ == "__main__":
    main()
