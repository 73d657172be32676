"""A model together with its tokenizer: text to ids, the way the model knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crystalline.data import tokenizer_from_json
from crystalline.errors import SettingError
from crystalline.model import ModelConfig, Parameters, TextSettings
from crystalline.model.opening import open_model
from crystalline.model.tokenizer_text import check_ids

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

__all__ = ["TextModel"]


@dataclass(frozen=True, slots=True, eq=False)
class TextModel:
    """A model together with the tokenizer it was trained with.

    Attributes:
        config: its sizes.
        parameters: its weights.
        tokenizer: text to ids in [0, config.vocab_size) and back. It may have fewer entries than the model.
        text: what the model's files say about texts.

    Raises:
        ModelFolderError: the tokenizer has entries that the model does not know.
    """

    config: ModelConfig
    parameters: Parameters
    tokenizer: Tokenizer
    text: TextSettings = field(default_factory=TextSettings)
    _literal: Tokenizer = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_ids(self.tokenizer, self.config.vocab_size, "tokenizer.json")
        # A copy: the setting belongs to the whole tokenizer, and several threads may ask at once.
        literal = tokenizer_from_json(self.tokenizer.to_str())
        literal.encode_special_tokens = True
        object.__setattr__(self, "_literal", literal)

    @classmethod
    def load(cls, path: Path) -> TextModel:
        """Open a model: a folder of ours or of the Hugging Face ecosystem, or a GGUF file.

        Raises:
            ModelFolderError: it is missing, damaged or not supported, or its parts do not fit together.
        """
        model = open_model(path)
        tokenizer = tokenizer_from_json(model.tokenizer_json)
        return cls(model.config, Parameters(model.config, model.flat), tokenizer, model.text)

    def encode(self, prompt: str, *, special: bool = False) -> list[int]:
        """The ids of a text to continue.

        Args:
            prompt: the text. An empty one starts a new text: it becomes the token that texts begin with,
                or else the one that ends the text before it.
            special: whether special tokens that are written out in the text count as such, as in a
                conversation that was put through a chat template. Such a text has what it needs at its
                beginning; without `special` the token that texts begin with is put there, if the model wants
                one, and a special token that is written out is text like any other.

        Returns:
            Ids in [0, config.vocab_size), at least one.

        Raises:
            SettingError: the text is not valid, or it is empty and there is no token to start from.
        """
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise SettingError(
                f"the prompt is not valid text at character {error.start}: pass it as UTF-8"
            ) from error
        begin = [] if special or self.text.begin_id is None else [self.text.begin_id]
        tokenizer = self.tokenizer if special else self._literal
        ids = begin + list(tokenizer.encode(prompt, add_special_tokens=False).ids)
        if ids or self.text.end_ids:
            return ids or [self.text.end_ids[0]]
        raise SettingError("the prompt is empty and this model has no end-of-text token: give it a prompt")
