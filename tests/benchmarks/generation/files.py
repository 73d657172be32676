"""One model in the format of every way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from crystalline.model import LoadedModel, ModelConfig, TextSettings, initialise
from crystalline.model.export_gguf import write_gguf
from crystalline.model.export_hf import write_hf
from crystalline.model.opening import open_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["SMOLLM2", "Files", "made_up", "opened", "write"]

SMOLLM2: Final = ModelConfig(
    vocab_size=49_152,
    dim=576,
    layers=30,
    heads=9,
    kv_heads=3,
    ffn_dim=1536,
    seq_len=8192,
    rope_theta=100_000.0,
)
"""The sizes of SmolLM2-135M."""

_TINY: Final = ModelConfig(vocab_size=400, dim=64, layers=2, heads=4, kv_heads=2, ffn_dim=96, seq_len=512)


@dataclass(frozen=True, slots=True)
class Files:
    """Where a model lies.

    Attributes:
        folder: as the Hugging Face ecosystem has it.
        gguf: way -> file of llama.cpp.
    """

    folder: Path
    gguf: dict[str, Path] = field(default_factory=dict)


def opened(path: Path) -> LoadedModel:
    """The model of a file or folder.

    Raises:
        ModelFolderError: it cannot be opened.
    """
    return open_model(path)


def made_up(*, tiny: bool) -> LoadedModel:
    """A model whose weights mean nothing, with a token for each of its ids."""
    config = _TINY if tiny else SMOLLM2
    return LoadedModel(
        config=config,
        flat=initialise(config, seed=0),
        tokenizer_json=_tokenizer(config.vocab_size),
        text=TextSettings(),
    )


def write(model: LoadedModel, place: Path, ways: Sequence[str]) -> Files:
    """Write what the ways need into a folder."""
    files = Files(place / "folder", {"llama": place / "f32.gguf", "llama_q8": place / "q8_0.gguf"})
    write_hf(files.folder, model)
    for way, kind in (("llama", "f32"), ("llama_q8", "q8_0")):
        if way in ways:
            write_gguf(files.gguf[way], model, "q8_0" if kind == "q8_0" else "f32")
    return files


def _tokenizer(entries: int) -> str:
    alphabet = sorted(ByteLevel.alphabet())
    words = [*alphabet, *(f"{a}{b}" for a in alphabet for b in alphabet)][:entries]
    tokenizer = Tokenizer(BPE({word: at for at, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    return tokenizer.to_str()
