"""Generation: the saved model's own network and tokenizer, whole characters, repeatable by seed."""

from __future__ import annotations

from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE

from crystalline.data import Corpus, train_tokenizer
from crystalline.errors import InputError, ModelFolderError, SettingError
from crystalline.inference import SamplingOptions, TextModel, generate, stream
from crystalline.model import (
    ModelConfig,
    Parameters,
    TextSettings,
    Workspace,
    initialise,
    logits,
    next_logits,
    save_model,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKENIZER = train_tokenizer(Corpus.from_text("naïve ☃ 日本 the cat sat on the mat " * 3), 290)
END = 0
CONFIG = ModelConfig(vocab_size=TOKENIZER.get_vocab_size(), dim=16, layers=2, heads=2, ffn_dim=16, seq_len=8)
TEXT = TextSettings(end_ids=(END,))
MODEL = TextModel(CONFIG, Parameters(CONFIG, initialise(CONFIG, seed=5) * 10), TOKENIZER, TEXT)
USUAL = SamplingOptions(temperature=1.0)
GREEDY = SamplingOptions(temperature=0.0)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The network predicts `scripted[0]`, one id after another; the contexts it sees are appended."""
    script: list[list[int]] = [[]]
    pending: Iterator[int] | None = None

    def predict(_parameters: Parameters, tokens: np.ndarray, _workspace: Workspace) -> np.ndarray:
        nonlocal pending
        pending = pending or iter(script[0])
        script.append(tokens[0].tolist())
        found = np.zeros((1, CONFIG.vocab_size), np.float32)
        found[0, next(pending)] = 1.0
        return found

    monkeypatch.setattr(generate, "next_logits", predict)
    return script


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER.encode(text).ids)


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    texts = ["".join(stream(MODEL, "the", tokens=20, options=USUAL, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_greedy_is_the_argmax_of_the_models_logits() -> None:
    found = "".join(stream(MODEL, "the", tokens=4, options=GREEDY, seed=0))
    context = ids_of("the")
    for _ in range(4):
        workspace = Workspace(CONFIG, 1, training=False)
        context.append(
            int(logits(MODEL.parameters, np.array([context], np.int32), workspace)[0, -1].argmax())
        )
    assert found == TOKENIZER.decode(context[len(ids_of("the")) :]).rstrip("\ufffd")


def test_it_comes_in_pieces_as_it_is_made(scripted: list[list[int]]) -> None:
    scripted[0] = ids_of(" cat sat")
    pieces = stream(MODEL, "the", tokens=99, options=GREEDY, seed=0)
    assert len(scripted) == 1, "nothing is computed before it is asked for"
    assert "".join(islice(pieces, 1)) == TOKENIZER.decode(scripted[0][:1])
    assert len(scripted) == 2


def test_the_number_of_tokens_is_a_limit(scripted: list[list[int]]) -> None:
    scripted[0] = ids_of("abcdef")
    assert "".join(stream(MODEL, "the", tokens=3, options=GREEDY, seed=0)) == "abc"


def test_it_ends_at_the_end_of_text_token(scripted: list[list[int]]) -> None:
    scripted[0] = [*ids_of("ab"), END, *ids_of("cd")]
    assert "".join(stream(MODEL, "the", tokens=9, options=GREEDY, seed=0)) == "ab"


def test_an_empty_prompt_starts_a_document(scripted: list[list[int]]) -> None:
    scripted[0] = ids_of("a")
    assert "".join(stream(MODEL, "", tokens=1, options=GREEDY, seed=0)) == "a"
    assert scripted[1] == [END]


def test_the_context_grows_then_slides_over_the_last_tokens(scripted: list[list[int]]) -> None:
    scripted[0] = ids_of("0123456789")
    "".join(stream(MODEL, "abcdef", tokens=10, options=GREEDY, seed=0))
    whole = ids_of("abcdef") + ids_of("0123456789")
    assert scripted[1:] == [whole[max(0, end - 8) : end] for end in range(6, 16)]


def test_a_prompt_longer_than_the_context_is_cut_at_its_start() -> None:
    long, short = "xyz" * 50 + "abcdefgh", "abcdefgh"
    one, two = ("".join(stream(MODEL, p, tokens=5, options=USUAL, seed=1)) for p in (long, short))
    assert one == two


def test_a_character_of_several_tokens_comes_whole(scripted: list[list[int]]) -> None:
    scripted[0] = ids_of("€a€")
    assert len(scripted[0]) > 3, "the euro sign is not in the vocabulary"
    pieces = list(stream(MODEL, "the", tokens=len(scripted[0]), options=GREEDY, seed=0))
    assert pieces == ["€", "a", "€"]


def test_a_character_cut_off_by_the_limit_is_left_out(scripted: list[list[int]]) -> None:
    scripted[0] = ids_of("a€")
    assert "".join(stream(MODEL, "the", tokens=len(scripted[0]) - 1, options=GREEDY, seed=0)) == "a"


@given(st.lists(st.integers(1, CONFIG.vocab_size - 1), max_size=30))
def test_any_tokens_at_all_decode_as_the_whole_does(ids: list[int]) -> None:
    pieces = list(generate.decode(TOKENIZER, ids))
    assert "".join(pieces).rstrip("\ufffd") == TOKENIZER.decode(ids).rstrip("\ufffd")
    assert all(pieces)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokens": 0}, "tokens is 0: choose"),
        ({"tokens": -1}, "tokens is -1: choose"),
        ({"seed": -1}, "seed is -1: choose"),
        ({"prompt": "a\udcff"}, "not valid text at character 1"),
    ],
)
def test_impossible_settings_are_refused_at_once(changed: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"prompt": "the", "tokens": 1, "options": USUAL, "seed": 0}
    with pytest.raises(SettingError, match=message):
        stream(MODEL, **(settings | changed))  # type: ignore[arg-type]  # wrong on purpose


def test_logits_that_are_not_finite_are_an_error_not_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "next_logits", lambda *_: np.full((1, CONFIG.vocab_size), np.nan))
    with pytest.raises(InputError, match="not finite"):
        next(stream(MODEL, "the", tokens=1, options=USUAL, seed=0))


def test_an_empty_prompt_needs_a_token_to_start_from() -> None:
    plain = Tokenizer(BPE(vocab={chr(97 + i): i for i in range(4)}, merges=[]))
    config = ModelConfig(vocab_size=4, dim=4, layers=1, heads=1, seq_len=4)
    model = TextModel(config, Parameters(config, initialise(config, seed=0)), plain)
    with pytest.raises(SettingError, match="give it a prompt"):
        stream(model, "", tokens=1, options=USUAL, seed=0)
    assert len(list(stream(model, "ab", tokens=3, options=USUAL, seed=0))) > 0


def test_a_saved_model_speaks_as_it_did_in_memory(tmp_path: Path) -> None:
    save_model(tmp_path, CONFIG, MODEL.parameters.flat, TOKENIZER.to_str())
    loaded = TextModel.load(tmp_path)
    one, two = (
        "".join(stream(model, "the cat", tokens=12, options=USUAL, seed=3)) for model in (MODEL, loaded)
    )
    assert one == two
    workspace = Workspace(CONFIG, 1, training=False)
    tokens = np.array([ids_of("the cat")], np.int32)
    before, after = (next_logits(m.parameters, tokens, workspace) for m in (MODEL, loaded))
    assert before.tobytes() == after.tobytes()


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    other = train_tokenizer(Corpus.from_text(" ".join(f"word{n}" for n in range(99)) * 3), 299)
    save_model(tmp_path, CONFIG, MODEL.parameters.flat, other.to_str())
    with pytest.raises(
        ModelFolderError, match=f"tokenizer has 299 entries but the model {CONFIG.vocab_size}"
    ):
        TextModel.load(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError):
        TextModel.load(tmp_path / "nowhere")


def test_contexts_of_every_length_agree_with_one_pass_over_the_whole() -> None:
    context = np.array([ids_of("the cat sat on the mat")[:8]], np.int32)
    workspace = Workspace(CONFIG, 1, training=False)
    whole = logits(MODEL.parameters, context, workspace)[0]
    for end in range(1, context.shape[1] + 1):
        last = next_logits(MODEL.parameters, context[:, :end], workspace)[0]
        assert last == pytest.approx(whole[end - 1], abs=1e-4)


def test_seeds_are_not_neighbours() -> None:
    texts = ["".join(stream(MODEL, "the", tokens=12, options=USUAL, seed=seed)) for seed in range(5)]
    assert all(a != b for a, b in pairwise(texts))
