"""Generation: the saved model's own network and tokenizer, whole characters, repeatable by seed."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

from crystalline.data import Corpus, train_tokenizer
from crystalline.errors import InputError, ModelFolderError, SettingError
from crystalline.inference import Engine, SamplingOptions, TextModel, complete, generate, stream
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
from tests.helpers.scripted_engine import ScriptedEngine, following

if TYPE_CHECKING:
    from pathlib import Path

TOKENIZER = train_tokenizer(Corpus.from_text("naïve ☃ 日本 the cat sat on the mat " * 3), 290)
END = 0
CONFIG = ModelConfig(vocab_size=TOKENIZER.get_vocab_size(), dim=16, layers=2, heads=2, ffn_dim=16, seq_len=8)
TEXT = TextSettings(end_ids=(END,))
MODEL = TextModel(CONFIG, Parameters(CONFIG, initialise(CONFIG, seed=5) * 10), TOKENIZER, TEXT)
USUAL = SamplingOptions(temperature=1.0)
GREEDY = SamplingOptions(temperature=0.0)


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER.encode(text).ids)


@pytest.fixture(autouse=True)
def _nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes longer than all these tests; other tests hold the engine's ways to the same logits."""
    monkeypatch.setattr(generate, "Engine", partial(Engine, backend="numpy"))


def told(text: str | list[int], context: int = 1000) -> ScriptedEngine:
    """Predicts this text."""
    ids = ids_of(text) if isinstance(text, str) else text
    return ScriptedEngine(CONFIG.vocab_size, following(CONFIG.vocab_size, ids), context)


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    texts = [complete(MODEL, "the", tokens=7, options=USUAL, seed=seed).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_greedy_is_the_argmax_of_the_models_logits() -> None:
    found = complete(MODEL, "the", tokens=4, options=GREEDY)
    context = ids_of("the")
    for _ in range(4):
        workspace = Workspace(CONFIG, 1, training=False)
        context.append(
            int(logits(MODEL.parameters, np.array([context], np.int32), workspace)[0, -1].argmax())
        )
    assert list(found.ids) == context[len(ids_of("the")) :]
    assert found.text == TOKENIZER.decode(list(found.ids)).rstrip("\ufffd")


def test_a_window_that_slides_is_what_the_network_sees() -> None:
    """The ids after each slide are those of the network on the kept half, computed anew for every token."""
    found = complete(MODEL, "the cat sat", tokens=20, options=GREEDY, overflow="slide")
    workspace = Workspace(CONFIG, 1, training=False)
    window = ids_of("the cat sat")[-CONFIG.seq_len :]
    for token in found.ids:
        predicted = next_logits(MODEL.parameters, np.array([window], np.int32), workspace)[0]
        assert predicted.argmax() == token
        window.append(token)
        if len(window) > CONFIG.seq_len:
            window = window[-CONFIG.seq_len // 2 :]


def test_it_comes_in_pieces_as_it_is_made() -> None:
    engine = told(" cat sat")
    pieces = stream(MODEL, "the", tokens=99, options=GREEDY, engine=engine)
    assert engine.saw == [], "nothing is computed before it is asked for"
    first = next(pieces)
    assert (first.text, list(first.ids)) == (TOKENIZER.decode(ids_of(" cat sat")[:1]), ids_of(" cat sat")[:1])
    assert len(engine.saw) == 1


def test_a_stream_has_the_pieces_of_the_whole() -> None:
    pieces = list(stream(MODEL, "the", tokens=6, options=USUAL, seed=4, logprobs=2))
    whole = complete(MODEL, "the", tokens=6, options=USUAL, seed=4, logprobs=2)
    assert "".join(piece.text for piece in pieces) == whole.text
    assert tuple(token for piece in pieces for token in piece.ids) == whole.ids
    assert tuple(each for piece in pieces for each in piece.logprobs) == whole.logprobs
    assert [each.id for each in whole.logprobs] == list(whole.ids)
    assert (whole.usage.prompt_tokens, whole.usage.generated_tokens) == (len(ids_of("the")), 6)


def test_it_ends_before_a_token_that_ends_a_text() -> None:
    done = complete(MODEL, "the", options=GREEDY, engine=told([*ids_of("ab"), END]))
    assert (done.text, done.finish, list(done.ids)) == ("ab", "stop", ids_of("ab"))


@pytest.mark.parametrize("stop", ["sat", ("sat",), ["zzz", "sat"]])
def test_it_ends_at_one_stop_string_or_several(stop: Any) -> None:
    done = complete(MODEL, "the", options=GREEDY, stop=stop, engine=told(" cat sat on the mat"))
    assert (done.text, done.finish) == (" cat ", "stop")


def test_an_empty_prompt_starts_a_document() -> None:
    engine = told("a")
    assert complete(MODEL, "", tokens=1, options=GREEDY, engine=engine).text == "a"
    assert engine.saw == [[END]]


def test_a_prompt_may_be_ids() -> None:
    one, two = (complete(MODEL, prompt, tokens=5).ids for prompt in ("the cat", ids_of("the cat")))
    assert one == two


@pytest.mark.parametrize("wrong", [-1, CONFIG.vocab_size])
def test_ids_that_the_model_does_not_have_are_refused(wrong: int) -> None:
    with pytest.raises(SettingError, match=f"the prompt has the token id {wrong}, but the model has 0 to"):
        stream(MODEL, [1, wrong])


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers() -> None:
    with pytest.raises(SettingError, match="the prompt has 9 tokens but the model's context 8: shorten it"):
        stream(MODEL, [1] * 9)


def test_of_a_longer_prompt_the_end_is_seen_where_the_context_slides() -> None:
    long, short = "xyz" * 50 + "abcdefgh", "abcdefgh"
    assert len(ids_of(short)) == CONFIG.seq_len
    one, two = (
        complete(MODEL, prompt, tokens=5, options=USUAL, seed=1, overflow="slide") for prompt in (long, short)
    )
    assert one.ids == two.ids


def test_the_context_of_the_engine_counts() -> None:
    with Engine(MODEL.parameters, context=4, backend="numpy") as engine:
        done = complete(MODEL, "the", tokens=20, options=USUAL, engine=engine)
        assert (done.finish, len(done.ids)) == ("context", 4 + 1 - len(ids_of("the")))
        again = complete(MODEL, "the", tokens=2, options=USUAL, engine=engine)
    assert again.ids == done.ids[:2], "what the slot held is forgotten"


def test_room_that_is_not_needed_changes_nothing() -> None:
    with Engine(MODEL.parameters, backend="numpy") as engine:
        one = complete(MODEL, "the", tokens=4, options=USUAL, engine=engine)
    assert one == complete(MODEL, "the", tokens=4, options=USUAL)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokens": 0}, "tokens is 0: choose"),
        ({"seed": -1}, "seed is -1: choose"),
        ({"prompt": "a\udcff"}, "not valid text at character 1"),
        ({"prompt": []}, "the prompt has no tokens"),
        ({"stop": ""}, "stop has an empty text"),
        ({"logprobs": 21}, "logprobs is 21: choose 0 to 20"),
    ],
)
def test_impossible_settings_are_refused_at_once(changed: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"prompt": "the"}
    for ask in (stream, complete):
        with pytest.raises(SettingError, match=message):
            ask(MODEL, **(settings | changed))


