"""Law 8 and the lifecycle: epochs begin and end together, again and again, whatever happens below."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors import (
    Actor,
    ActorDown,
    ActorRef,
    ActorSystem,
    AskFailed,
    Context,
    Expired,
    IllegalTransition,
    Request,
    State,
    message,
    on,
)
from tests.helpers.cast import Cling, Echo, Fail, Note, Performer, Sleep, supervised
from tests.helpers.virtual_loop import run_virtual, settle, virtual

if TYPE_CHECKING:
    from actors import Lifecycle
    from actors.system import TreeNode


@message("epochs.run")
class RunEpoch(Request[Note]):
    """Asked of the lead: run this epoch, and do `what` in it."""

    epoch: int
    what: str = "work"
    timeout_s: float = 10.0


@message("epochs.work")
class DoWork(Request[Note]):
    """Asked of a member in an epoch."""

    what: str


class Member(Performer):
    """Works in epochs only. With `width` and `depth` it has members of its own."""

    def __init__(self, log: list[str], width: int = 0, depth: int = 0, max_restarts: int = 3) -> None:
        super().__init__(log)
        self.width = width
        self.depth = depth
        self.max_restarts = max_restarts

    async def on_start(self, ctx: Context) -> None:
        for number in range(self.width if self.depth else 0):
            await ctx.spawn(
                Member,
                self.log,
                self.width,
                self.depth - 1,
                self.max_restarts,
                name=f"m{number}",
                supervision=supervised(self.max_restarts) if self.max_restarts else None,
            )

    @on(DoWork, when=State.RUNNING)
    async def work(self, msg: DoWork, ctx: Context) -> Note:
        if msg.what == "die" and ctx.incarnation == 1:
            raise LookupError("killed in the middle")
        for outcome in await ctx.ask_all([(child, msg) for child in ctx.children]):
            assert isinstance(outcome, Note), outcome
        self.log.append(f"{ctx.self_ref} worked in {ctx.current_epoch}")
        return Note(str(ctx.current_epoch))


class Lead(Member):
    """Runs epochs over its members."""

    @on(RunEpoch)
    async def run(self, msg: RunEpoch, ctx: Context) -> Note:
        async with ctx.epoch(msg.epoch, timeout_s=msg.timeout_s):
            if msg.what == "raise":
                raise LookupError("in the body")
            if msg.what == "sleep":
                await asyncio.sleep(100)
            if msg.what == "nothing":
                return Note("nobody was asked")
            await self._work(msg, ctx)
        return Note(f"{ctx.state.value}({ctx.current_epoch})")

    async def _work(self, msg: RunEpoch, ctx: Context) -> None:
        """Ask only the first member, unless all are to work; ask again whoever is restarted."""
        members = ctx.children if msg.what in {"work", "late"} else ctx.children[:1]
        for member in members:
            for _ in range(3):
                try:
                    await ctx.ask(member, DoWork(msg.what), timeout_s=5)
                    break
                except (ActorDown, AskFailed) as error:
                    self.log.append(f"asked again after {type(error).__name__}")
                    await asyncio.sleep(1)
        if msg.what == "late":
            await asyncio.sleep(60)


def _states(nodes: tuple[TreeNode, ...]) -> dict[str, str]:
    states = {}
    for node in nodes:
        states[node.path] = node.state
        states |= _states(node.children)
    return states


def _uid_of(system: ActorSystem, path: str) -> int:
    assert system._host is not None
    return system._host.cells[path].ref.uid


async def _lead(
    system: ActorSystem, log: list[str], *, width: int = 2, depth: int = 1, max_restarts: int = 3
) -> ActorRef[Lead]:
    return await system.spawn(
        Lead, log, width, depth, max_restarts, name="lead", supervision=supervised(), handler_timeout_s=5
    )


@virtual
async def test_never_again_root_and_sphere_ran_one_epoch_and_returned() -> None:
    """The second epoch waited for ever; here any number of epochs follow one another."""
    async with ActorSystem() as system:
        log: list[str] = []
        lead = await _lead(system, log)
        for epoch in range(1, 6):
            answer = await system.ask(lead, RunEpoch(epoch), timeout_s=20)
            assert answer.text == f"epoch_done({epoch})"
            assert set(_states(system.tree()).values()) == {f"epoch_done({epoch})"}
        assert len(log) == 10


@pytest.mark.parametrize("width", [1, 2, 4, 13])
def test_never_again_one_worker_is_the_same_code_as_many(width: int) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            lead = await _lead(system, log, width=width)
            for epoch in (1, 2):
                await system.ask(lead, RunEpoch(epoch), timeout_s=20)
            assert sorted(log) == sorted(
                f"/lead/m{number} worked in {epoch}" for epoch in (1, 2) for number in range(width)
            )

    scenario()


@virtual
async def test_an_epoch_without_children_is_an_epoch() -> None:
    async with ActorSystem() as system:
        lead = await _lead(system, [], width=0)
        for epoch in (1, 2):
            assert (await system.ask(lead, RunEpoch(epoch), timeout_s=5)).text == f"epoch_done({epoch})"


@virtual
async def test_three_levels_begin_and_end_together() -> None:
    async with ActorSystem(trace=True) as system:
        log: list[str] = []
        lead = await _lead(system, log, width=2, depth=3)
        states = _states(system.tree())
        assert len(states) == 1 + 2 + 4 + 8
        for epoch in (1, 2, 3):
            await system.ask(lead, RunEpoch(epoch), timeout_s=20)
            assert set(_states(system.tree()).values()) == {f"epoch_done({epoch})"}
        assert len(log) == 3 * 14
        assert system.tracer is not None
        moves = [(e.actor, e.type) for e in system.tracer.events() if e.kind == "state"]
        for path in states:
            begun, done = moves.index((path, "running(2)")), moves.index((path, "epoch_done(2)"))
            parent = path.rpartition("/")[0]
            if parent:
                assert moves.index((parent, "running(2)")) < begun, "a parent begins first"
                assert done < moves.index((parent, "epoch_done(2)")), "and ends last"


@virtual
async def test_never_again_a_control_sphere_waited_for_all_its_children_though_only_some_had_work() -> None:
    """A parent asks, and waits for what it asked: children without work hold nobody up."""
    async with ActorSystem() as system:
        log: list[str] = []
        lead = await _lead(system, log, width=4)
        assert (await system.ask(lead, RunEpoch(1, "only the first"), timeout_s=20)).text == "epoch_done(1)"
        assert log == ["/lead/m0 worked in 1"]
        assert (await system.ask(lead, RunEpoch(2, "nothing"), timeout_s=20)).text == "nobody was asked"
        assert set(_states(system.tree()).values()) == {"epoch_done(2)"}
        assert asyncio.get_running_loop().time() == 0


@virtual
async def test_never_again_complete_meant_taken_from_the_queue() -> None:
    """An epoch is over when the work is done and not when it was handed out: a reply is the completion."""

    class Slow(Lead):
        @on(RunEpoch)
        async def run(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(msg.epoch, timeout_s=msg.timeout_s):
                for child in ctx.children:
                    ctx.tell(child, Sleep(3))
            return Note("over")

    async with ActorSystem() as system:
        log: list[str] = []
        lead = await system.spawn(Slow, log, 2, 1, name="lead")
        await system.ask(lead, RunEpoch(1), timeout_s=20)
        assert log.count("slept") == 2
        assert asyncio.get_running_loop().time() == 3.0


@virtual
async def test_never_again_no_barriers_a_child_that_never_arrives_fails_the_epoch_by_name() -> None:
    """A barrier counted a thread which never arrived; here the wait for it has an end, and names it."""

    class Stalled(Lead):
        @on(RunEpoch)
        async def run(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(msg.epoch, timeout_s=msg.timeout_s):
                if msg.what == "stall":
                    ctx.tell(ctx.children[1], Sleep(50))
            return Note("over")

    async with ActorSystem() as system:
        lead = await system.spawn(Stalled, [], 2, 1, name="lead", supervision=supervised())
        with pytest.raises(
            AskFailed, match=r"epoch 1 did not end in /lead/m1: .*reply to actors\.finish_epoch"
        ):
            await system.ask(lead, RunEpoch(1, "stall", timeout_s=4), timeout_s=20)
        assert asyncio.get_running_loop().time() == 4.0
        await asyncio.sleep(20)
        assert (await system.ask(lead, RunEpoch(2), timeout_s=20)).text == "over"


@virtual
async def test_never_again_workers_left_when_they_saw_done() -> None:
    """Nobody started them again; a child that is killed in the middle of an epoch is back in it."""
    async with ActorSystem() as system:
        log: list[str] = []
        lead = await _lead(system, log, width=2)
        assert (await system.ask(lead, RunEpoch(1, "die"), timeout_s=20)).text == "epoch_done(1)"
        assert log[:3] == [
            "failure /lead/m0: LookupError",
            "asked again after AskFailed",
            "/lead/m0 worked in 1",
        ]
        assert _states(system.tree())["/lead/m0"] == "epoch_done(1)"
        assert (await system.ask(lead, RunEpoch(2), timeout_s=20)).text == "epoch_done(2)"


@virtual
async def test_a_child_that_is_down_at_the_end_joins_and_is_accounted_for() -> None:
    class Killer(Lead):
        @on(RunEpoch)
        async def run(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(msg.epoch, timeout_s=msg.timeout_s):
                ctx.tell(ctx.children[0], Fail())
            return Note("over")

    async with ActorSystem() as system:
        lead = await system.spawn(Killer, [], 2, 1, name="lead")
        assert (await system.ask(lead, RunEpoch(1), timeout_s=20)).text == "over"
        assert set(_states(system.tree()).values()) == {"epoch_done(1)"}
        assert system.tree()[0].children[0].incarnation == 2


@pytest.mark.parametrize("max_restarts", [0, 3])
def test_a_child_that_goes_down_while_it_is_waited_for_is_accounted_for(max_restarts: int) -> None:
    class Tiring(Lead):
        @on(RunEpoch)
        async def run(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(msg.epoch, timeout_s=msg.timeout_s):
                ctx.tell(ctx.children[0], Sleep(2))
                ctx.tell(ctx.children[0], Fail())
            return Note("over")

    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            lead = await system.spawn(Tiring, [], 2, 1, max_restarts, name="lead")
            assert (await system.ask(lead, RunEpoch(1), timeout_s=20)).text == "over"
            states = _states(system.tree())
            assert set(states.values()) == {"epoch_done(1)"}
            assert ("/lead/m0" in states) == (max_restarts > 0)

    scenario()


@virtual
async def test_a_child_that_cannot_begin_in_time_fails_the_epoch_by_name() -> None:
    async with ActorSystem() as system:
        lead = await _lead(system, [])
        system.tell(system._known().cells["/lead/m1"].ref, Sleep(20))
        await settle()
        with pytest.raises(AskFailed, match="epoch 1 could not begin in /lead/m1"):
            await system.ask(lead, RunEpoch(1, timeout_s=4), timeout_s=20)
        await asyncio.sleep(50)
        assert _states(system.tree())["/lead/m0"] in {"idle", "epoch_done(1)"}
        assert (await system.ask(lead, RunEpoch(2), timeout_s=20)).text == "epoch_done(2)"


@virtual
async def test_a_child_that_is_lost_for_good_does_not_hold_the_epoch_up() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        lead = await _lead(system, log, width=2, max_restarts=0)
        assert (await system.ask(lead, RunEpoch(1, "die"), timeout_s=20)).text == "epoch_done(1)"
        assert _states(system.tree()) == {"/lead": "epoch_done(1)", "/lead/m1": "epoch_done(1)"}
        assert (await system.ask(lead, RunEpoch(2), timeout_s=20)).text == "epoch_done(2)"


@virtual
async def test_a_control_sphere_that_is_restarted_has_the_whole_epoch_to_finish() -> None:
    """Its own children's part must not be bound by the deadline of its start."""
    async with ActorSystem() as system:
        log: list[str] = []
        lead = await _lead(system, log, width=1, depth=2)
        middle = system._known().cells["/lead/m0"]
        running = asyncio.create_task(system.ask(lead, RunEpoch(1, "late", timeout_s=100), timeout_s=200))
        await asyncio.sleep(1)
        system.tell(middle.ref, Fail())
        assert (await running).text == "epoch_done(1)"
        assert middle.incarnation == 2
        assert set(_states(system.tree()).values()) == {"epoch_done(1)"}


