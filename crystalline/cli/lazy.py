"""The commands by name, each in a module that is imported when the command is called.

The one place of the command that imports at run time: `crystalline --help` must not wait for numpy and
tokenizers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from crystalline.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["APP", "COMMANDS", "Outline", "load", "load_extra"]

APP = "crystalline.cli.app:run"
"""Where the command line itself starts. Not imported before signals are in order."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known about a command without importing it.

    Attributes:
        summary: first line of the command's help.
        place: `module:attribute` of its function.
        examples: command lines for its help.
        commands: those below it by name, when it is a group; its function is then called before each.
        alone: the one of these that is meant where a file stands alone. Then all of them take their file
            before their name as well.
    """

    summary: str
    place: str
    examples: tuple[str, ...]
    commands: Mapping[str, Outline] = field(default_factory=dict)
    alone: str = ""


_RUNS = {
    "list": Outline(
        "List the training runs below a folder.",
        "crystalline.cli.runs_list:list_runs",
        ("crystalline runs list", "crystalline runs list experiments --json"),
    ),
    "show": Outline(
        "Show one run: settings, epochs, loss curve.",
        "crystalline.cli.runs_show:show",
        ("crystalline runs show runs/mine", "crystalline runs show runs/mine --smooth 20 --plot loss.png"),
    ),
    "compare": Outline(
        "Compare runs: losses, settings, weights.",
        "crystalline.cli.runs_compare:compare",
        (
            "crystalline runs compare runs/mine runs/small",
            "crystalline runs compare runs/mine runs/small --metric val_loss --by tokens",
        ),
    ),
}

_MODELS = {
    "import": Outline(
        "Take a model into the models folder.",
        "crystalline.cli.models_import:import_model",
        ("crystalline models import runs/mine", "crystalline models import ~/Llama-3.2-1B.gguf --name llama"),
    ),
    "export": Outline(
        "Write a model for others: as a folder, or as a GGUF file.",
        "crystalline.cli.models_import:export_model",
        (
            "crystalline models export llama ~/llama-folder",
            "crystalline models export llama ~/llama.gguf --type q8_0",
        ),
    ),
    "list": Outline(
        "List the models of the models folder.",
        "crystalline.cli.models_list:list_models",
        ("crystalline models list", "crystalline models list --models ~/models --json"),
    ),
    "info": Outline(
        "Show all that is known of a model.",
        "crystalline.cli.models_list:info",
        ("crystalline models info llama",),
    ),
    "rename": Outline(
        "Give a model another name.",
        "crystalline.cli.models_change:rename",
        ("crystalline models rename mine essays",),
    ),
    "remove": Outline(
        "Delete a model.",
        "crystalline.cli.models_change:remove",
        ("crystalline models remove essays", "crystalline models remove essays --yes"),
    ),
    "verify": Outline(
        "Read models again, and compare every file with its SHA-256.",
        "crystalline.cli.models_verify:verify",
        ("crystalline models verify", "crystalline models verify llama"),
    ),
}

_VOCAB = {
    "train": Outline(
        "Learn a tokenizer from text.",
        "crystalline.cli.vocab_train:train",
        ("crystalline vocab train notes.txt --out tokenizer.json --vocab-size 8000",),
    ),
    "show": Outline(
        "Show what is in a vocabulary, and how it fits a text.",
        "crystalline.cli.vocab_show:show",
        (
            "crystalline vocab show runs/mine",
            "crystalline vocab show tokenizer.json notes.txt --search ing",
        ),
    ),
}

_TRACE = {
    "summary": Outline(
        "Say who was busy, who waited, and what went wrong.",
        "crystalline.cli.trace_questions:summary",
        ("crystalline trace summary runs/mine.trace", "crystalline trace runs/mine.trace --json"),
    ),
    "why": Outline(
        "Tell how something came about, back to its root.",
        "crystalline.cli.trace_questions:why",
        (
            "crystalline trace why runs/mine.trace /root/sphere-1",
            "crystalline trace why runs/mine.trace Expired",
        ),
    ),
    "critical": Outline(
        "Say what would have had to be faster, and what it would gain.",
        "crystalline.cli.trace_questions:critical",
        (
            "crystalline trace critical runs/mine.trace",
            "crystalline trace critical runs/mine.trace --epoch 2",
        ),
    ),
    "stuck": Outline(
        "Show every wait that was open at the end, as a tree.",
        "crystalline.cli.trace_questions:stuck",
        ("crystalline trace stuck runs/mine.trace",),
    ),
    "diff": Outline(
        "Find where two runs first part.",
        "crystalline.cli.trace_diff:diff",
        ("crystalline trace diff runs/mine.trace runs/other.trace",),
    ),
    "sequence": Outline(
        "Draw messages as a sequence diagram, in Mermaid.",
        "crystalline.cli.trace_exports:sequence",
        (
            "crystalline trace sequence runs/mine.trace --message 41",
            "crystalline trace sequence runs/mine.trace --actor /root --limit 40",
        ),
    ),
    "timeline": Outline(
        "Write a timeline for Perfetto and chrome://tracing.",
        "crystalline.cli.trace_exports:timeline",
        ("crystalline trace timeline runs/mine.trace --out mine.json",),
    ),
    "otel": Outline(
        "Write OpenTelemetry spans.",
        "crystalline.cli.trace_exports:otel",
        ("crystalline trace otel runs/mine.trace --out spans.json",),
    ),
    "html": Outline(
        "Write a page that shows the run in a browser, offline.",
        "crystalline.cli.trace_exports:html",
        ("crystalline trace html runs/mine.trace --out mine.html",),
    ),
}

COMMANDS = {
    "train": Outline(
        "Train a language model on text files.",
        "crystalline.cli.train:train",
        (
            "crystalline train notes.txt essays/ --out runs/mine",
            "crystalline train notes.txt --out runs/small --layers 1 --dim 64 --epochs 10",
        ),
    ),
    "generate": Outline(
        "Let a trained model go on with a text.",
        "crystalline.cli.generate:generate",
        (
            'crystalline generate runs/mine --prompt "Once upon a time" --temperature 0.7',
            "crystalline generate runs/mine --batch prompts.txt --tokens 50",
        ),
    ),
    "chat": Outline(
        "Talk with a model.",
        "crystalline.cli.chat:chat",
        (
            'crystalline chat runs/mine --system "Be brief."',
            'crystalline chat model.gguf --prompt "What is the capital of France?"',
        ),
    ),
    "eval": Outline(
        "Measure how well a model predicts a text.",
        "crystalline.cli.evaluate:evaluate_model",
        ("crystalline eval runs/mine notes.txt", "crystalline eval runs/mine essays/ --json"),
    ),
    "tokenize": Outline(
        "Show a text as a model sees it: in tokens.",
        "crystalline.cli.tokenize:tokenize",
        (
            'crystalline tokenize runs/mine "Once upon a time"',
            "crystalline tokenize runs/mine --file notes.txt --count",
        ),
    ),
    "vocab": Outline(
        "Learn a vocabulary of tokens, or look at one.",
        "crystalline.cli.vocab:vocab",
        (
            "crystalline vocab train notes.txt --out tokenizer.json",
            "crystalline vocab show runs/mine",
        ),
        _VOCAB,
    ),
    "runs": Outline(
        "Look at training runs: list them, show one, compare several.",
        "crystalline.cli.runs:runs",
        (
            "crystalline runs list",
            "crystalline runs compare runs/mine runs/small --plot losses.png",
        ),
        _RUNS,
    ),
    "top": Outline(
        "Watch a living training: who does what, who waits for whom.",
        "crystalline.cli.top:top",
        ("crystalline top runs/mine", "crystalline top runs/mine --once --json"),
    ),
    "models": Outline(
        "Keep models under names: import, export, list, check them.",
        "crystalline.cli.models:models",
        (
            "crystalline models import SmolLM2-135M-Instruct.gguf --name smollm2",
            "crystalline models list",
        ),
        _MODELS,
    ),
    "trace": Outline(
        "Look into a recorded run: what was slow, stuck, lost, and why.",
        "crystalline.cli.trace:trace",
        (
            "crystalline trace runs/mine.trace",
            "crystalline trace why runs/mine.trace /root/sphere-1",
        ),
        _TRACE,
        alone="summary",
    ),
    "bench": Outline(
        "Measure this machine, and advise on --spheres.",
        "crystalline.cli.bench:bench",
        ("crystalline bench", "crystalline bench --quick --sizes default --spheres 1,2"),
    ),
}
"""Every command, in the order of the help."""


def load(place: str) -> Any:
    """Import what `module:attribute` names.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such attribute.

    >>> load("math:tau") > 6
    True
    """
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def load_extra(place: str, extra: str) -> Any:
    """Import what `module:attribute` names, from a module that needs an optional extra.

    Args:
        place: as for `load`.
        extra: its name in `pip install '.[extra]'`.

    Raises:
        SettingError: the extra is not installed; says how to install it.
    """
    try:
        return load(place)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"actors", "crystalline"}:
            raise
        raise SettingError(
            f"this needs {error.name}: pip install '.[{extra}]' where crystalline's sources are"
        ) from error
