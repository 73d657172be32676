"""A sphere of a recorded run, played again: the record has its messages, this module everything else."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors import replay
from actors.tracing import Trace, TraceQueryError, read_payload
from crystalline.blas_limit import one_blas_thread
from crystalline.data import Windows, default_cache_dir, prepare_tokens
from crystalline.errors import SettingError
from crystalline.model import initialise, layout_of, name_at
from crystalline.training.checkpoint import checkpoints_in, load_checkpoint, load_record
from crystalline.training.footprint import rows_in_a_shard
from crystalline.training.measured import MEASURED
from crystalline.training.plan import TreePlan
from crystalline.training.recalled import COMPUTE, EVALUATE, Recalled, RecalledMemory
from crystalline.training.resume import SavedRun, saved_corpus, saved_run
from crystalline.training.sphere import ControlSphere, Seat, Sphere
from crystalline.training.work import ShardWork

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import Actor, Replay
    from crystalline.data import Corpus
    from crystalline.model import ModelConfig

__all__ = ["replay_sphere"]

_SPHERE: Final = re.compile(r"/sphere-(\d+)$")


def replay_sphere(
    trace: Trace | Path | str,
    run: Path | SavedRun,
    sphere: int,
    *,
    corpus: Corpus | None = None,
    incarnation: int | None = None,
    until: int | None = None,
    stop_at: int | None = None,
    on_message: Callable[[int, Any], None] | None = None,
    strict: bool = False,
) -> Replay:
    """Have a sphere do once more what it did in a recorded run, and compare its answers with the record.

    Its weights are computed once more, from the newest checkpoint of the run that is old enough, or from the
    first weights. So this takes about as long as the part of the training between, on one core.

    Args:
        trace: of the run, recorded with payloads, as hashes or whole.
        run: its folder; or for a run that kept no files, its settings.
        sphere: which one.
        corpus: the text; by default it is read again from where it came.
        incarnation: which life, the last one by default.
        until: number of the last message to be handled.
        stop_at: number of a message before whose handler the debugger is entered.
        on_message: called with number and body of each message, before its handler.
        strict: raise at the first difference.

    Raises:
        ReplayDiffers: it is strict, and something differs.
        TraceQueryError: there is no such sphere in the trace, or not enough of it.
        InputError: run or text cannot be used, or the text is another one.
        TrainingError: the trace is of a longer run.
        ProtocolError, OSError: the trace cannot be read.
    """
    trace = trace if isinstance(trace, Trace) else Trace.open(Path(trace))
    path, plan = _find(trace, sphere)
    saved = run if isinstance(run, SavedRun) else saved_run(run)
    corpus = corpus or saved_corpus(saved)
    if isinstance(run, Path):
        _check_text(run, corpus)
    tokens = prepare_tokens(corpus, saved.model.vocab_size, default_cache_dir())
    config = dataclasses.replace(saved.model, vocab_size=tokens.tokenizer.get_vocab_size())
    windows = Windows(tokens.tokens, config.seq_len, saved.train.val_fraction)
    work = ShardWork(
        config,
        shards=saved.train.shards,
        rows_max=rows_in_a_shard(saved.train, windows.count),
        weight_decay=saved.train.weight_decay,
        recompute=saved.train.recompute,
    )
    memory, step = _begin(saved, config, _first_version(trace, path))
    recalled = Recalled(saved.train, windows, work, memory, step)

    def make() -> Actor:
        seat = Seat(plan, memory, work, saved.train.job_timeout_s)
        return ControlSphere(sphere, seat) if plan.below[sphere] else Sphere(sphere, seat)

    def before(number: int, message: Any) -> None:
        recalled.ready_for(message)
        if on_message is not None:
            on_message(number, message)

    with one_blas_thread():
        played = replay(
            trace,
            path,
            make,
            incarnation=incarnation,
            until=until,
            stop_at=stop_at,
            on_message=before,
            rebuild=recalled.rebuild,
            ignore=MEASURED,
            strict=strict,
        )
    return _with_tensor(played, config)


def _with_tensor(played: Replay, config: ModelConfig) -> Replay:
    """The same, with the name of the tensor in which a gradient differs, if the record has the gradient."""
    difference = played.difference
    apart = difference.apart if difference is not None else None
    if difference is None or apart is None or apart.at is None or not apart.field.endswith(".gradient"):
        return played
    note = f"{apart.note}; that is in {name_at(layout_of(config), apart.at[0])}"
    apart = dataclasses.replace(apart, note=note)
    return dataclasses.replace(played, difference=dataclasses.replace(difference, apart=apart))


def _find(trace: Trace, sphere: int) -> tuple[str, TreePlan]:
    """Where the sphere is, and the tree that it is in."""
    paths = {int(found[1]): path for path in trace.actors if (found := _SPHERE.search(path)) is not None}
    if sphere not in paths:
        there = f"spheres 0 to {max(paths)}" if paths else "no sphere"
        raise TraceQueryError(f"there is no sphere {sphere} in the trace, but {there}")
    return paths[sphere], TreePlan(max(paths) + 1)


def _first_version(trace: Trace, path: str) -> int:
    """The version of the weights that the sphere is asked about first; the first of all when it never is."""
    for event in trace.select(kinds={"send"}):
        if event.detail == path and event.type in {COMPUTE, EVALUATE} and event.payload:
            version: int = read_payload(event.payload).fields.values["version"]
            return version
    return 0


def _check_text(run: Path, corpus: Corpus) -> None:
    _, record = load_record(run)
    if record.get("data_fingerprint") != corpus.fingerprint:
        raise SettingError(f"the text is another one: the run was trained on {record.get('data')}")


def _begin(saved: SavedRun, config: ModelConfig, version: int) -> tuple[RecalledMemory, int]:
    """Weights that are no newer than `version`, and how many steps have made them."""
    for folder in checkpoints_in(saved.folder):
        checkpoint = load_checkpoint(folder)
        if checkpoint.progress.updates <= version:
            weights, first, second = checkpoint.buffers
            updates = checkpoint.progress.updates
            memory = RecalledMemory(config, weights, moments=(first, second), version=updates)
            return memory, checkpoint.progress.step
    return RecalledMemory(config, initialise(config, saved.train.seed)), 0
