"""The page of a trace, in a real browser, with hands: real clicks, real keys, and no network."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from actors.tracing import Trace, TraceEvent, read_trace, write_html
from tests.architecture.tree import ROOT
from tests.helpers.browser import TracePage, chromium
from tests.helpers.synthetic_trace import synthetic_events
from tests.helpers.trace_page_hands import (
    assert_names_stand_beside_their_rows,
    by_id,
    first_of,
    first_of_row,
    place,
    pointer,
    press,
    texts,
    zoom_to,
)
from tests.helpers.training import settings, trainer_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = pytest.mark.e2e

SPHERES = 3
MANY = 50_000
HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'>",
    "<!--<script>",
    "\"'`${window.hacked = 3}",
    "a\u0000b\u0007c\u202edesrever\u2028",
    "half a \ud800 character",
    "日本語 🦀 e\u0301",
    "@DATA@ @SCRIPT@ &lt;&amp;",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[TraceEvent], Path]:
    """The events of a real training, and their page."""
    folder = tmp_path_factory.mktemp("trained")

    async def train() -> None:
        async with trainer_of(settings(spheres=SPHERES), trace=folder / "run.trace") as trainer:
            await trainer.fit()

    asyncio.run(train())
    events = list(read_trace(folder / "run.trace"))
    write_html(Trace.of(events), folder / "run.html")
    return events, folder / "run.html"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, Path]:
    """A longer trace, which has troubles in it, and its page."""
    path = tmp_path_factory.mktemp("made_up") / "many.html"
    trace = Trace.of(synthetic_events(MANY))
    write_html(trace, path)
    return trace, path


@pytest.fixture
def page(browser: WebDriver, trained: tuple[list[TraceEvent], Path]) -> Iterator[TracePage]:
    found = TracePage(browser, trained[1])
    yield found
    assert found.complaints() == []


@pytest.fixture
def long_page(browser: WebDriver, made_up: tuple[Trace, Path]) -> Iterator[TracePage]:
    found = TracePage(browser, made_up[1])
    yield found
    assert found.complaints() == []


def sent(events: list[TraceEvent], type_: str, to: str = "") -> TraceEvent:
    """The first message of a type, to somebody or to anybody."""
    sends = (event for event in events if event.kind == "send" and event.type == type_)
    return next(event for event in sends if not to or event.detail == to)


def test_every_actor_has_a_row_of_its_own_parents_above_children(page: TracePage) -> None:
    rows = page.ask("rows")
    spheres = [f"/root/sphere-{index}" for index in range(SPHERES)]
    at = rows.index("/root")
    assert rows[at + 1 : at + 1 + SPHERES] == spheres
    assert rows[0] == "outside"
    shown = texts(page, "#rows .name")
    assert shown[at : at + 4] == ["/root", "sphere-0", "sphere-1", "sphere-2"]
    tops = [row["top"] for row in page.ask("drawn")["rows"]]
    assert tops == sorted(set(tops)), "no two rows are in the same place"
    assert_names_stand_beside_their_rows(page)
    levels = page.js("return [...document.querySelectorAll('.row')].map((row) => row.ariaLevel)")
    assert levels[at : at + 2] == ["1", "2"]


def test_more_actors_than_have_room_can_be_scrolled_to(browser: WebDriver, tmp_path: Path) -> None:
    events = []
    for number in range(1, 301):
        path = f"/a-{number:03}"
        events += [
            TraceEvent(number, "start", path, 1, 0, 0, "A", ""),
            TraceEvent(number + 0.1, "receive", path, 1, number, 0, "tag", "outside"),
            TraceEvent(number + 0.9, "done", path, 1, number, 0, "tag", ""),
        ]
    write_html(Trace.of(events), tmp_path / "page.html")
    page = TracePage(browser, tmp_path / "page.html")
    drawn = page.ask("drawn")["rows"]
    assert len(drawn) < 60, "only what is in view is drawn"
    assert len(texts(page, ".row")) <= len(drawn)
    by_id(page, "query").send_keys("#250", Keys.ENTER)
    page.ask("frame")
    names = page.ask("rows")
    drawn_names = [names[row["row"]] for row in page.ask("drawn")["rows"]]
    assert "/a-250" in drawn_names
    assert "/a-001" not in drawn_names
    assert_names_stand_beside_their_rows(page)
    press(page, Keys.ESCAPE)
    handler = first_of(page, "handlers", message=page.ask("messages").index(251))
    begin, end = page.ask("range")
    page.ask("show", begin, end + 2)
    pointer(page, *place(page, "handlers", handler)).click().perform()
    assert texts(page, "#story h2") == ["tag #251"]
    assert page.complaints() == []


def test_a_click_on_a_handler_tells_its_story_with_the_right_cause(
    page: TracePage, trained: tuple[list[TraceEvent], Path]
) -> None:
    events, _ = trained
    send = sent(events, "crystalline.compute_shards", "/root/sphere-1")
    number = page.ask("messages").index(send.msg_id)
    handler = first_of(page, "handlers", message=number)
    zoom_to(page, "handlers", handler)
    pointer(page, *place(page, "handlers", handler)).click().perform()
    assert texts(page, "#story h2") == [f"crystalline.compute_shards #{send.msg_id}"]
    assert texts(page, "#story .under") == ["an ask from /root to /root/sphere-1"]
    (nearest, *_), last = texts(page, "#story .chain .what"), texts(page, "#story .chain .link")[-1]
    assert nearest == f"crystalline.train_epoch #{send.cause_id}"
    assert last.startswith("outside")
    caused = texts(page, "#story ul .what")
    assert "job ShardWork.compute" in caused
    facts = dict(zip(texts(page, "#story dt"), texts(page, "#story dd"), strict=True))
    assert facts["sent"] == f"{send.time_s - events[0].time_s:.6f} s"
    assert facts["answer"].startswith("crystalline.shard_sums")
    assert by_id(page, "tab-story").get_attribute("aria-selected") == "true"
    assert texts(page, "#said") == [
        f"crystalline.compute_shards #{send.msg_id}, an ask from /root to /root/sphere-1"
    ]


def test_jobs_and_waits_have_lanes_of_their_own_that_can_be_clicked(page: TracePage) -> None:
    job = first_of(page, "jobs", name="ShardWork.compute")
    zoom_to(page, "jobs", job)
    x, y = place(page, "jobs", job)
    thing = page.ask("things", "jobs")[job]
    handler = first_of(page, "handlers", message=thing["cause"])
    assert place(page, "handlers", handler)[1] < y
    pointer(page, x, y).click().perform()
    assert texts(page, "#story h2") == ["job ShardWork.compute"]
    assert page.ask("selection") == {"kind": "jobs", "i": job}
    wait = first_of(page, "waits", target="job ShardWork.compute", cause=thing["cause"])
    assert place(page, "waits", wait)[1] > y
    pointer(page, *place(page, "waits", wait)).click().perform()
    assert texts(page, "#story h2") == ["wait for job ShardWork.compute"]
    page.driver.find_element("css selector", "#story .chain .link").click()
    assert page.ask("selection") == {"kind": "messages", "i": thing["cause"]}


def test_arrows_of_a_selected_message_lead_from_row_to_row_at_the_right_times(
    page: TracePage, trained: tuple[list[TraceEvent], Path]
) -> None:
    events, _ = trained
    begin_s = events[0].time_s
    send = sent(events, "crystalline.compute_shards", "/root/sphere-2")
    at = {event.kind: event.time_s - begin_s for event in events if event.msg_id == send.msg_id}
    page.ask("select", "messages", page.ask("messages").index(send.msg_id))
    page.ask("frame")
    drawn, names = page.ask("drawn"), page.ask("rows")
    arrows = {arrow["reply"]: arrow for arrow in drawn["arrows"] if arrow["why"] == "selected"}
    assert [names[arrows[False][side]["row"]] for side in ("from", "to")] == ["/root", "/root/sphere-2"]
    assert [names[arrows[True][side]["row"]] for side in ("from", "to")] == ["/root/sphere-2", "/root"]
    assert arrows[False]["from"]["time"] == pytest.approx(at["send"], abs=1e-9)
    assert arrows[False]["to"]["time"] == pytest.approx(at["receive"], abs=1e-9)
    assert arrows[True]["from"]["time"] == pytest.approx(at["reply"], abs=1e-9)
    assert arrows[True]["to"]["time"] >= at["reply"]
    begin, end = page.ask("range")
    width = by_id(page, "timeline").size["width"]
    boxes = {row["row"]: row for row in drawn["rows"]}
    for arrow in arrows.values():
        for side, x, y in zip(("from", "to"), arrow["x"], arrow["y"], strict=True):
            assert x == pytest.approx((arrow[side]["time"] - begin) / (end - begin) * width, abs=0.5)
            box = boxes[arrow[side]["row"]]
            assert box["top"] < y < box["top"] + box["height"]
    assert "cause" in {arrow["why"] for arrow in drawn["arrows"]}


def test_the_effects_of_a_message_are_highlighted_with_it(
    page: TracePage, trained: tuple[list[TraceEvent], Path]
) -> None:
    epoch = sent(trained[0], "crystalline.train_epoch", "/root")
    page.ask("select", "messages", page.ask("messages").index(epoch.msg_id))
    page.ask("frame")
    numbers = page.ask("messages")
    effects = {numbers[arrow["message"]] for arrow in page.ask("drawn")["arrows"] if arrow["why"] == "effect"}
    sends = [event.msg_id for event in trained[0] if event.kind == "send" and event.cause_id == epoch.msg_id]
    assert effects == set(sends[:200])


def test_search_finds_numbers_types_and_actors_and_steps_through_the_hits(
    page: TracePage, trained: tuple[list[TraceEvent], Path]
) -> None:
    send = sent(trained[0], "crystalline.reduce_slices")
    press(page, "/", f"#{send.msg_id}", Keys.ENTER)
    assert texts(page, "#story h2") == [f"crystalline.reduce_slices #{send.msg_id}"]
    assert texts(page, "#hits") == ["1 of 1"]
    query = by_id(page, "query")
    query.clear()
    query.send_keys("crystalline.APPLY", Keys.ENTER)
    applied = [e for e in trained[0] if e.kind == "send" and e.type == "crystalline.apply_slices"]
    assert texts(page, "#hits") == [f"1 of {len(applied)}"]
    assert texts(page, "#story h2") == [f"crystalline.apply_slices #{applied[0].msg_id}"]
    query.send_keys(Keys.ENTER)
    assert texts(page, "#story h2") == [f"crystalline.apply_slices #{applied[1].msg_id}"]
    query.send_keys(Keys.SHIFT, Keys.ENTER)
    assert texts(page, "#hits") == [f"1 of {len(applied)}"]
    by_id(page, "previous").click()
    assert texts(page, "#hits") == [f"{len(applied)} of {len(applied)}"]
    query.clear()
    query.send_keys("sphere-2", Keys.ENTER)
    assert texts(page, "#story h2") == ["/root/sphere-2"]
    query.clear()
    query.send_keys("no such thing", Keys.ENTER)
    assert texts(page, "#hits") == ["nothing found"]


def test_a_filter_hides_actors_types_and_kinds(page: TracePage) -> None:
    every = page.ask("rows")
    jobs = first_of(page, "jobs", name="ShardWork.compute")
    by_id(page, "filter-actors").send_keys("sphere-1, outside")
    page.until("return window.__trace.rows().every((name) => /sphere-1|outside/.test(name))")
    assert "/root/sphere-1" in page.ask("rows")
    by_id(page, "filter-clear").click()
    page.until("return window.__trace.rows().length === arguments[0]", len(every))
    page.ask("frame")
    before = page.ask("drawn")
    by_id(page, "kind-jobs").click()
    page.ask("frame")
    count = "return window.__trace.app.lanes.jobs.flat().reduce((sum, track) => sum + track.items.length, 0)"
    assert page.js(count) == 0
    after = page.ask("drawn")
    assert after["rects"] + after["pixels"] < before["rects"] + before["pixels"]
    by_id(page, "kind-jobs").click()
    assert page.js(count) == len(page.ask("things", "jobs"))
    by_id(page, "filter-types").send_keys("ShardWork.reduce")
    reduced = sum(job["name"] == "ShardWork.reduce" for job in page.ask("things", "jobs"))
    page.until(count.replace("return", "return arguments[0] ===", 1), reduced)
    zoom_to(page, "jobs", jobs)
    x, y = place(page, "jobs", first_of(page, "jobs", name="ShardWork.compute"))
    pointer(page, x, y).click().perform()
    assert page.ask("selection") != {"kind": "jobs", "i": jobs}, "what is filtered away cannot be clicked"


def test_a_subtree_can_be_folded_and_opens_for_what_is_found_in_it(page: TracePage) -> None:
    root = first_of_row(page, "/root")
    page.driver.find_element("css selector", f".row[data-row='{root}'] .fold").click()
    assert not [name for name in page.ask("rows") if name.startswith("/root/")]
    page.ask("frame")
    row = page.driver.find_element("css selector", f".row[data-row='{root}']")
    assert row.get_attribute("aria-expanded") == "false"
    page.js("arguments[0].focus()", row)
    press(page, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ENTER)
    assert texts(page, "#story h2") == ["/root/sphere-0"]
    press(page, Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert not [name for name in page.ask("rows") if name.startswith("/root/")]
    page.ask("select", "rows", first_of_row(page, "/root/sphere-1"))
    assert "/root/sphere-1" in page.ask("rows")


def test_wheel_drag_double_click_and_keys_move_the_view(page: TracePage) -> None:
    full = page.ask("range")
    canvas = by_id(page, "timeline")
    x, y = 300, 200

    def time_at(range_: list[float]) -> float:
        return range_[0] + x / float(canvas.size["width"]) * (range_[1] - range_[0])

    pointer(page, x, y).perform()
    page.driver.execute_cdp_cmd(
        "Input.dispatchMouseEvent",
        {
            "type": "mouseWheel",
            "x": canvas.location["x"] + x,
            "y": canvas.location["y"] + y,
            "deltaX": 0,
            "deltaY": -600,
        },
    )
    page.until("const [a, b] = window.__trace.range(); return b - a < arguments[0]", full[1] - full[0])
    near = page.ask("range")
    assert time_at(near) == pytest.approx(time_at(full), rel=0.02), "what is under the pointer stays there"
    pointer(page, x, y).click_and_hold().move_by_offset(-100, 0).release().perform()
    moved = page.ask("range")
    pixel_s = (near[1] - near[0]) / canvas.size["width"]
    assert moved[0] - near[0] == pytest.approx(100 * pixel_s, rel=0.05)
    assert page.ask("selection") is None, "a drag is no click"
    pointer(page, x, y).double_click().perform()
    assert page.ask("range") == pytest.approx(full)
    for keys, wider in (("w", False), ("+", False), ("s", True), ("-", True)):
        before = page.ask("range")
        press(page, keys)
        after = page.ask("range")
        assert (after[1] - after[0] > before[1] - before[0]) is wider, keys
    minimap = by_id(page, "minimap")
    press(page, "w", "w", "w", "w", "w", "w")
    across = ActionChains(page.driver, duration=0).move_to_element_with_offset(
        minimap, round(minimap.size["width"] / 4), 0
    )
    across.click().perform()
    begin, end = page.ask("range")
    assert (begin + end) / 2 == pytest.approx(full[0] + 0.75 * (full[1] - full[0]), rel=0.01)
    press(page, "f", "w", "w", "d")
    right = page.ask("range")
    press(page, "a")
    assert page.ask("range")[0] < right[0]
    press(page, Keys.ESCAPE)
    for fingers in ((200, 300), (150, 350), (100, 400)):
        page.driver.execute_cdp_cmd(
            "Input.dispatchTouchEvent",
            {
                "type": "touchStart" if fingers == (200, 300) else "touchMove",
                "touchPoints": [
                    {"x": canvas.location["x"] + x, "y": canvas.location["y"] + 100, "id": number}
                    for number, x in enumerate(fingers)
                ],
            },
        )
    page.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    pinched = page.ask("range")
    assert (pinched[1] - pinched[0]) * 3 == pytest.approx(right[1] - right[0], rel=0.02)
    assert page.ask("selection") is None, "nor are two fingers"
    press(page, "f")
    assert page.ask("range") == pytest.approx(full)


def test_the_timeline_can_be_used_with_keys_alone(page: TracePage) -> None:
    page.js("document.getElementById('filter-clear').focus()")
    for _ in range(60):
        if page.js("return document.activeElement.id") == "timeline":
            break
        press(page, Keys.TAB)
    assert page.js("return document.activeElement.id") == "timeline"
    outline = page.js("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "one sees where the focus is"
    seen = []
    for _ in range(len(page.ask("rows"))):
        press(page, Keys.ARROW_DOWN)
        seen += texts(page, "#story h2")
    assert "/root/sphere-1" in seen
    press(page, Keys.ARROW_UP, Keys.ARROW_RIGHT)
    first = page.ask("selection")
    assert first["kind"] == "messages"
    press(page, Keys.ARROW_RIGHT)
    second = page.ask("selection")
    press(page, Keys.ARROW_LEFT)
    assert second != first == page.ask("selection")
    press(page, Keys.ENTER)
    assert page.js("return document.activeElement.closest('#story') !== null")
    cause = page.ask("things", "messages")[first["i"]]["cause"]
    if cause >= 0:
        press(page, Keys.ENTER)
        assert page.ask("selection") == {"kind": "messages", "i": cause}
    assert page.js("return document.activeElement.closest('#story') !== null"), "keys go on from there"
    press(page, "?")
    assert by_id(page, "help").is_displayed()
    press(page, Keys.ESCAPE)
    page.js("document.getElementById('timeline').focus()")
    press(page, Keys.ESCAPE)
    assert page.ask("selection") is None


def test_a_link_leads_to_the_same_moment(page: TracePage, trained: tuple[list[TraceEvent], Path]) -> None:
    send = sent(trained[0], "crystalline.apply_slices")
    page.ask("select", "messages", page.ask("messages").index(send.msg_id))
    press(page, "w", "d")
    range_ = page.ask("range")
    page.until("return location.hash.includes(arguments[0])", f"s=messages:{send.msg_id}")
    address = page.until(
        "return location.hash.startsWith(arguments[0]) && location.hash", f"#t={range_[0]:.6f}"[:9]
    )
    other = TracePage(page.driver, trained[1], address.lstrip("#"))
    assert other.ask("range") == pytest.approx(range_, abs=1e-8)
    assert texts(other, "#story h2") == [f"crystalline.apply_slices #{send.msg_id}"]
    nonsense = TracePage(page.driver, trained[1], "t=x,1e999&s=messages:nothing&%ff=<b>")
    assert nonsense.ask("selection") is None
    assert nonsense.complaints() == []


def test_the_run_is_summed_up_and_its_troubles_lead_to_where_they_are(
    long_page: TracePage, made_up: tuple[Trace, Path]
) -> None:
    page = long_page
    facts = dict(zip(texts(page, "#run dt"), texts(page, "#run dd"), strict=True))
    events = list(made_up[0])
    errors = [event for event in events if event.kind == "error"]
    assert facts["events"] == f"{MANY:,}"
    assert facts["errors"] == str(len(errors))
    assert facts["restarts"] == str(sum(event.kind == "restart" for event in events))
    first = page.driver.find_element("css selector", "#troubles .link")
    assert first.text.startswith("error in a handler")
    assert errors[0].detail[:20] in first.text
    first.click()
    assert texts(page, "#story h2") == ["error"]
    begin, end = page.ask("range")
    assert begin <= errors[0].time_s - events[0].time_s <= end
    page.ask("frame")
    mark = page.ask("selection")["i"]
    pointer(page, *place(page, "marks", mark)).click().perform()
    assert page.ask("selection") == {"kind": "marks", "i": mark}, "marks can be clicked"
    total = int(texts(page, "#hits")[0].rpartition(" ")[2].replace(",", ""))
    page.js("document.getElementById('timeline').focus()")
    for _ in range(total):
        press(page, "n")
    assert page.ask("selection")["i"] == mark, "round and round"


def test_hostile_names_are_text_and_nothing_else(browser: WebDriver, tmp_path: Path) -> None:
    events = []
    for number, text in enumerate(HOSTILE, 1):
        path = f"/{text}"
        events += [
            TraceEvent(number, "start", path, 1, 0, 0, text, text),
            TraceEvent(number + 0.1, "send", path, 1, number, 0, text, path, size=5),
            TraceEvent(number + 0.2, "receive", path, 1, number, 0, text, path),
            TraceEvent(number + 0.3, "error", path, 1, number, number, text, text),
            TraceEvent(number + 0.4, "job", path, 1, 0, number, text, ""),
            TraceEvent(number + 0.5, "drop", path, 1, number, number, text, text),
            TraceEvent(number + 0.6, "wait", path, 1, 0, number, text, text),
        ]
    write_html(Trace.of(events), tmp_path / "<b>&'\".html")
    page = TracePage(browser, tmp_path / "<b>&'\".html")
    assert page.js("return document.title") == "Trace: <b>&'\""
    assert sorted(page.ask("rows")) == sorted(f"/{text}" for text in HOSTILE)
    for kind in ("messages", "jobs", "waits", "marks", "rows"):
        for i in range(len(page.ask("things", kind))):
            page.ask("select", kind, i)
            page.ask("frame")
            assert texts(page, "#story h2") != [""]
    page.ask("select", "messages", 0)
    assert texts(page, "#story h2") == [f"{HOSTILE[0]} #1"]
    by_id(page, "query").send_keys("half a", Keys.ENTER)
    assert texts(page, "#hits") != ["nothing found"]
    for x in range(20, 600, 90):
        pointer(page, x, 60).perform()  # the tip
    assert page.js("return window.hacked") is None
    assert page.js("return document.querySelectorAll('img, b, iframe').length") == 0
    page.driver.save_screenshot(str(tmp_path / "hostile.png"))
    assert page.complaints() == []


def test_the_page_neither_uses_a_network_nor_may(page: TracePage) -> None:
    assert page.js("return performance.getEntriesByType('resource').map((entry) => entry.name)") == []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        script = """
            const [url, done] = arguments;
            fetch(url).then(() => done("came through"), (error) => done(String(error)));
        """
        assert "TypeError" in page.driver.execute_async_script(script, url)
        page.until("return window.violations.length > 0")
        assert page.js("return window.violations.splice(0)") == [f"connect-src: {url}"]
        with pytest.raises(BlockingIOError):
            server.accept()
    page.console()  # which complains of the fetch


def test_an_older_browser_reads_the_same(
    browser: WebDriver, page: TracePage, trained: tuple[list[TraceEvent], Path]
) -> None:
    newest = page.ask("things", "messages")
    source = {"source": "delete Uint8Array.fromBase64"}
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)
    try:
        older = TracePage(browser, trained[1])
        assert older.js("return 'fromBase64' in Uint8Array") is False
        assert older.ask("things", "messages") == newest
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_screenshots_in_light_and_dark(long_page: TracePage, tmp_path: Path) -> None:
    page = long_page
    ground = """
        const canvas = document.getElementById("timeline");
        const pixel = canvas.getContext("2d").getImageData(canvas.width - 3, canvas.height - 3, 1, 1).data;
        return [...pixel].slice(0, 3)
    """
    grounds = {}
    for dark in (False, True):
        page.colours(dark=dark)
        page.js("document.getElementById('fit').click()")
        page.until(
            "return window.__trace.app.theme.ground === arguments[0]", "#15181d" if dark else "#ffffff"
        )
        page.ask("frame")
        grounds[dark] = page.js(ground)
        name = "dark" if dark else "light"
        page.driver.save_screenshot(str(tmp_path / f"run-{name}.png"))
        page.ask("select", "messages", 900)
        page.ask("frame")
        page.driver.save_screenshot(str(tmp_path / f"story-{name}.png"))
    assert min(grounds[False]) > 200
    assert max(grounds[True]) < 60
    assert all(path.stat().st_size > 20_000 for path in tmp_path.glob("*.png"))
    page.colours(dark=False)


def test_what_a_frame_draws_depends_on_pixels_not_on_events(long_page: TracePage) -> None:
    page = long_page
    rows, width = len(page.ask("rows")), by_id(page, "timeline").size["width"]
    begin, end = page.ask("range")
    tracks = 1 + 2 + 12 + 12  # of states, handlers, jobs, waits
    for part in (1.0, 0.3, 0.03, 0.003, 0.0003):
        middle, half = (begin + end) / 2, (end - begin) / 2 * part
        page.ask("show", middle - half, middle + half)
        drawn = page.ask("drawn")
        assert drawn["rects"] + drawn["pixels"] > 0
        # Each pixel of a track is drawn a few times at most: by what is in it, and what reaches into it.
        assert drawn["rects"] + drawn["pixels"] <= 3 * rows * tracks * width
        assert drawn["marks"] <= rows * 3 * (width / 4 + 1)
        assert len(drawn["arrows"]) <= 2 * (400 + 200)
    looked = page.js("""
        let looked = 0;
        const { painter, lanes, view } = window.__trace.app;
        view.fit();
        const pixel = painter.pixel;
        painter.pixel = function (...values) { looked++; return pixel.apply(this, values); };
        window.__trace.frame();
        painter.pixel = pixel;
        return looked;
    """)
    assert looked == page.ask("drawn")["pixels"]
    assert looked < MANY, "all events are in view, and less is drawn"


def test_the_benchmark_runs() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/benchmarks/trace_page.py"), "--events", "4000", "--frames", "3"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["events"] == 4000
    goals = found["goals"]
    assert list(goals) == ["write_s", "load_s", "frame_ms", "click_ms"]
    assert all(math.isfinite(goal["figure"]) and goal["figure"] > 0 for goal in goals.values())
    assert done.returncode == int(any(not goal["reached"] for goal in goals.values()))
