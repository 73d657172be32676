"""Hands and eyes of a person at the page of a trace: press keys, point at things, read what stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.action_chains import ActionChains

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement

    from tests.helpers.browser import TracePage

__all__ = [
    "assert_names_stand_beside_their_rows",
    "by_id",
    "first_of",
    "first_of_row",
    "place",
    "pointer",
    "press",
    "texts",
    "zoom_to",
]


def by_id(page: TracePage, name: str) -> WebElement:
    return page.driver.find_element("id", name)


def texts(page: TracePage, selector: str) -> list[str]:
    found: list[str] = page.js(
        "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent.trim())", selector
    )
    return found


def press(page: TracePage, *keys: str) -> None:
    ActionChains(page.driver).send_keys(*keys).perform()


def pointer(page: TracePage, x: float, y: float) -> ActionChains:
    """A chain that begins with the pointer at a place of the timeline."""
    canvas = by_id(page, "timeline")
    size = canvas.size
    return ActionChains(page.driver, duration=0).move_to_element_with_offset(
        canvas, round(x - size["width"] / 2), round(y - size["height"] / 2)
    )


def place(page: TracePage, kind: str, i: int) -> tuple[float, float]:
    """Where the middle of a thing is, which must be in view."""
    page.ask("frame")
    found = page.ask("place", kind, i)
    assert found is not None, (kind, i, page.ask("range"))
    return found["x"], found["y"]


def first_of(page: TracePage, kind: str, **wanted: object) -> int:
    """Index of the first thing that has these values."""
    things = page.ask("things", kind)
    return next(i for i, thing in enumerate(things) if wanted.items() <= thing.items())


def zoom_to(page: TracePage, kind: str, i: int) -> None:
    """Show one thing, with as much again to both of its sides."""
    thing = page.ask("things", kind)[i]
    begin, end = thing.get("asked", thing["begin"]), thing["end"]
    length = max(end - begin, 1e-6)
    page.ask("show", begin - length, end + length)


def first_of_row(page: TracePage, name: str) -> int:
    found: int = page.js("return window.__trace.app.model.names.indexOf(arguments[0])", name)
    return found


def assert_names_stand_beside_their_rows(page: TracePage) -> None:
    tops = page.js("""
        const top = document.getElementById("timeline").getBoundingClientRect().top;
        return window.__trace.drawn().rows.map(({ row, top: drawn }) =>
            document.querySelector(`.row[data-row="${row}"]`).getBoundingClientRect().top - top - drawn)
    """)
    assert tops
    assert tops == pytest.approx([0.0] * len(tops), abs=0.6)
