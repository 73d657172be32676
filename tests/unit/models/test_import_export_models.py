"""Import, export, import: the same weights, sizes and texts; a record of where they came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crystalline.errors import InputError, ModelFolderError, OutputError, SettingError
from crystalline.model import load_config, save_model, weights_sha256
from crystalline.model.export_gguf import write_gguf
from crystalline.model.export_hf import HF_FILES, write_hf
from crystalline.model.opening import open_model
from crystalline.models import (
    RECORD,
    Store,
    damages,
    describe,
    export_model,
    import_model,
    parts_of,
    read_record,
    summarise,
)
from tests.helpers.small_models import (
    TEMPLATE,
    chat_model,
    listing,
    llama3_tokenizer,
    sentencepiece_model,
    small_model,
)

if TYPE_CHECKING:
    from pathlib import Path

    from crystalline.model import LoadedModel

MODELS = {
    "ours": small_model(),
    "untied": small_model(tied=False),
    "chat": chat_model(),
    "llama3": small_model(llama3_tokenizer()),
    "sentencepiece": sentencepiece_model(),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_out_and_back_the_weights_are_the_same(store: Store, tmp_path: Path, model: LoadedModel) -> None:
    write_hf(tmp_path / "source", model)
    import_model(store, tmp_path / "source", "a")
    export_model(store.place("a"), tmp_path / "out", layout="hf", kind="f32")
    export_model(store.place("a"), tmp_path / "out.gguf", layout="gguf", kind="f32", name="a")
    import_model(store, tmp_path / "out", "b")
    import_model(store, tmp_path / "out.gguf", "c")
    found = [summarise(store, name) for name in "abc"]
    assert {each.record.weights_sha256 for each in found} == {weights_sha256(model.flat)}
    assert [each.config for each in found] == [model.config] * 3
    for name in "abc":
        assert damages(store.place(name)) == []
    hf, gguf = (open_model(store.place(name)).text for name in "bc")
    assert hf == model.text
    assert (gguf.begin_id, gguf.end_ids, gguf.chat_template) == (hf.begin_id, hf.end_ids, hf.chat_template)


@pytest.mark.parametrize(("layout", "kind"), [("hf", "f16"), ("gguf", "f16"), ("gguf", "q8_0")])
def test_fewer_bits_lose_nothing_the_second_time(
    store: Store, tmp_path: Path, layout: str, kind: str
) -> None:
    write_hf(tmp_path / "source", chat_model())
    source = tmp_path / "source"
    for turn in ("one", "two"):
        export_model(source, tmp_path / turn, layout=layout, kind=kind, name="m")  # type: ignore[arg-type]  # it is one
        import_model(store, tmp_path / turn, turn)
        source = store.place(turn)
    hashes = [summarise(store, turn).record.weights_sha256 for turn in ("one", "two")]
    assert hashes[0] == hashes[1] != weights_sha256(chat_model().flat)


def test_what_is_stored_says_where_it_came_from(store: Store, tmp_path: Path) -> None:
    write_gguf(tmp_path / "My model.gguf", chat_model(), "q8_0")
    assert import_model(store, tmp_path / "My model.gguf") == "My-model"
    record = read_record(store.place("My-model"))
    assert (record.source, record.source_kind) == (str(tmp_path / "My model.gguf"), "gguf")
    assert record.weights_sha256 == weights_sha256(open_model(tmp_path / "My model.gguf").flat)
    assert set(record.files) == set(HF_FILES)
    assert listing(store.place("My-model")) == sorted([*HF_FILES, RECORD])
    assert record.size == sum((store.place("My-model") / name).stat().st_size for name in HF_FILES)


def test_a_folder_of_our_own_training_is_one_of_those(store: Store, tmp_path: Path) -> None:
    model = small_model()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    save_model(tmp_path / "run", model.config, model.flat, model.tokenizer_json)
    assert import_model(store, tmp_path / "run") == "run"
    assert read_record(store.place("run")).source_kind == "run"
    assert open_model(store.place("run")).text == model.text


def test_progress_says_what_is_done(store: Store, tmp_path: Path) -> None:
    write_hf(tmp_path / "m", small_model())
    told: list[tuple[str, float]] = []
    import_model(store, tmp_path / "m", None, lambda *each: told.append(each))
    assert list(dict.fromkeys(doing for doing, _ in told)) == ["reading", "hashing", "writing", "checking"]
    assert told[-1] == ("checking", 1.0)
    told.clear()
    export_model(
        store.place("m"),
        tmp_path / "out",
        layout="gguf",
        kind="f32",
        progress=lambda *each: told.append(each),
    )
    assert told[0] == ("reading", 0.0)
    assert told[-1] == ("writing", 1.0)


def test_what_cannot_be_opened_is_not_stored(store: Store, tmp_path: Path) -> None:
    write_hf(tmp_path / "m", small_model())
    (tmp_path / "m" / "config.json").write_text('{"model_type": "mamba"}')
    for path in (tmp_path / "m", tmp_path / "nothing"):
        with pytest.raises(ModelFolderError):
            import_model(store, path)
    assert not store.folder.exists()


def test_a_name_that_is_taken_is_said_before_the_work(store: Store, tmp_path: Path) -> None:
    write_hf(tmp_path / "m", small_model())
    import_model(store, tmp_path / "m")
    with pytest.raises(OutputError, match="exists"):
        import_model(store, tmp_path / "nothing", "m")


def test_an_import_of_what_is_stored_is_a_copy(store: Store, tmp_path: Path) -> None:
    write_hf(tmp_path / "m", small_model())
    import_model(store, tmp_path / "m", "a")
    import_model(store, store.place("a"), "b")
    assert summarise(store, "b").record.weights_sha256 == summarise(store, "a").record.weights_sha256


def test_a_folder_holds_no_eight_bits(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="choose f32 or f16, or the format gguf"):
        export_model(tmp_path / "nothing", tmp_path / "out", layout="hf", kind="q8_0")


def test_a_destination_is_looked_at_before_the_model(tmp_path: Path) -> None:
    write_hf(tmp_path / "source", chat_model())
    (tmp_path / "file").write_text("no folder")
    seen: list[str] = []
    for target in (tmp_path / "file", tmp_path / "file" / "x", tmp_path / "file" / "x" / "y.gguf"):
        with pytest.raises((OutputError, OSError)) as raised:
            export_model(
                tmp_path / "source",
                target,
                layout="gguf",
                kind="f32",
                progress=lambda doing, _part: seen.append(doing),
            )
        assert str(target) in str(raised.value)
    assert seen == []
    with pytest.raises(ModelFolderError):
        export_model(tmp_path / "nothing", tmp_path / "new" / "x", layout="hf", kind="f32")
    assert listing(tmp_path) == ["file", "source"], "no folder was made for nothing"


def test_an_export_makes_the_folders_above_it(tmp_path: Path) -> None:
    write_hf(tmp_path / "m", small_model())
    export_model(tmp_path / "m", tmp_path / "a" / "b" / "m.gguf", layout="gguf", kind="f16")
    assert listing(tmp_path / "a" / "b") == ["m.gguf"]


def test_a_description_has_everything(store: Store, tmp_path: Path) -> None:
    model = chat_model()
    write_hf(tmp_path / "m", model)
    import_model(store, tmp_path / "m")
    found = describe(store, "m")
    assert found.text == model.text
    assert found.text.chat_template == TEMPLATE
    assert found.ends == ("<|im_end|>", "<|endoftext|>")
    assert found.tokens == model.config.vocab_size
    answer = found.to_json()
    assert answer["parameters"] == model.config.parameter_count() == sum(answer["parts"].values())
    assert (answer["end_ids"], answer["begin_id"], answer["chat_template"]) == ([361, 0], 360, True)
    assert (
        answer["files"]["config.json"]["sha256"] == read_record(store.place("m")).files["config.json"].sha256
    )


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_parameter_is_in_one_part(model: LoadedModel) -> None:
    parts = parts_of(model.config)
    assert sum(parts.values()) == model.config.parameter_count()
    assert all(parts.values())
    assert ("output" in parts) == (not model.config.tied)


def test_a_damaged_model_is_named(store: Store, tmp_path: Path) -> None:
    write_hf(tmp_path / "m", small_model())
    import_model(store, tmp_path / "m")
    for name in ("config.json", "tokenizer.json", RECORD):
        content = (store.place("m") / name).read_bytes()
        (store.place("m") / name).write_bytes(content[:-9])
        with pytest.raises(InputError, match=name):
            describe(store, "m")
        (store.place("m") / name).write_bytes(content)
    assert load_config(store.place("m")) == small_model().config
