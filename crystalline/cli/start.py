"""From the options of `crystalline train` to what a trainer needs: a new run, or one that goes on."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from crystalline.cli.cadence import parse_cadence
from crystalline.data import Corpus
from crystalline.errors import SettingError
from crystalline.model import ModelConfig
from crystalline.training import TrainConfig, saved_corpus, saved_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    import typer

__all__ = ["Start", "given_options", "start_of"]


@dataclass(frozen=True, slots=True)
class Start:
    """How a run starts.

    Attributes:
        model: sizes.
        train: settings.
        corpus: the text.
        out: the run folder.
    """

    model: ModelConfig
    train: TrainConfig
    corpus: Corpus
    out: Path


def given_options(ctx: typer.Context) -> set[str]:
    """The options that the command line, or a file of settings, names; the others have their defaults."""
    sources = ((name, ctx.get_parameter_source(name)) for name in ctx.params)
    return {name for name, source in sources if source is not None and source.name != "DEFAULT"}


def start_of(options: Mapping[str, Any], given: AbstractSet[str]) -> Start:
    """Make settings of options.

    Args:
        options: the value of every option, by parameter name.
        given: those that were asked for. When a run goes on, all else is as it was.

    Raises:
        InputError: an option is impossible, or the text or the run to go on with cannot be read.
    """
    sizes, settings = _of(ModelConfig, options), _of(TrainConfig, options)
    if options["resume"] is None:
        corpus = Corpus.from_paths(options["data"]) if options["data"] else Corpus.builtin()
        return Start(ModelConfig(**sizes), TrainConfig(**settings), corpus, options["out"])
    saved = saved_run(options["resume"])
    out = options["out"] if "out" in given else saved.folder
    if options["force"] and out == saved.folder:
        raise SettingError("--force would replace the run that --resume goes on with: leave one of them out")
    asked = {setting for name in given for setting in _SETTINGS_OF.get(name, (name,))}
    return Start(
        replace(saved.model, **{name: value for name, value in sizes.items() if name in asked}),
        replace(saved.train, **{name: value for name, value in settings.items() if name in asked}),
        Corpus.from_paths(options["data"]) if options["data"] else saved_corpus(saved),
        out,
    )


# Options whose settings have other names.
_SETTINGS_OF: Final = {"save_every": ("save_every", "save_every_s"), "epoch_timeout": ("epoch_timeout_s",)}


def _of(config: type[ModelConfig | TrainConfig], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are settings of one kind, under the settings' names."""
    every_steps, every_s = parse_cadence(options["save_every"])
    translated = {
        **options,
        "save_every": every_steps,
        "save_every_s": every_s,
        "epoch_timeout_s": options["epoch_timeout"],
    }
    return {field.name: translated[field.name] for field in fields(config) if field.name in translated}
