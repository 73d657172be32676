"""`crystalline models list`, `info`: which models there are, and what is known of one."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer  # noqa: TC002  (typer reads the annotations at run time)

from crystalline.cli.models import Json, Models, Name, check_named
from crystalline.cli.output import put_out
from crystalline.cli.tables import NOTHING, moment, number, printable, short_hash, table, value
from crystalline.errors import InputError, ModelFolderError
from crystalline.models import Store, Summary, describe, parts_of, summarise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystalline.model import ModelConfig
    from crystalline.models import Description

__all__ = ["info", "list_models"]

_HEADS = ("name", "parameters", "layers", "context", "vocab", "size", "weights", "imported")
_BAR: Final = 30
_FLOAT_BYTES: Final = 4


def list_models(ctx: typer.Context, *, models: Models = Path("models"), json: Json = False) -> None:
    """List the models of the models folder.

    For each the number of its parameters and of its layers, how many tokens it sees at once and how many it
    knows, the size of its files, the beginning of the hash of its weights, and when it was imported.

    A damaged model has a row without numbers; what is wrong with it stands on standard error, and the exit
    code is 2. A folder that was named and is not there is an error; a usual one has no models then.
    """
    check_named(ctx, models)
    store = Store(models)
    found = {name: _looked_at(store, name) for name in store.names()}
    if json:
        rows = [
            each.to_json() if isinstance(each, Summary) else {"name": name, "error": str(each)}
            for name, each in found.items()
        ]
        put_out(json_format.dumps({"folder": str(models), "models": rows}, allow_nan=False))
    elif found:
        put_out("\n".join(table(_HEADS, [_row(name, each) for name, each in found.items()])))
    else:
        put_out(f"no models in {printable(str(models))}")
    damages = [each for each in found.values() if isinstance(each, InputError)]
    if damages:
        raise ModelFolderError("; ".join(map(str, damages)))


def _looked_at(store: Store, name: str) -> Summary | InputError:
    try:
        return summarise(store, name)
    except InputError as error:
        return error


def _row(name: str, found: Summary | InputError) -> list[str]:
    if isinstance(found, InputError):
        return [printable(name), "damaged", *[NOTHING] * (len(_HEADS) - 2)]
    config, record = found.config, found.record
    return [
        printable(name),
        number(config.parameter_count(), ",d"),
        number(config.layers, "d"),
        number(config.seq_len, ",d"),
        number(config.vocab_size, ",d"),
        _bytes(record.size),
        short_hash(record.weights_sha256),
        moment(record.imported),
    ]


def info(name: Name, *, models: Models = Path("models"), json: Json = False) -> None:
    """Show all that is known of a model.

    Its sizes, what its tokenizer knows of texts, where it came from, the hash of its weights, and how its
    parameters are spread over its parts.
    """
    found = describe(Store(models), name)
    if json:
        put_out(json_format.dumps(found.to_json(), allow_nan=False))
        return
    config = found.summary.config
    facts = [*_origin(found), *_sizes(config), *_texts(found)]
    width = max(len(head) for head, _ in facts)
    lines = [f"{head:<{width}}  {fact}" for head, fact in facts]
    put_out("\n".join([*lines, "", *_picture(parts_of(config))]))


def _origin(found: Description) -> list[tuple[str, str]]:
    record = found.summary.record
    return [
        ("name", printable(found.summary.name)),
        ("imported from", f"{printable(record.source)} ({record.source_kind})"),
        ("imported", moment(record.imported)),
        ("weights", record.weights_sha256),
        ("size", _bytes(record.size)),
    ]


def _sizes(config: ModelConfig) -> list[tuple[str, str]]:
    scaling = config.rope_scaling
    scaled = "" if scaling is None else f", {scaling.kind} by {scaling.factor:g}"
    cache = 2 * config.layers * config.key_value_heads * config.head_dim * _FLOAT_BYTES
    return [
        ("layers", number(config.layers, "d")),
        ("width", number(config.dim, ",d")),
        (
            "heads",
            f"{config.heads} of width {config.head_dim}, {config.key_value_heads} for keys and values",
        ),
        ("feed-forward width", number(config.feed_forward_dim, ",d")),
        ("vocabulary", number(config.vocab_size, ",d")),
        ("context", f"{config.seq_len:,} tokens, each takes {_bytes(cache)} of keys and values"),
        ("rotary base", f"{config.rope_theta:g}{scaled}"),
        ("norm epsilon", f"{config.norm_eps:g}"),
        ("output", "the embedding table" if config.tied else "a table of its own"),
    ]


def _texts(found: Description) -> list[tuple[str, str]]:
    text = found.text
    ends = ", ".join(
        f"{printable(token)} ({number})" for token, number in zip(found.ends, text.end_ids, strict=True)
    )
    begin = f"{printable(text.begin_token)} ({text.begin_id})" if text.begin_id is not None else None
    return [
        ("tokenizer", f"{found.tokens:,} entries"),
        ("put before a text", value(begin)),
        ("ends a text", ends or NOTHING),
        ("chat template", "yes" if text.chat_template is not None else "no"),
    ]


def _picture(parts: Mapping[str, int]) -> list[str]:
    """Where the parameters are, a bar for each part; the longest fills the width."""
    total, most = sum(parts.values()), max(parts.values())
    rows = [
        [part, f"{size:,}", f"{size / total:.1%}", "█" * round(_BAR * size / most)]
        for part, size in parts.items()
    ]
    lines = table(("part", "parameters", "share", ""), [[*row[:3], f"{row[3]:<{_BAR}}"] for row in rows])
    return [*lines, *table(("total", f"{total:,}"), [])]


def _bytes(amount: int) -> str:
    """A number of bytes for people: 538.1 MB."""
    size, unit = float(amount), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:  # noqa: PLR2004  (what the prefixes mean)
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if unit != "B" else f"{amount} B"
