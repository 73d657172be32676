"""What can be said of a stored model without opening its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tokenizers import Tokenizer

from crystalline.model import layout_of, load_config, load_tokenizer_json
from crystalline.model.text_settings import folder_text_settings
from crystalline.models.record import read_record

if TYPE_CHECKING:
    from pathlib import Path

    from crystalline.model import ModelConfig, TextSettings
    from crystalline.models.record import Record
    from crystalline.models.store import Store

__all__ = ["Description", "Summary", "describe", "parts_of", "summarise"]

_PARTS: Final = {
    "embedding": ("embed_tokens",),
    "attention": ("self_attn",),
    "feed-forward": ("mlp.",),
    "norms": ("norm",),
    "output": ("lm_head",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A model in one row.

    Attributes:
        name: of the model.
        config: its sizes.
        record: what was written down when it was stored.
    """

    name: str
    config: ModelConfig
    record: Record

    def to_json(self) -> dict[str, Any]:
        """An object for JSON."""
        config, record = self.config, self.record
        return {
            "name": self.name,
            "parameters": config.parameter_count(),
            "layers": config.layers,
            "context": config.seq_len,
            "vocab_size": config.vocab_size,
            "bytes": record.size,
            "weights_sha256": record.weights_sha256,
            "imported": record.imported,
            "source": record.source,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Everything.

    Attributes:
        summary: in short.
        tokens: entries of its tokenizer.
        text: what its files say about texts.
        ends: the texts of the tokens that end a text.
    """

    summary: Summary
    tokens: int
    text: TextSettings
    ends: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """An object for JSON."""
        config, record, text = self.summary.config, self.summary.record, self.text
        scaling = config.rope_scaling
        return {
            **self.summary.to_json(),
            "dim": config.dim,
            "heads": config.heads,
            "kv_heads": config.key_value_heads,
            "head_dim": config.head_dim,
            "ffn_dim": config.feed_forward_dim,
            "rope_theta": config.rope_theta,
            "rope_scaling": None if scaling is None else {"kind": scaling.kind, "factor": scaling.factor},
            "norm_eps": config.norm_eps,
            "tied": config.tied,
            "tokens": self.tokens,
            "begin_id": text.begin_id,
            "end_ids": list(text.end_ids),
            "end_tokens": list(self.ends),
            "chat_template": text.chat_template is not None,
            "parts": parts_of(config),
            "source_kind": record.source_kind,
            "files": {
                name: {"bytes": file.size, "sha256": file.sha256} for name, file in record.files.items()
            },
        }


def summarise(store: Store, name: str) -> Summary:
    """What a list says of a model.

    Raises:
        ModelFolderError: there is no such model, or its record or config.json is damaged.
    """
    with store.reading(name) as folder:
        return _summary(name, folder)


def describe(store: Store, name: str) -> Description:
    """All that is known of a model.

    Raises:
        ModelFolderError: there is no such model, or one of its small files is damaged.
    """
    with store.reading(name) as folder:
        summary = _summary(name, folder)
        tokenizer = Tokenizer.from_str(load_tokenizer_json(folder))
        text = folder_text_settings(folder, tokenizer, summary.config.vocab_size)
        return Description(
            summary=summary,
            tokens=tokenizer.get_vocab_size(),
            text=text,
            ends=tuple(tokenizer.id_to_token(each) or "" for each in text.end_ids),
        )


def parts_of(config: ModelConfig) -> dict[str, int]:
    """Parameters of each part of a model: all of them, each once."""
    sizes = {name: math.prod(shape) for name, (_, shape) in layout_of(config).entries.items()}
    return {
        part: sum(size for name, size in sizes.items() if any(mark in name for mark in marks))
        for part, marks in _PARTS.items()
        if part != "output" or not config.tied
    }


def _summary(name: str, folder: Path) -> Summary:
    return Summary(name=name, config=load_config(folder), record=read_record(folder))
