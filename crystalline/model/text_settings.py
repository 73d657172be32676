"""What a Hugging Face folder says about texts: tokens that begin and end them, and the chat template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crystalline.errors import ModelFolderError
from crystalline.model.files import CONFIG, CONFIG_BYTES_MAX, TOKENIZER, TOKENIZER_CONFIG
from crystalline.model.loaded import TextSettings
from crystalline.model.strict_json import REMEDY, read_bytes, read_object, shown
from crystalline.model.tokenizer_text import begin_id_of

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

__all__ = ["check_id", "folder_text_settings"]

_GENERATION_CONFIG, _TEMPLATE = "generation_config.json", "chat_template.jinja"
_TOKENIZER_CONFIG_BYTES_MAX = 8 * 1024 * 1024
_TEMPLATE_BYTES_MAX = 1024 * 1024


def folder_text_settings(folder: Path, tokenizer: Tokenizer, vocab_size: int) -> TextSettings:
    """Read the settings about texts.

    Texts end with each of the tokens that config.json, generation_config.json and tokenizer_config.json name.

    Args:
        folder: a model folder; of the files that are read only config.json must be there.
        tokenizer: the model's.
        vocab_size: ids are below it.

    Raises:
        ModelFolderError: a file is damaged, a setting is of the wrong kind, or names an unknown token.
    """
    config = read_object(folder / CONFIG, CONFIG_BYTES_MAX)
    generation = _optional(folder / _GENERATION_CONFIG, CONFIG_BYTES_MAX)
    settings = _optional(folder / TOKENIZER_CONFIG, _TOKENIZER_CONFIG_BYTES_MAX)
    where = folder / TOKENIZER_CONFIG
    begin_token, end_token = (_token(settings, key, where) for key in ("bos_token", "eos_token"))
    ends: list[int] = []
    for name, content in ((_GENERATION_CONFIG, generation), (CONFIG, config)):
        ends += _ids(content.get("eos_token_id"), vocab_size, folder / name)
    if (end_id := tokenizer.token_to_id(end_token)) is not None:
        ends.append(check_id(end_id, vocab_size, f"{where}: eos_token"))
    begin_id = begin_id_of(tokenizer, str(folder / TOKENIZER))
    if begin_id is None and settings.get("add_bos_token") is True:
        begin_id = tokenizer.token_to_id(begin_token)
        if begin_id is None:
            raise ModelFolderError(
                f"{where}: bos_token is {shown(begin_token)}, which is to begin every text, but "
                f"{TOKENIZER} has no such token: {REMEDY}"
            )
    if begin_id is not None:
        check_id(begin_id, vocab_size, f"{where}: bos_token")
    return TextSettings(
        begin_id=begin_id,
        end_ids=tuple(dict.fromkeys(ends)),
        chat_template=_template(folder, settings),
        begin_token=begin_token,
        end_token=end_token,
    )


def check_id(value: Any, vocab_size: int, what: str) -> int:
    """The value, when it is the id of a token.

    Raises:
        ModelFolderError: it is none; `what` is named.
    """
    if type(value) is not int or not 0 <= value < vocab_size:
        raise ModelFolderError(
            f"{what} is {shown(value)}, which is no token id from 0 to {vocab_size - 1}: {REMEDY}"
        )
    return value


def _optional(path: Path, bytes_max: int) -> dict[str, Any]:
    return read_object(path, bytes_max) if path.exists() else {}


def _ids(value: Any, vocab_size: int, path: Path) -> list[int]:
    given = value if isinstance(value, list) else [] if value is None else [value]
    return [check_id(each, vocab_size, f"{path}: eos_token_id") for each in given]


def _token(settings: Mapping[str, Any], key: str, path: Path) -> str:
    """A token as a string, or as an object with its content; "" if there is none."""
    value = settings.get(key)
    text = value.get("content") if isinstance(value, Mapping) else value
    if text is None:
        return ""
    if not isinstance(text, str):
        raise ModelFolderError(f"{path}: {key} must be a token, got {shown(value)}: {REMEDY}")
    return text


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """The template in a file of its own, or else in the tokenizer's settings; of several the default one."""
    path = folder / _TEMPLATE
    if path.exists():
        try:
            return read_bytes(path, _TEMPLATE_BYTES_MAX).decode()
        except UnicodeDecodeError as error:
            raise ModelFolderError(f"{path} is not UTF-8 text ({shown(error)}): {REMEDY}") from None
    found = settings.get("chat_template")
    if isinstance(found, list):
        named = [each for each in found if isinstance(each, Mapping) and each.get("name") == "default"]
        found = named[0].get("template") if named else None
    if found is not None and not isinstance(found, str):
        raise ModelFolderError(
            f"{folder / TOKENIZER_CONFIG}: chat_template must be a text, got {shown(found)}: {REMEDY}"
        )
    return found
