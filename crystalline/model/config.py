"""The sizes of a model, and their Hugging Face spelling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crystalline.errors import ModelFolderError, SettingError

__all__ = ["ModelConfig"]

_FFN_MULTIPLE = 16  # a row of the feed-forward layer fills whole cache lines

# Ours -> theirs. Keys that transformers fills in by itself when absent are optional here too.
_HF_KEYS = {
    "vocab_size": "vocab_size",
    "dim": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "ffn_dim": "intermediate_size",
    "seq_len": "max_position_embeddings",
    "norm_eps": "rms_norm_eps",
    "tied": "tie_word_embeddings",
}
_HF_OPTIONAL = {"kv_heads": None, "norm_eps": 1e-6, "tied": False}
# Settings of theirs that change the computation, with the one value that ours computes.
_HF_FIXED: dict[str, Any] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "rope_scaling": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Sizes of a Llama-family transformer. The defaults make a model of 1.1 million parameters.

    Attributes:
        vocab_size: number of token ids, V.
        dim: width of the residual stream, D.
        layers: number of transformer layers.
        heads: number of query heads, H; divides `dim`.
        kv_heads: number of key and value heads, K; divides `heads`. None means `heads`; the resolved
            number is stored.
        ffn_dim: width of the feed-forward layer, F. None means 8/3 of `dim`, rounded up to a multiple
            of 16; the resolved number is stored.
        seq_len: most positions in one sequence, T.
        rope_theta: base of the rotary angles.
        norm_eps: added to the mean square in RMSNorm.
        tied: whether the output projection is the embedding table.

    Raises:
        SettingError: a size is not positive, or two sizes do not fit together.
    """

    vocab_size: int = 4096
    dim: int = 128
    layers: int = 3
    heads: int = 4
    kv_heads: int | None = None
    ffn_dim: int | None = None
    seq_len: int = 128
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab_size", "dim", "layers", "heads", "kv_heads", "ffn_dim", "seq_len"):
            _check_size(name, getattr(self, name), optional=name in {"kv_heads", "ffn_dim"})
        for name in ("rope_theta", "norm_eps"):
            _check_positive(name, getattr(self, name))
        if not isinstance(self.tied, bool):
            raise SettingError(f"tied must be true or false, got {self.tied!r}")
        if self.kv_heads is None:
            object.__setattr__(self, "kv_heads", self.heads)
        if self.ffn_dim is None:
            widened = -(-8 * self.dim // 3)
            object.__setattr__(self, "ffn_dim", -(-widened // _FFN_MULTIPLE) * _FFN_MULTIPLE)
        self._check_heads()

    def _check_heads(self) -> None:
        if self.dim % self.heads:
            raise SettingError(
                f"heads={self.heads} does not divide dim={self.dim}; choose heads from {_divisors(self.dim)}"
            )
        if self.head_dim % 2:
            raise SettingError(
                f"dim={self.dim} over heads={self.heads} gives heads of width {self.head_dim}, but rotary "
                "positions need an even width; change heads or dim"
            )
        if self.heads % self.key_value_heads:
            raise SettingError(
                f"kv_heads={self.kv_heads} does not divide heads={self.heads}; "
                f"choose kv_heads from {_divisors(self.heads)}"
            )

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.dim // self.heads

    @property
    def key_value_heads(self) -> int:
        """`kv_heads`, which is never None once the config is made, as a plain int."""
        return self.heads if self.kv_heads is None else self.kv_heads

    @property
    def feed_forward_dim(self) -> int:
        """`ffn_dim`, which is never None once the config is made, as a plain int."""
        return 0 if self.ffn_dim is None else self.ffn_dim

    def parameter_count(self) -> int:
        """Number of trained values; a tied output projection counts once."""
        attention = 2 * self.dim * (self.heads + self.key_value_heads) * self.head_dim
        feed_forward = 3 * self.dim * self.feed_forward_dim
        tables = self.vocab_size * self.dim * (1 if self.tied else 2)
        return tables + self.layers * (attention + feed_forward + 2 * self.dim) + self.dim

    def to_hf(self, *, bos_token_id: int | None = None, eos_token_id: int | None = None) -> dict[str, Any]:
        """The content of `config.json` for transformers' LlamaForCausalLM.

        Args:
            bos_token_id: id of the token that begins a text; None means that there is none.
            eos_token_id: id of the token that ends a text; None means that there is none.
        """
        sizes = {theirs: getattr(self, ours) for ours, theirs in _HF_KEYS.items()}
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            **sizes,
            "head_dim": self.head_dim,
            "rope_theta": self.rope_theta,
            **_HF_FIXED,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "bos_token_id": bos_token_id,
            "eos_token_id": eos_token_id,
            "pad_token_id": None,
            "torch_dtype": "float32",
            "use_cache": True,
        }

    @classmethod
    def from_hf(cls, content: Mapping[str, Any]) -> ModelConfig:
        """Read the content of a `config.json`.

        Both spellings of the rotary base are read: `rope_theta` at the top, and the newer
        `rope_parameters`.

        Raises:
            ModelFolderError: another model type, a key that is missing or of the wrong type, a feature
                that is not computed here, or sizes that do not fit together.
        """
        if content.get("model_type") != "llama":
            raise ModelFolderError(
                f"model_type is {content.get('model_type')!r}; only 'llama' models can be opened"
            )
        for key, value in _HF_FIXED.items():
            if content.get(key, value) != value:
                raise ModelFolderError(f"{key}={content[key]!r} is not supported yet; it must be {value!r}")
        settings = {ours: _hf_value(content, ours, theirs) for ours, theirs in _HF_KEYS.items()}
        try:
            config = cls(**settings, rope_theta=_hf_rope_theta(content))
        except SettingError as error:
            raise ModelFolderError(f"impossible sizes: {error}") from None
        if content.get("head_dim", config.head_dim) != config.head_dim:
            raise ModelFolderError(
                f"head_dim={content['head_dim']!r} is not supported yet; it must be "
                f"hidden_size / num_attention_heads = {config.head_dim}"
            )
        return config


def _hf_value(content: Mapping[str, Any], ours: str, theirs: str) -> Any:
    if theirs in content:
        return content[theirs]
    if ours in _HF_OPTIONAL:
        return _HF_OPTIONAL[ours]
    raise ModelFolderError(f"the key {theirs!r} is missing")


def _hf_rope_theta(content: Mapping[str, Any]) -> Any:
    parameters = content.get("rope_parameters") or {}
    if not isinstance(parameters, Mapping):
        raise ModelFolderError(f"rope_parameters must be an object, got {parameters!r}")
    if parameters.get("rope_type", "default") != "default":
        raise ModelFolderError(f"rope_type={parameters['rope_type']!r} is not supported yet")
    return content.get("rope_theta", parameters.get("rope_theta", 10_000.0))


def _check_size(name: str, value: object, *, optional: bool) -> None:
    if value is None and optional:
        return
    # bool is an int to Python; `heads=True` is a mistake all the same.
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SettingError(f"{name} must be a whole number of at least 1, got {value!r}")


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingError(f"{name} must be a number, got {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise SettingError(f"{name} must be finite and above 0, got {value!r}")


def _divisors(number: int) -> str:
    return ", ".join(str(d) for d in range(1, min(number, 512) + 1) if number % d == 0)
