"""The sizes of a model, and their Hugging Face spelling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystalline.errors import ModelFolderError, SettingError
from crystalline.model.hf_config import hf_content, hf_settings
from crystalline.model.strict_json import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystalline.kernels.rope_scaling import RopeScaling

__all__ = ["ModelConfig"]

_FFN_MULTIPLE = 16  # a row of the feed-forward layer fills whole cache lines
# Far above any use. Products of sizes are exact in Python, but numpy and messages should not see absurd ones.
_SIZE_MAX, _NUMBER_MAX = 10**15, 1e30
_SHARE_OF_DIM: Any = None  # a width of head that is not given; none is left once the config is made


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Sizes of a Llama-family transformer. The defaults make a model of 1.1 million parameters.

    Attributes:
        vocab_size: number of token ids, V.
        dim: width of the residual stream, D.
        layers: number of transformer layers.
        heads: number of query heads, H.
        kv_heads: number of key and value heads, K; divides `heads`. None means `heads`; the resolved
            number is stored.
        head_dim: width of one head, d, even. None means `dim` / `heads`, which must then be whole; the
            resolved number is stored.
        ffn_dim: width of the feed-forward layer, F. None means 8/3 of `dim`, rounded up to a multiple
            of 16; the resolved number is stored.
        seq_len: most positions in one sequence, T.
        rope_theta: base of the rotary angles, at least 1.
        rope_scaling: how the rotary frequencies are slowed down; None leaves them as they are.
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
    # Last, because what older runs have recorded lists the others in this order.
    head_dim: int = _SHARE_OF_DIM
    rope_scaling: RopeScaling | None = None

    def __post_init__(self) -> None:
        for name in ("vocab_size", "dim", "layers", "heads", "kv_heads", "head_dim", "ffn_dim", "seq_len"):
            _check_size(name, getattr(self, name), optional=name in {"kv_heads", "head_dim", "ffn_dim"})
        for name in ("rope_theta", "norm_eps"):
            _check_positive(name, getattr(self, name))
        if self.rope_theta < 1:  # its powers would grow beyond all numbers
            raise SettingError(f"rope_theta must be at least 1, got {shown(self.rope_theta)}")
        if not isinstance(self.tied, bool):
            raise SettingError(f"tied must be true or false, got {shown(self.tied)}")
        if self.kv_heads is None:
            object.__setattr__(self, "kv_heads", self.heads)
        if self.ffn_dim is None:
            widened = -(-8 * self.dim // 3)
            object.__setattr__(self, "ffn_dim", -(-widened // _FFN_MULTIPLE) * _FFN_MULTIPLE)
        self._check_heads()

    def _check_heads(self) -> None:
        if self.head_dim is _SHARE_OF_DIM:
            object.__setattr__(self, "head_dim", self._even_share())
        if self.head_dim % 2:
            raise SettingError(
                f"head_dim is {self.head_dim}, but rotary positions need an even width; change it"
            )
        if self.heads % self.key_value_heads:
            raise SettingError(
                f"kv_heads={self.kv_heads} does not divide heads={self.heads}; "
                f"choose kv_heads from {_divisors(self.heads)}"
            )

    def _even_share(self) -> int:
        if self.dim % self.heads:
            raise SettingError(
                f"heads={self.heads} does not divide dim={self.dim}; choose heads from {_divisors(self.dim)}"
            )
        width = self.dim // self.heads
        if width % 2:
            raise SettingError(
                f"dim={self.dim} over heads={self.heads} gives heads of width {width}, but rotary "
                "positions need an even width; change heads or dim"
            )
        return width

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
        return hf_content(self, bos_token_id=bos_token_id, eos_token_id=eos_token_id)

    @classmethod
    def from_hf(cls, content: Mapping[str, Any]) -> ModelConfig:
        """Read the content of a `config.json`.

        Both spellings of the rotary settings are read: `rope_theta` with `rope_scaling`, and the newer
        `rope_parameters`.

        Raises:
            ModelFolderError: another model type, a key that is missing or of the wrong type, a feature
                that is not computed here, or sizes that do not fit together.
        """
        try:
            return cls(**hf_settings(content))
        except SettingError as error:
            raise ModelFolderError(f"impossible sizes: {error}") from None


def _check_size(name: str, value: object, *, optional: bool) -> None:
    if value is None and optional:
        return
    # bool is an int to Python; `heads=True` is a mistake all the same.
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SettingError(f"{name} must be a whole number of at least 1, got {shown(value)}")
    if value > _SIZE_MAX:
        raise SettingError(f"{name} is above {_SIZE_MAX:.0e}, which is no size of a model")


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingError(f"{name} must be a number, got {shown(value)}")
    if not 0 < value < math.inf:
        raise SettingError(f"{name} must be finite and above 0, got {shown(value)}")
    if value > _NUMBER_MAX:
        raise SettingError(f"{name} is above {_NUMBER_MAX:.0e}, which no model needs")


def _divisors(number: int) -> str:
    return ", ".join(str(d) for d in range(1, min(number, 512) + 1) if number % d == 0)
