"""`crystalline train`: from words on the command line to a trained model in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import typer
from rich.console import Console

from actors.tracing import TraceOptions
from crystalline.cli import options as option  # noqa: TC001  (typer reads the annotations at run time)
from crystalline.cli.conclusion import conclusion, json_line, whereabouts
from crystalline.cli.entry import INTERRUPTED_EARLY
from crystalline.cli.lazy import load_extra
from crystalline.cli.living import dump_signal_of, looked_at, mind, start_log
from crystalline.cli.output import put_out
from crystalline.cli.progress import progress
from crystalline.cli.session import train_until_signal
from crystalline.cli.start import given_options, start_of
from crystalline.cli.trace_record import record_of
from crystalline.model import ModelConfig
from crystalline.training import TrainConfig, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crystalline.cli.session import Board
    from crystalline.training import TrainReport

__all__ = ["train"]

_MODEL = ModelConfig()
_TRAINING = TrainConfig()
_RECORD = TraceOptions()


def train(
    ctx: typer.Context,
    data: option.Data = None,
    *,
    vocab_size: option.VocabSize = _MODEL.vocab_size,
    seq_len: option.SeqLen = _MODEL.seq_len,
    val_fraction: option.ValFraction = _TRAINING.val_fraction,
    layers: option.Layers = _MODEL.layers,
    dim: option.Dim = _MODEL.dim,
    heads: option.Heads = _MODEL.heads,
    kv_heads: option.KvHeads = None,
    ffn_dim: option.FfnDim = None,
    epochs: option.Epochs = _TRAINING.epochs,
    steps: option.Steps = _TRAINING.steps,
    batch_size: option.BatchSize = _TRAINING.batch_size,
    lr: option.Lr = _TRAINING.lr,
    warmup: option.Warmup = _TRAINING.warmup,
    weight_decay: option.WeightDecay = _TRAINING.weight_decay,
    clip: option.Clip = _TRAINING.clip,
    seed: option.Seed = _TRAINING.seed,
    recompute: option.Recompute = _TRAINING.recompute,
    on_nonfinite: option.OnNonfinite = _TRAINING.on_nonfinite,
    spheres: option.Spheres = _TRAINING.spheres,
    shards: option.Shards = _TRAINING.shards,
    on_loss: option.OnLoss = _TRAINING.on_loss,
    epoch_timeout: option.EpochTimeout = _TRAINING.epoch_timeout_s,
    out: option.Out = Path("runs/crystalline"),
    force: option.Force = False,
    resume: option.Resume = None,
    save_every: option.SaveEvery = "10m",
    keep: option.Keep = _TRAINING.keep,
    trace: option.Trace = None,
    trace_level: option.TraceLevel = _RECORD.level,
    trace_sample: option.TraceSample = _RECORD.sample,
    trace_payloads: option.TracePayloads = _RECORD.payloads,
    trace_bytes: option.TraceBytes = f"{_RECORD.bytes_max // 2**20}MiB",
    tensorboard: option.TensorBoard = None,
    dump_signal: option.DumpSignal = "SIGUSR1",
    log_format: option.LogFormat = None,
    log_level: option.LogLevel = None,
    json: option.Json = False,
    quiet: option.Quiet = False,
    config: option.ConfigFile = None,
) -> None:
    """Train a language model on text files.

    DATA are text files or folders of them. Progress goes to standard error; the model, its tokenizer and
    its checkpoints go to the folder --out, which `crystalline generate` opens.

    Ctrl-C saves a checkpoint before it ends; a second one ends at once. A run that has ended before its time
    goes on with --resume, to the same model as one that was never stopped.

    `crystalline top` watches a run while it lasts.
    """
    options = dict(locals())  # all parameters by name
    console = _console(quiet=quiet)
    signum = dump_signal_of(dump_signal)
    mind(signum)
    start_log(log_format, log_level)
    board = _board(tensorboard)
    given = given_options(ctx)
    start, record = start_of(options, given), record_of(options, given)
    if start.corpus.skipped:
        console.print(_skipped(start.corpus.skipped), markup=False)
    trainer = Trainer(
        start.model, start.train, start.corpus, out=start.out, force=force, trace=record, resume=resume
    )
    preparing = f"preparing {start.corpus.name}, {start.corpus.size_bytes:,} bytes ..."
    out = start.out
    del start  # with its text, which the trainer lets go of once it is tokens
    with progress(console, preparing) as show:
        look = lambda at_work: looked_at(at_work.system, out, signum)  # noqa: E731 - the same
        report, signalled = anyio.run(train_until_signal, trainer, show, board, look)
    _end(console, report, signalled, json=json)


def _end(console: Console, report: TrainReport | None, signalled: int | None, *, json: bool) -> None:
    if report is not None:
        _conclude(console, report, json=json)
    elif signalled is not None:
        typer.echo(INTERRUPTED_EARLY, err=True)
    if signalled is not None:
        raise typer.Exit(128 + signalled)


def _board(folder: Path | None) -> Callable[[int], Board] | None:
    """What makes a TensorBoard log; called before the long part, so that a missing extra costs no time."""
    if folder is None:
        return None
    log = load_extra("crystalline.runs.tensorboard:TensorBoardLog", "tensorboard")
    return lambda steps: log(folder, from_step=steps)


def _console(*, quiet: bool) -> Console:
    console = Console(stderr=True, quiet=quiet, highlight=False)
    # Terminals break lines between words; whoever reads a file looks for whole lines.
    console.soft_wrap = not console.is_terminal
    return console


def _skipped(files: Sequence[str]) -> str:
    if len(files) == 1:
        return f"note: skipped {files[0]}, which is not UTF-8 text"
    return f"note: skipped {len(files)} files that are not UTF-8 text, such as {files[0]}"


def _conclude(console: Console, report: TrainReport, *, json: bool) -> None:
    for line in conclusion(report):
        console.print(line, markup=False)
    for line in whereabouts(report):
        console.print(line, markup=False, soft_wrap=True)
    if json:
        put_out(json_line(report))
