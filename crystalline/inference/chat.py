"""A conversation with a model: its turns as the ids of one prompt, as many of them as there is room for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crystalline.errors import InputError
from crystalline.inference.chat_template import render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystalline.inference.text_model import TextModel

__all__ = ["PLAIN_STOPS", "PLAIN_TEMPLATE", "Fitted", "chat_ids", "chat_stops", "fitted"]

PLAIN_TEMPLATE: Final = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ message.content ~ '\n\n' }}{% else %}"
    "{{ message.role|capitalize ~ ': ' ~ message.content ~ '\n\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""For models without a template of their own, which have not been taught to converse."""

PLAIN_STOPS: Final = ("\nUser:", "\nAssistant:")
"""Where an answer ends after `PLAIN_TEMPLATE`: such a model goes on with the other side's words."""

_ANSWER_PART: Final = 4


@dataclass(frozen=True, slots=True)
class Fitted:
    """What of a conversation the model sees.

    Attributes:
        ids: the prompt.
        messages: those that are in it.
        dropped: how many messages were left out, the oldest ones.
    """

    ids: tuple[int, ...]
    messages: tuple[Mapping[str, str], ...]
    dropped: int


def chat_ids(model: TextModel, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """The ids of a conversation, up to where the model's answer begins.

    The model's own template writes the special tokens, so that those in messages count as well. With the
    plain template they are text like any other.

    Args:
        model: whose template and tokenizer.
        messages: with role ("system", "user" or "assistant") and content.

    Raises:
        InputError: the template is damaged, does too much, or refuses the conversation; or a message is no
            valid text.
    """
    template = model.text.chat_template
    text = render(
        PLAIN_TEMPLATE if template is None else template,
        messages,
        begin_token=model.text.begin_token,
        end_token=model.text.end_token,
    )
    return model.encode(text, special=template is not None)


def chat_stops(model: TextModel) -> tuple[str, ...]:
    """The texts at which an answer ends, besides the ids that end every text of this model."""
    return PLAIN_STOPS if model.text.chat_template is None else ()


def fitted(model: TextModel, messages: Sequence[Mapping[str, str]], *, context: int, tokens: int) -> Fitted:
    """The newest part of a conversation for which there is room.

    The prompt leaves room for the answer: `tokens`, or a quarter of the context if that is less. Where the
    whole does not fit, the oldest questions go with their answers; the system's message stays, and so does
    the last question.

    Args:
        model: whose template and tokenizer.
        messages: a system's message or none, then questions and answers, a question at the end.
        context: positions that there are.
        tokens: the most that the answer may have.

    Raises:
        InputError: the last question alone is too long; or as `chat_ids`.
    """
    room = context - min(tokens, max(context // _ANSWER_PART, 1))
    first = 1 if messages and messages[0]["role"] == "system" else 0
    questions = [place for place in range(first, len(messages)) if messages[place]["role"] == "user"]
    length = 0
    for begin in [first, *questions[1:]]:
        kept = (*messages[:first], *messages[begin:])
        ids = chat_ids(model, kept)
        length = len(ids)
        if length <= room:
            return Fitted(tuple(ids), kept, begin - first)
    raise InputError(
        f"the message takes {length} tokens with what belongs to it, and there is room for {room} of the "
        f"{context} that the model sees: shorten it"
    )
