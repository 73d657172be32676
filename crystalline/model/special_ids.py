"""Which tokens begin and end a text, as ids and as text, for formats that want both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

if TYPE_CHECKING:
    from crystalline.model.loaded import LoadedModel

__all__ = ["SpecialIds", "special_ids"]


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """The tokens around a text.

    Attributes:
        begin: id of the token that begins a text, whether it is put there or not; None if there is none.
        ends: ids of those that end one; the one called `end_token` is first.
        begin_token: what begins a text, as text; None if nothing does.
        end_token: what ends one, as text; None if nothing does.
    """

    begin: int | None
    ends: tuple[int, ...]
    begin_token: str | None
    end_token: str | None


def special_ids(model: LoadedModel) -> SpecialIds:
    """What a model's settings say, with what follows from its tokenizer filled in."""
    tokenizer, text = Tokenizer.from_str(model.tokenizer_json), model.text
    begin = text.begin_id
    if begin is None and text.begin_token:
        begin = tokenizer.token_to_id(text.begin_token)
    first = tokenizer.token_to_id(text.end_token) if text.end_token else None
    ends = text.end_ids
    if first in ends:
        ends = (first, *(each for each in ends if each != first))
    return SpecialIds(
        begin=begin,
        ends=ends,
        begin_token=text.begin_token or (None if begin is None else tokenizer.id_to_token(begin)),
        end_token=text.end_token or (tokenizer.id_to_token(ends[0]) if ends else None),
    )
