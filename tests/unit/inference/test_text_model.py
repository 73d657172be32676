"""Text to ids, the way a model wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tokenizers import Tokenizer

from crystalline.errors import ModelFolderError, SettingError
from crystalline.inference import TextModel
from crystalline.model import Parameters, TextSettings
from tests.helpers.gguf_models import CONFIG as GGUF_CONFIG
from tests.helpers.gguf_models import gguf_tensors, write_gguf_file
from tests.helpers.hf_folders import CONFIG, TOKENIZER, weights_in_16_bits, write_folder

if TYPE_CHECKING:
    from pathlib import Path

PARAMETERS = Parameters(CONFIG, weights_in_16_bits(CONFIG))
END = 0


def model(text: TextSettings | None = None) -> TextModel:
    return TextModel(CONFIG, PARAMETERS, TOKENIZER, text or TextSettings())


def test_a_folder_and_a_file_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    folder = TextModel.load(write_folder(tmp_path / "folder", PARAMETERS.flat))
    assert np.array_equal(folder.parameters.flat, PARAMETERS.flat)
    assert folder.text.end_ids == (END,)
    zeros = np.zeros(GGUF_CONFIG.parameter_count(), np.float32)
    file = TextModel.load(write_gguf_file(tmp_path / "m.gguf", tensors=gguf_tensors(GGUF_CONFIG, zeros)))
    assert file.tokenizer.decode(file.encode("the cat")) == "the cat"


def test_the_token_that_begins_texts_is_put_before_a_prompt_but_not_before_a_conversation() -> None:
    ids = TOKENIZER.encode("the cat").ids
    assert model().encode("the cat") == ids
    assert model(TextSettings(begin_id=7)).encode("the cat") == [7, *ids]
    assert model(TextSettings(begin_id=7)).encode("the cat", special=True) == ids


def test_a_special_token_that_is_written_out_counts_in_a_conversation_only() -> None:
    written = "the<|endoftext|>cat"
    literal, special = model().encode(written), model().encode(written, special=True)
    assert END not in literal
    assert special.count(END) == 1
    assert TOKENIZER.decode(literal) == written
    assert model().encode(written) == literal, "one call does not change the next"


def test_an_empty_prompt_begins_a_text() -> None:
    assert model(TextSettings(begin_id=7, end_ids=(8, 9))).encode("") == [7]
    assert model(TextSettings(end_ids=(8, 9))).encode("") == [8]
    with pytest.raises(SettingError, match="give it a prompt"):
        model().encode("")


def test_a_prompt_that_is_no_text_is_refused() -> None:
    with pytest.raises(SettingError, match="not valid text at character 1"):
        model().encode("a\udcff")


def test_a_tokenizer_of_a_larger_model_is_refused_and_a_smaller_one_is_not() -> None:
    assert TOKENIZER.get_vocab_size() < CONFIG.vocab_size
    larger = Tokenizer.from_str(TOKENIZER.to_str())
    larger.add_tokens([f"token{number}" for number in range(7)])
    with pytest.raises(ModelFolderError, match=rf"{CONFIG.vocab_size + 1} entries but the model"):
        TextModel(CONFIG, PARAMETERS, larger)
