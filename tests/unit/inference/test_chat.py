"""A conversation as one prompt: the model's own form, and as much of it as there is room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crystalline.errors import InputError
from crystalline.inference import TextModel
from crystalline.inference.chat import PLAIN_STOPS, chat_ids, chat_stops, fitted
from crystalline.inference.chat_template import render
from tests.helpers.chat_templates import SMOLLM2
from tests.helpers.parrots import parrot

if TYPE_CHECKING:
    from pathlib import Path

SYSTEM = {"role": "system", "content": "Be brief."}


def turns(count: int) -> list[dict[str, str]]:
    """Questions and answers, each of its own length, and a last question."""
    said = []
    for number in range(count):
        said.append({"role": "user", "content": f"question {number} " + "to " * number})
        said.append({"role": "assistant", "content": f"answer {number}"})
    return [*said, {"role": "user", "content": "and now?"}]


@pytest.fixture(params=[None, SMOLLM2], ids=["plain", "template"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> TextModel:
    return TextModel.load(parrot(tmp_path / "model", template=request.param))


def test_the_models_own_template_writes_the_conversation(tmp_path: Path) -> None:
    model = TextModel.load(parrot(tmp_path, template=SMOLLM2 + "<|endoftext|>"))
    ids = chat_ids(model, turns(1))
    wanted = render(SMOLLM2, turns(1)) + "<|endoftext|>"
    assert model.tokenizer.decode(ids, skip_special_tokens=False) == wanted
    assert ids[-1] == model.tokenizer.token_to_id("<|endoftext|>"), "a special token, not its letters"
    assert chat_stops(model) == ()


def test_a_model_without_one_sees_plain_words(tmp_path: Path) -> None:
    model = TextModel.load(parrot(tmp_path))
    ids = chat_ids(model, [SYSTEM, *turns(1)])
    assert model.tokenizer.decode(ids) == (
        "Be brief.\n\nUser: question 0 \n\nAssistant: answer 0\n\nUser: and now?\n\nAssistant:"
    )
    assert chat_stops(model) == PLAIN_STOPS
    marked = chat_ids(model, [{"role": "user", "content": "<|endoftext|>"}])
    assert 0 not in marked, "what a person types is not special"


@pytest.mark.parametrize("system", [[], [SYSTEM]], ids=["without", "with"])
def test_the_oldest_turns_go_when_there_is_no_room(model: TextModel, system: list[dict[str, str]]) -> None:
    messages = [*system, *turns(9)]
    whole = len(chat_ids(model, messages))
    dropped_before = 0
    for context in range(whole + 50, 60, -7):
        try:
            found = fitted(model, messages, context=context, tokens=20)
        except InputError:
            break
        room = context - min(20, context // 4)
        assert len(found.ids) <= room
        assert list(found.ids) == chat_ids(model, found.messages)
        assert list(found.messages) == system + messages[len(system) + found.dropped :]
        assert found.messages[len(system)]["role"] == "user"
        assert found.messages[-1] == messages[-1]
        if found.dropped:
            longer = system + messages[len(system) + found.dropped - 2 :]
            assert len(chat_ids(model, longer)) > room, "no more is left out than must be"
        assert found.dropped >= dropped_before
        dropped_before = found.dropped
    assert dropped_before > 4


def test_a_question_that_is_too_long_is_refused(model: TextModel) -> None:
    with pytest.raises(InputError, match="shorten it"):
        fitted(model, [*turns(2), {"role": "user", "content": "ka " * 500}], context=300, tokens=10)


def test_a_template_that_refuses_is_heard(tmp_path: Path) -> None:
    model = TextModel.load(parrot(tmp_path, template="{{ raise_exception('no system role') }}"))
    with pytest.raises(InputError, match="no system role"):
        fitted(model, turns(1), context=300, tokens=10)
