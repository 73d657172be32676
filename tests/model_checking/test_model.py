"""The model of the protocols holds, breaks when a law is switched off, and decides what the code decides."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from actors import IllegalTransition, Lifecycle, State, Supervision, advance
from actors.lifecycle import TRANSITIONS, Event
from actors.supervision import Restart, on_child_exit
from tests.model_checking import check, tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

# A search takes seconds; what it may take on a machine that does much else is not what is tested here.
pytestmark = pytest.mark.timeout(2 * check.STEP_LIMIT_S)

Searches = dict[check.Variant, "Future[check.Result]"]


@pytest.fixture(scope="module")
def searches(request: pytest.FixtureRequest) -> Iterator[Searches]:
    """The searches of the tests that were chosen, two at a time; a test waits for its own."""
    assert not check.missing_tools(), check.missing_tools()
    chosen = [item for item in request.session.items if item.path == request.path]
    wanted = {item.callspec.params.get("variant") for item in chosen if hasattr(item, "callspec")}
    with ThreadPoolExecutor(2) as pool:
        started = {
            variant: pool.submit(check.run, variant) for variant in check.VARIANTS if variant in wanted
        }
        yield started
        pool.shutdown(wait=False, cancel_futures=True)


def _report(capsys: pytest.CaptureFixture[str], result: check.Result) -> None:
    with capsys.disabled():
        print(f"\n{check.row(result)}", end=" ")


@pytest.mark.parametrize("variant", check.AS_IT_IS, ids=lambda variant: variant.name)
def test_the_model_holds(
    variant: check.Variant, searches: Searches, capsys: pytest.CaptureFixture[str]
) -> None:
    result = searches[variant].result()
    _report(capsys, result)
    assert (result.outcome, result.where) == (check.HOLDS, "")
    assert result.states > 10_000, "a search of so few states has not seen the protocols"


@pytest.mark.parametrize("variant", check.LAWS_OFF, ids=lambda variant: variant.name)
def test_without_one_law_the_model_breaks(
    variant: check.Variant, searches: Searches, capsys: pytest.CaptureFixture[str]
) -> None:
    result = searches[variant].result()
    _report(capsys, result)
    assert result.outcome == variant.outcome
    assert variant.where in result.where


def test_the_model_has_the_tables_of_the_code() -> None:
    assert tables.TABLES.read_text(encoding="utf-8") == tables.render(), (
        "the code decides otherwise: run tests/model_checking/tables.py and see whether the model holds"
    )


def test_every_transition_of_the_code_stands_in_the_model_and_no_other() -> None:
    assert tables.written_moves() == dict(TRANSITIONS)


def test_the_model_would_notice_a_transition_that_is_missing() -> None:
    def without_second_epochs(now: Lifecycle, event: Event, epoch: int | None = None) -> Lifecycle:
        if now.state is State.EPOCH_DONE and event is Event.BEGIN:
            raise IllegalTransition("one epoch only")
        return advance(now, event, epoch)

    rows = tables.lifecycle_rows()
    fewer = tables.lifecycle_rows(without_second_epochs)
    assert [row for row in rows if row not in fewer] == [
        "  :: state == EPOCH_DONE && event == BEGIN && given > last -> state = RUNNING; last = given"
    ]


@pytest.mark.parametrize("max_restarts", range(tables.RESTARTS_MAX + 1))
def test_the_model_restarts_as_often_as_the_code(max_restarts: int) -> None:
    supervision = Supervision(max_restarts=max_restarts, window_s=60.0)
    restarts: list[float] = []
    while isinstance(on_child_exit("failed", restarts, 1.0, supervision), Restart):
        restarts.append(0.0)
    allowed = tables.written_restarts()[max_restarts]
    assert allowed == set(range(len(restarts)))


def test_each_law_that_is_switched_off_is_a_switch_of_the_model() -> None:
    model = "".join(path.read_text(encoding="utf-8") for path in check.FOLDER.glob("*.pml"))
    names = {switch.partition("=")[0] for variant in check.VARIANTS for switch in variant.switches.split()}
    assert [
        name
        for name in sorted(names)
        if f"ifdef {name}\n" not in model
        and f"ifndef {name}\n" not in model
        and f"defined({name})" not in model
    ] == []


def test_a_missing_checker_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FileNotFoundError, match=r"spin and gcc not found: .*apt-get install"):
        check.run(check.LAWS_OFF[0])


def test_a_search_that_was_cut_short_is_an_error() -> None:
    said = "error: max search depth too small\nState-vector 9 byte, depth reached 9, errors: 0\n"
    with pytest.raises(RuntimeError, match="not complete"):
        check.read_report(check.AS_IT_IS[0], said, 0.0)


def test_an_error_of_an_unknown_kind_is_an_error() -> None:
    said = "pan:1: something new (at depth 3)\nState-vector 9 byte, depth reached 9, errors: 1\n"
    with pytest.raises(RuntimeError, match="unknown kind"):
        check.read_report(check.AS_IT_IS[0], said, 0.0)
