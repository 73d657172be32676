"""The timeline of a real training, in Perfetto's own page: what it has understood, and what it shows."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from actors.tracing import Trace, write_timeline
from tests.helpers.perfetto import Perfetto, perfetto
from tests.helpers.training import settings, trainer_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

SPHERES = 3
ON_ROWS = "FROM slice JOIN thread_track ON slice.track_id = thread_track.id JOIN thread USING (utid)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trace of a training and its timeline."""
    folder = tmp_path_factory.mktemp("perfetto")

    async def train() -> None:
        async with trainer_of(settings(spheres=SPHERES), trace=folder / "run.trace") as trainer:
            await trainer.fit()

    asyncio.run(train())
    write_timeline(Trace.open(folder / "run.trace"), folder / "timeline.json")
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Perfetto]:
    with perfetto(folder / "timeline.json", folder / "browser") as page:
        yield page


@pytest.fixture(scope="module")
def written(folder: Path) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = json.loads((folder / "timeline.json").read_text())["traceEvents"]
    return events


def test_perfetto_finds_no_fault_in_it(page: Perfetto) -> None:
    faults = page.rows("name, value", "FROM stats WHERE severity != 'info' AND value > 0")
    assert faults == []


def test_every_sphere_has_a_row_with_its_messages_and_one_with_its_jobs(page: Perfetto) -> None:
    spheres = [f"/root/sphere-{number}" for number in range(SPHERES)]
    found = page.rows("thread.name AS row, category, COUNT(*) AS n", f"{ON_ROWS} GROUP BY 1, 2")
    counts = {(row, category): n for row, category, n in found}
    for sphere in spheres:
        assert counts[sphere, "message"] > 0
        assert counts[f"{sphere} jobs", "job"] > 0
        assert (sphere, "job") not in counts
        assert (f"{sphere} jobs", "message") not in counts


def test_parents_stand_above_their_children_and_jobs_below_their_actor(page: Perfetto) -> None:
    rows = [name for _, name in page.rows("tid, name", "FROM thread WHERE tid > 0 ORDER BY tid")]
    expected = ["/root", "/root jobs"]
    for number in range(SPHERES):
        expected += [f"/root/sphere-{number}", f"/root/sphere-{number} jobs"]
    assert [row for row in rows if row in expected] == expected


def test_every_slice_of_the_file_is_there_as_long_as_it_was(
    page: Perfetto, written: list[dict[str, Any]]
) -> None:
    rows = {event["tid"]: event["args"]["name"] for event in written if event["name"] == "thread_name"}
    expected = Counter(
        (rows[event["tid"]], event["name"], round(event["dur"] * 1000))
        for event in written
        if event["ph"] == "X"
    )
    columns = "thread.name AS row, slice.name AS name, dur"
    found = Counter(page.rows(columns, f"{ON_ROWS} WHERE category NOT IN ('state', 'start', 'end')"))
    assert found == expected


def test_every_arrow_of_the_file_leads_from_a_send_to_its_handler_or_from_an_answer_back(
    page: Perfetto, written: list[dict[str, Any]]
) -> None:
    began = [event for event in written if event["ph"] == "s"]
    assert len(began) == page.rows("COUNT(*) AS n", "FROM flow")[0][0]
    ends = page.rows(
        "a.category AS out, b.category AS inn, a.ts AS from_ns, b.ts AS to_ns, a.args AS x, b.args AS y",
        """FROM (SELECT slice.*, EXTRACT_ARG(arg_set_id, 'args.message') AS args FROM slice) a
        JOIN flow ON flow.slice_out = a.id
        JOIN (SELECT slice.*, EXTRACT_ARG(arg_set_id, 'args.message') AS args FROM slice) b
        ON flow.slice_in = b.id""",
    )
    assert len(ends) == len(began)
    assert {end[:2] for end in ends} == {("send", "message"), ("reply", "reply")}
    for _, _, from_ns, to_ns, message_out, message_in in ends:
        assert from_ns < to_ns
        assert message_out == message_in


def test_messages_and_jobs_are_drawn_each_on_rows_and_in_colours_of_their_own(
    page: Perfetto, folder: Path
) -> None:
    rows = page.drawn(folder / "whole.png")
    expected = ["/root", "/root jobs"]
    for number in range(SPHERES):
        expected += [f"/root/sphere-{number}", f"/root/sphere-{number} jobs"]
    assert [row for row in rows if row in expected] == expected
    for number in range(SPHERES):
        messages = _colours(rows[f"/root/sphere-{number}"])
        jobs = _colours(rows[f"/root/sphere-{number} jobs"])
        assert messages - jobs
        assert jobs - messages


def test_arrows_are_drawn_where_a_part_is_chosen(page: Perfetto, folder: Path) -> None:
    computed = page.rows("ts, dur", "FROM slice WHERE name = 'compute_shards' ORDER BY ts")[:SPHERES]
    begin_ns, end_ns = computed[0][0], max(ts + dur for ts, dur in computed)
    around_ns = (end_ns - begin_ns) // 10
    page.zoom(begin_ns - around_ns, end_ns + around_ns)
    shown = page.drawn(folder / "step.png")
    page.arrows(shown=False)
    bare = page.drawn(folder / "step-without-arrows.png")
    for number in range(SPHERES):
        row = f"/root/sphere-{number}"
        assert np.any(shown[row] != bare[row]), f"no arrow touches {row}: see {folder}"


def _colours(pixels: np.ndarray[Any, Any]) -> set[tuple[int, ...]]:
    """Colours, not greys, that much is painted in."""
    found = Counter(map(tuple, np.rint(255 * pixels).astype(int).reshape(-1, 3).tolist()))
    return {colour for colour, count in found.items() if max(colour) - min(colour) > 40 and count > 50}