@virtual
async def test_a_body_that_raises_fails_the_epoch_everywhere_and_the_next_one_works() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        lead = await system.spawn(Careful, log, 2, 2, name="lead")
        answer = await system.ask(lead, RunEpoch(1, "raise"), timeout_s=20)
        assert answer.text == "failed with LookupError"
        await settle()
        host = system._known()
        failures = {path: cell.lifecycle.failure for path, cell in host.cells.items()}
        assert set(failures.values()) == {"LookupError: in the body"}
        assert set(_states(system.tree()).values()) == {"epoch_done(1)"}
        assert (await system.ask(lead, RunEpoch(2), timeout_s=20)).text == "epoch_done(2)"
        assert {cell.lifecycle.failure for cell in host.cells.values()} == {None}


class Careful(Lead):
    """Lives on when an epoch has failed."""

    @on(RunEpoch)
    async def run(self, msg: RunEpoch, ctx: Context) -> Note:
        try:
            return await super().run(msg, ctx)
        except (LookupError, IllegalTransition) as error:
            return Note(f"failed with {type(error).__name__}")


@virtual
async def test_an_epoch_whose_asker_gives_up_has_failed_and_the_next_one_works() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        lead = await _lead(system, log)
        with pytest.raises(Expired):
            await system.ask(lead, RunEpoch(1, "sleep", timeout_s=50), timeout_s=3)
        await settle()
        assert system._known().cells["/lead"].lifecycle.failure is not None
        assert set(_states(system.tree()).values()) == {"epoch_done(1)"}
        assert (await system.ask(lead, RunEpoch(2), timeout_s=20)).text == "epoch_done(2)"


