"""The options of `crystalline train`: a type and a line of help each. The settings judge the values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalline.cli.config_file import use_config_file

__all__ = [
    "BatchSize",
    "Clip",
    "ConfigFile",
    "Data",
    "Dim",
    "DumpSignal",
    "EpochTimeout",
    "Epochs",
    "FfnDim",
    "Force",
    "Heads",
    "Json",
    "Keep",
    "KvHeads",
    "Layers",
    "LogFormat",
    "LogLevel",
    "Lr",
    "OnLoss",
    "OnNonfinite",
    "Out",
    "Quiet",
    "Resume",
    "SaveEvery",
    "Seed",
    "SeqLen",
    "Shards",
    "Spheres",
    "Steps",
    "TensorBoard",
    "Trace",
    "TraceBytes",
    "TraceLevel",
    "TracePayloads",
    "TraceSample",
    "ValFraction",
    "VocabSize",
    "Warmup",
    "WeightDecay",
]

_DATA, _MODEL, _TRAINING, _TREE, _OUTPUT = "Data", "Model", "Training", "Tree", "Output"

Data = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="DATA",
        help="Text files, or folders of them. Without any: text that Python itself carries.",
        show_default=False,
    ),
]
VocabSize = Annotated[
    int, typer.Option(help="Most entries of the tokenizer that is learned.", rich_help_panel=_DATA)
]
SeqLen = Annotated[int, typer.Option(help="Tokens in a window of text.", rich_help_panel=_DATA)]
ValFraction = Annotated[
    float, typer.Option(help="Part of the text held out for validation.", rich_help_panel=_DATA)
]

Layers = Annotated[int, typer.Option(help="Transformer layers.", rich_help_panel=_MODEL)]
Dim = Annotated[int, typer.Option(help="Width of the model.", rich_help_panel=_MODEL)]
Heads = Annotated[int, typer.Option(help="Attention heads; divides --dim.", rich_help_panel=_MODEL)]
KvHeads = Annotated[
    int | None,
    typer.Option(
        help="Key and value heads; divides --heads.", show_default="as --heads", rich_help_panel=_MODEL
    ),
]
FfnDim = Annotated[
    int | None,
    typer.Option(
        help="Width of the feed-forward layers.", show_default="8/3 of --dim", rich_help_panel=_MODEL
    ),
]

Epochs = Annotated[int, typer.Option(help="Passes over the text.", rich_help_panel=_TRAINING)]
Steps = Annotated[
    int | None,
    typer.Option(help="At most this many steps in the whole run.", rich_help_panel=_TRAINING),
]
BatchSize = Annotated[int, typer.Option(help="Windows in a step.", rich_help_panel=_TRAINING)]
Lr = Annotated[float, typer.Option(help="Learning rate after the warm-up.", rich_help_panel=_TRAINING)]
Warmup = Annotated[
    int, typer.Option(help="Steps in which the learning rate rises.", rich_help_panel=_TRAINING)
]
WeightDecay = Annotated[float, typer.Option(help="Decoupled weight decay.", rich_help_panel=_TRAINING)]
Clip = Annotated[
    float, typer.Option(help="Largest norm of the gradient; 0 does not clip.", rich_help_panel=_TRAINING)
]
Seed = Annotated[
    int, typer.Option(help="Of the initial weights and the order of the text.", rich_help_panel=_TRAINING)
]

Recompute = Annotated[
    bool,
    typer.Option(
        "--recompute",
        help="Take less memory for deep models, and more time: compute activations twice.",
        rich_help_panel=_TRAINING,
    ),
]

Spheres = Annotated[int, typer.Option(help="Workers. They never change the result.", rich_help_panel=_TREE)]
Shards = Annotated[
    int, typer.Option(help="Parts of a batch, shared out among the spheres.", rich_help_panel=_TREE)
]
EpochTimeout = Annotated[
    float, typer.Option(help="Seconds after which an epoch has failed.", rich_help_panel=_TREE)
]

OnLoss = Annotated[
    str,
    typer.Option(
        metavar="fail|redistribute",
        help="When a sphere is lost for good: end the training, or let the others do its work.",
        rich_help_panel=_TREE,
    ),
]
OnNonfinite = Annotated[
    str,
    typer.Option(
        metavar="fail|skip",
        help="When a loss or gradient is not finite: end the training, or skip the step.",
        rich_help_panel=_TRAINING,
    ),
]

Out = Annotated[
    Path,
    typer.Option(
        help="Folder for the model; must not exist. With --resume: its run.", rich_help_panel=_OUTPUT
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Go on with the run in this folder, or from this checkpoint; settings and text are its own.",
        rich_help_panel=_OUTPUT,
    ),
]
Keep = Annotated[int, typer.Option(help="Checkpoints that stay, the newest.", rich_help_panel=_OUTPUT)]
Force = Annotated[bool, typer.Option("--force", help="Replace the run in --out.", rich_help_panel=_OUTPUT)]
SaveEvery = Annotated[
    str,
    typer.Option(
        metavar="N|TIME",
        help="Save a checkpoint every N steps, or every 30s, 10m or 2h; 0: after each epoch only.",
        rich_help_panel=_OUTPUT,
    ),
]
Trace = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Record every message between the actors.", rich_help_panel=_OUTPUT),
]
DumpSignal = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Signal on which all actors, waits and stacks are written to standard error; none: no signal.",
        rich_help_panel=_OUTPUT,
    ),
]
LogFormat = Annotated[
    str | None,
    typer.Option(
        metavar="text|json",
        help="Form of the log on standard error.",
        show_default="the bare text of warnings",
        rich_help_panel=_OUTPUT,
    ),
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        metavar="debug|info|warning|error",
        help="From which level on the log is written.",
        show_default="warning",
        rich_help_panel=_OUTPUT,
    ),
]
TensorBoard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard", metavar="DIR", help="Write event files for TensorBoard.", rich_help_panel=_OUTPUT
    ),
]
TraceLevel = Annotated[
    str,
    typer.Option(
        metavar="lifecycle|waits|messages",
        help="Record starts, ends and errors; or waits and jobs as well; or everything.",
        rich_help_panel=_OUTPUT,
    ),
]
TraceSample = Annotated[
    float,
    typer.Option(help="Record this part of the epochs' messages, from 0 to 1.", rich_help_panel=_OUTPUT),
]
TracePayloads = Annotated[
    str,
    typer.Option(
        metavar="none|hash|whole",
        help="Record what is in the messages: arrays as hashes, or whole, as a replay needs them.",
        rich_help_panel=_OUTPUT,
    ),
]
TraceBytes = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        help="Most room that the trace takes, as in 200MB; beyond it older parts go.",
        rich_help_panel=_OUTPUT,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as one line of JSON.", rich_help_panel=_OUTPUT),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="Print errors only, and the JSON.", rich_help_panel=_OUTPUT)
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Read options from a file; those given here win.",
        callback=use_config_file,
        is_eager=True,
        rich_help_panel=_OUTPUT,
    ),
]
