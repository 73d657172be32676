"""A conversation as it goes on: what was said, and the next answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crystalline.inference import Continuation, Request
from crystalline.inference.chat import chat_stops, fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crystalline.inference import Engine, SamplingOptions, TextModel

__all__ = ["Answer", "Dialogue"]

Message = dict[str, str]


def _never() -> bool:
    return False


@dataclass(slots=True, eq=False)
class Dialogue:
    """A conversation with a model.

    Attributes:
        model: who answers.
        engine: made of this model, one slot of which is used.
        options: how answers are drawn.
        tokens: most tokens of an answer.
        seed: of the first answer; each further one counts up.
        stop: texts at which an answer ends.
        system: the system's message, None for none.
        stopped: asked after each token: whether the answer shall end.
    """

    model: TextModel
    engine: Engine
    options: SamplingOptions
    tokens: int
    seed: int
    stop: tuple[str, ...] = ()
    system: str | None = None
    stopped: Callable[[], bool] = _never
    _turns: list[Message] = field(default_factory=list)
    _left_out: int = 0

    @property
    def messages(self) -> list[Message]:
        """All that was said, the system's message first, in the form that chat templates take."""
        first = [] if self.system is None else [{"role": "system", "content": self.system}]
        return first + self._turns

    def reset(self) -> None:
        """Forget what was said; the system's message stays."""
        self._turns.clear()
        self._left_out = 0

    def ask(self, question: str) -> Answer:
        """Put a question.

        Returns:
            The answer, which is made while it is read, and is a part of the conversation when it has ended.

        Raises:
            InputError: it does not fit into the context, or the chat template refuses it. The conversation is
                as before.
        """
        asked = {"role": "user", "content": question}
        first = 0 if self.system is None else 1
        offered = self.messages[:first] + self._turns[self._left_out :] + [asked]
        found = fitted(self.model, offered, context=self.engine.context, tokens=self.tokens)
        request = Request(
            prompt=found.ids,
            tokens=self.tokens,
            options=self.options,
            seed=self.seed + len(self._turns) // 2,
            stop=(*self.stop, *chat_stops(self.model)),
            stop_ids=frozenset(self.model.text.end_ids),
        )
        self._left_out += found.dropped
        return Answer(self, asked, request, newly_dropped=found.dropped, dropped=self._left_out)

    def add(self, question: Message, answer: str) -> None:
        """Make a question and its answer a part of the conversation."""
        self._turns += [question, {"role": "assistant", "content": answer}]


class Answer:
    """One answer: iterate over it once for its text.

    Args:
        dialogue: what it belongs to.
        question: the message that it answers.
        request: what the model is asked.
        newly_dropped: messages for which there was no room any more.
        dropped: all messages for which there is none.

    Attributes:
        text: all of it so far.
        interrupted: whether it was stopped before its end.
    """

    def __init__(
        self, dialogue: Dialogue, question: Message, request: Request, *, newly_dropped: int, dropped: int
    ) -> None:
        self._dialogue, self._question = dialogue, question
        self._continuation = Continuation(request, dialogue.model.tokenizer, dialogue.engine.context)
        self.newly_dropped, self.dropped = newly_dropped, dropped
        self.text, self.interrupted = "", False

    def __iter__(self) -> Iterator[str]:
        """The text as it comes; no piece is empty."""
        taught = self._dialogue.model.text.chat_template is not None
        for piece in self._pieces():
            # After "Assistant:" comes a space, which is no part of what is said.
            text = piece if taught or self.text else piece.lstrip()
            self.text += text
            if text:
                yield text
        self._dialogue.add(self._question, self.text)

    def _pieces(self) -> Iterator[str]:
        engine, continuation = self._dialogue.engine, self._continuation
        while continuation.finished is None:
            if self._dialogue.stopped():
                self.interrupted = True
                return
            ids = continuation.to_prefill()
            logits = engine.prefill(0, ids) if ids else engine.decode([0], [continuation.last])[0]
            if (piece := continuation.advance(logits)) is not None:
                yield piece.text

    def to_json(self) -> dict[str, Any]:
        """The answer as the command prints it."""
        usage = self._continuation.usage
        return {
            "prompt": self._question["content"],
            "answer": self.text,
            "finish": "interrupted" if self.interrupted else self._continuation.finished,
            "tokens": usage.generated_tokens,
            "prompt_tokens": usage.prompt_tokens,
            "dropped": self.dropped,
        }