@virtual
async def test_epochs_only_grow() -> None:
    async with ActorSystem() as system:
        lead = await system.spawn(Careful, [], 1, 1, name="lead")
        for epoch, answer in [
            (3, "epoch_done(3)"),
            (3, "failed with IllegalTransition"),
            (2, "failed with IllegalTransition"),
            (0, "failed with IllegalTransition"),
            (7, "epoch_done(7)"),
        ]:
            assert (await system.ask(lead, RunEpoch(epoch), timeout_s=20)).text == answer
        assert set(_states(system.tree()).values()) == {"epoch_done(7)"}


@virtual
async def test_only_one_epoch_runs_at_a_time() -> None:
    class Nested(Actor):
        @on(RunEpoch)
        async def run(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(1, timeout_s=5):
                with pytest.raises(IllegalTransition, match=r"in state running\(1\) there is no begin"):
                    async with ctx.epoch(2, timeout_s=5):
                        pass
                assert ctx.state.value == "running"
            ctx.rest()
            assert ctx.state.value == "idle"
            with pytest.raises(IllegalTransition, match="in state idle there is no rest"):
                ctx.rest()
            return Note(str(ctx.current_epoch))

    async with ActorSystem() as system:
        ref = await system.spawn(Nested)
        assert await system.ask(ref, RunEpoch(1), timeout_s=9) == Note("1")


@virtual
async def test_work_outside_an_epoch_is_refused() -> None:
    async with ActorSystem() as system:
        lead = await _lead(system, [])
        member = system._known().cells["/lead/m0"].ref
        with pytest.raises(Exception, match="/lead/m0 is idle and takes DoWork only in running"):
            await system.ask(member, DoWork("work"), timeout_s=1)
        await system.ask(lead, RunEpoch(1), timeout_s=9)
        with pytest.raises(Exception, match=r"/lead/m0 is epoch_done\(1\) and takes DoWork only in running"):
            await system.ask(member, DoWork("work"), timeout_s=1)


@virtual
async def test_never_again_flags_raced_the_end_of_an_epoch_is_a_level() -> None:
    """A start flag and a done flag raced and were missed; here nobody can come too late."""
    async with ActorSystem() as system:
        lead = await _lead(system, [])
        early = asyncio.create_task(system.wait_epoch(lead, 1, timeout_s=50))
        await settle()
        assert not early.done()
        await system.ask(lead, RunEpoch(1), timeout_s=9)
        assert (await early).state is State.EPOCH_DONE
        for _ in range(3):
            late: Lifecycle = await system.wait_epoch(lead, 1, timeout_s=0.001)
            assert (late.state, late.epoch, late.failure) == (State.EPOCH_DONE, 1, None)
        await system.ask(lead, RunEpoch(5), timeout_s=9)
        assert (await system.wait_epoch(lead, 4, timeout_s=0.001)).epoch == 5


@virtual
async def test_an_epoch_that_a_failure_cut_short_is_not_over_for_who_comes_late() -> None:
    async with ActorSystem() as system:
        lead = await _lead(system, [])
        member: ActorRef[Member] = ActorRef("/lead/m0", _uid_of(system, "/lead/m0"))
        running = asyncio.create_task(system.ask(lead, RunEpoch(1, "sleep"), timeout_s=50))
        await settle()
        system.tell(member, DoWork("die"))
        await settle()
        assert _states(system.tree())["/lead/m0"] == "shutdown(1)", "it is between two lives"
        waiting = asyncio.create_task(system.wait_epoch(member, 1, timeout_s=50))
        await asyncio.sleep(1)
        assert _states(system.tree())["/lead/m0"] == "running(1)", "it has joined again"
        assert not waiting.done()
        running.cancel()
        assert (await waiting).state is State.EPOCH_DONE


@virtual
async def test_the_level_outlives_a_restart() -> None:
    async with ActorSystem() as system:
        lead = await _lead(system, [])
        await system.ask(lead, RunEpoch(1), timeout_s=9)
        system.tell(lead, Fail())
        await asyncio.sleep(1)
        assert system.tree()[0].incarnation == 2
        assert (await system.wait_epoch(lead, 1, timeout_s=0.001)).epoch == 1
        waiting = asyncio.create_task(system.wait_epoch(lead, 2, timeout_s=50))
        await system.ask(lead, RunEpoch(2), timeout_s=9)
        assert (await waiting).epoch == 2


@virtual
async def test_waiting_for_an_epoch_ends_with_its_failure_in_sight() -> None:
    async with ActorSystem() as system:
        lead = await system.spawn(Careful, [], 1, 1, name="lead")
        waiting = asyncio.create_task(system.wait_epoch(lead, 1, timeout_s=50))
        await system.ask(lead, RunEpoch(1, "raise"), timeout_s=9)
        assert (await waiting).failure == "LookupError: in the body"


@virtual
async def test_waiting_for_an_epoch_raises_in_shutdown() -> None:
    async with ActorSystem() as system:
        lead = await _lead(system, [])
        running = asyncio.create_task(system.ask(lead, RunEpoch(1, "sleep", timeout_s=50), timeout_s=90))
        await settle()
        waits = [asyncio.create_task(system.wait_epoch(lead, epoch, timeout_s=90)) for epoch in (1, 2)]
        await settle()
        stopping = asyncio.create_task(system.stop(lead, timeout_s=10))
        await settle()
        with pytest.raises(ActorDown, match="in shutdown"):
            await system.wait_epoch(lead, 2, timeout_s=90)
        await stopping
        outcomes = await asyncio.gather(running, *waits, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes[1:]][-1] is ActorDown
        with pytest.raises(ActorDown):
            await system.wait_epoch(lead, 1, timeout_s=90)


@virtual
async def test_an_epoch_that_shutdown_cuts_short_is_not_over() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Lead, [], 0, 0, name="lead")
        clinging = asyncio.create_task(system.ask(ref, RunEpoch(1, "sleep", timeout_s=50), timeout_s=90))
        await settle()
        waiting = asyncio.create_task(system.wait_epoch(ref, 1, timeout_s=90))
        await settle()
        await system.stop(ref, timeout_s=0)
        with pytest.raises(ActorDown):
            await waiting
        with pytest.raises(ActorDown):
            await clinging


