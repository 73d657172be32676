"""A model as it is held in memory once it was opened, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crystalline.model.config import ModelConfig

__all__ = ["LoadedModel", "TextSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSettings:
    """What a model's files say about texts, beyond how they become ids.

    Attributes:
        begin_id: the token that is put before every prompt; None: none is put there.
        end_ids: each of these tokens ends a text or an answer.
        chat_template: how a conversation becomes one text, in Jinja; None: the model has none.
        begin_token: what the template knows as `bos_token`, "" if there is none.
        end_token: what the template knows as `eos_token`, "" if there is none.
    """

    begin_id: int | None = None
    end_ids: tuple[int, ...] = ()
    chat_template: str | None = None
    begin_token: str = ""
    end_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedModel:
    """Sizes, weights, tokenizer and settings of one model.

    Attributes:
        config: its sizes.
        flat: (layout.size,), its weights in the layout of `config`, float32.
        tokenizer_json: the whole tokenizer, for `tokenizers.Tokenizer.from_str`.
        text: what its files say about texts.
    """

    config: ModelConfig
    flat: npt.NDArray[np.float32]
    tokenizer_json: str
    text: TextSettings