def test_logits_that_are_not_finite_are_an_error_not_a_text() -> None:
    engine = ScriptedEngine(CONFIG.vocab_size, lambda _: np.full(CONFIG.vocab_size, np.nan))
    with pytest.raises(InputError, match="not finite"):
        next(stream(MODEL, "the", engine=engine))


def test_an_empty_prompt_needs_a_token_to_start_from() -> None:
    plain = Tokenizer(BPE(vocab={chr(97 + i): i for i in range(4)}, merges=[]))
    config = ModelConfig(vocab_size=4, dim=4, layers=1, heads=1, seq_len=4)
    model = TextModel(config, Parameters(config, initialise(config, seed=0)), plain)
    with pytest.raises(SettingError, match="give it a prompt"):
        stream(model, "")
    assert len(complete(model, "ab", tokens=2).ids) == 2


def test_a_saved_model_speaks_as_it_did_in_memory(tmp_path: Path) -> None:
    save_model(tmp_path, CONFIG, MODEL.parameters.flat, TOKENIZER.to_str())
    loaded = TextModel.load(tmp_path)
    one, two = (
        complete(model, "the cat", tokens=12, options=USUAL, seed=3, overflow="slide")
        for model in (MODEL, loaded)
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
    ids = [complete(MODEL, "the", tokens=7, options=USUAL, seed=seed).ids for seed in range(5)]
    assert all(a != b for a, b in pairwise(ids))


OTHER_PROCESS = """
import sys
from pathlib import Path
from crystalline.inference import SamplingOptions, TextModel, complete

options = SamplingOptions(temperature=1.3, top_k=200, top_p=0.95, min_p=0.001, repetition_penalty=1.1)
model = TextModel.load(Path(sys.argv[1]))
print(complete(model, "the", tokens=30, options=options, seed=int(sys.argv[2]), overflow="slide").ids)
"""


@pytest.mark.e2e
def test_a_seed_gives_the_same_ids_in_every_process(tmp_path: Path) -> None:
    save_model(tmp_path, CONFIG, MODEL.parameters.flat, TOKENIZER.to_str())
    commands = [[sys.executable, "-c", OTHER_PROCESS, str(tmp_path), seed] for seed in ("5", "5", "6")]
    one, two, other = (
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=50).stdout
        for command in commands
    )
    assert one == two != other
    assert one.startswith("(")
