"""Mistakes in the protocol of training, planted one at a time, for the oracle to find.

Only what has consequences can be found. That answers of another step are refused, for one, or weights of
another version, changes nothing here: the runtime loses such messages before they come so far.
"""

from __future__ import annotations

from typing import Final

from crystalline.training import gather, root, sphere
from crystalline.training.memory import RunMemory
from crystalline.training.root import Root
from crystalline.training.work import ShardWork
from tests.helpers.mutants import Change, Mutant
from tests.helpers.tiny_training import training

__all__ = ["TRAINING_MUTANTS"]


def _everywhere(function: str, old: str, new: str) -> tuple[Change, ...]:
    """The same change wherever a function of `gather` is used."""
    return tuple(Change(module, function, old, new) for module in (gather, root, sphere))


_DISCARD: Final = "self._memory.discard_target()"
_STEP: Final = "done = await self._step("
_APPLY: Final = "parts, reasons = await ask_once(ctx, self._team, apply)"
_LOST: Final = "return None, found.reasons"

TRAINING_MUTANTS: Final = (
    Mutant(
        "a step is committed although a sphere was lost when it was applied",
        training,
        (Change(Root, "_update", _APPLY, "parts = (await ask_once(ctx, self._team, apply))[0] or []"),),
    ),
    Mutant(
        "an attempt that lost a sphere goes on",
        training,
        (Change(Root, "_update", _DISCARD, "pass"),),
    ),
    Mutant(
        "an attempt writes to the memory of the one before",
        training,
        (Change(RunMemory, "discard_target", "self._target = self._fresh()", "pass"),),
    ),
    Mutant(
        "the new weights are written over the old ones",
        training,
        (Change(RunMemory, "commit", "Target(old,", "Target(self._current,"),),
    ),
    Mutant(
        "the optimizer counts a step twice that was tried again",
        training,
        (Change(Root, "_update", _DISCARD, f"{_DISCARD}; update += 1"),),
    ),
    Mutant(
        "a step counts before it is committed",
        training,
        (
            Change(
                Root,
                "_steps_of",
                _STEP,
                f"self._progress = replace(progress, step=progress.step + 1); {_STEP}",
            ),
            Change(Root, "_step", "step = self._progress.step + 1", "step = self._progress.step"),
        ),
    ),
    Mutant(
        "an epoch that is gone on with begins at its first batch",
        training,
        (Change(Root, "_steps_of", "range(progress.step_in_epoch, planned)", "range(planned)"),),
    ),
    Mutant(
        "answers are used in the order of their arrival",
        training,
        _everywhere("gather", "sorted(answers, key=lambda answer: answer.lo)", "answers"),
    ),
    Mutant(
        "the part of a sphere that was lost is left out",
        training,
        _everywhere("gather", "parts = found.again + [", "parts = ["),
    ),
    Mutant(
        "nobody takes over the part of a sphere that is gone",
        training,
        _everywhere("gather", "for run in found.orphans", "for run in ()"),
    ),
    Mutant(
        "a buffer is used again when its sphere takes over more of the same step",
        training,
        (Change(sphere._Published, "recycle", "step > self._step", "step >= self._step"),),
    ),
    Mutant(
        "gradients are added from left to right",
        training,
        (
            Change(
                ShardWork,
                "reduce",
                "sums.over_tree(self.tree, given, lo, hi)",
                "sum(gradient[lo:hi] for gradient in given.values())",
            ),
        ),
    ),
    Mutant(
        "a buffer is used again as soon as it was sent",
        training,
        (
            Change(
                sphere._Published,
                "add",
                "self._buffers.extend(buffers)",
                "[self._work.gradients.give(buffer) for buffer in buffers]",
            ),
        ),
    ),
    Mutant(
        "a control sphere asks a child that was lost for the same attempt",
        training,
        (Change(sphere, "ask_once", _LOST, "return await gather(ctx, team, whole), {}"),),
    ),
)