@virtual
async def test_a_wait_for_an_epoch_that_nobody_runs_expires() -> None:
    async with ActorSystem() as system:
        lead = await _lead(system, [])
        with pytest.raises(Expired, match=r"outside waited for /lead \(end of epoch 1\)"):
            await system.wait_epoch(lead, 1, timeout_s=5)


@virtual
async def test_an_incarnation_that_was_given_up_cannot_touch_the_epoch_of_the_next() -> None:
    class Clinging(Lead):
        @on(RunEpoch)
        async def run(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(msg.epoch, timeout_s=msg.timeout_s):
                if msg.what == "cling":
                    return await self.cling(Cling(), ctx)
                await asyncio.sleep(200)
            return Note("over")

    async with ActorSystem() as system:
        log: list[str] = []
        lead = await system.spawn(Clinging, log, 1, 1, name="lead", supervision=supervised())
        with pytest.raises(Expired):
            await system.ask(lead, RunEpoch(1, "cling", timeout_s=60), timeout_s=2)
        await asyncio.sleep(10)
        second = asyncio.create_task(system.ask(lead, RunEpoch(1, "long", timeout_s=900), timeout_s=999))
        await asyncio.sleep(150)
        assert "let go" in log, "the stray task has left its epoch block while the new epoch runs"
        assert set(_states(system.tree()).values()) == {"running(1)"}
        assert (await second).text == "over"
        assert set(_states(system.tree()).values()) == {"epoch_done(1)"}


def test_a_hundred_epochs_leave_nothing_behind() -> None:
    async def scenario() -> None:
        async with ActorSystem() as system:
            lead = await _lead(system, [], width=2)
            for epoch in range(1, 101):
                await system.ask(lead, RunEpoch(epoch, "nothing"), timeout_s=20)
            counts = system.statistics()
            assert counts["open_asks"] == counts["open_waits"] == 0
            assert counts["open_deadlines"] <= counts["actors"], (
                "no more than one, which watches over its runs"
            )
            assert counts["dead_letters"] == {}
            assert len(system._known().deadlines._heap) < 500
            assert await system.ask(lead, Echo("alive"), timeout_s=1) == Note("alive")

    run_virtual(scenario)
