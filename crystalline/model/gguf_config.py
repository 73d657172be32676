"""The sizes of a model from the keys of a GGUF file. Pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from crystalline.errors import ModelFolderError, SettingError
from crystalline.kernels.rope_scaling import RopeScaling
from crystalline.model.config import ModelConfig
from crystalline.model.strict_json import REMEDY, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

__all__ = ["config_of_gguf", "llama3_scaling"]

_ARCHITECTURE: Final = "llama"

# Keys of theirs, after "llama.", that change the computation, with the values that leave it as it is.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "attention.sliding_window": (0,),
    "attention.scale": (),
    "attention.max_alibi_bias": (0.0,),
    "attention.clamp_kqv": (0.0,),
    "logit_scale": (1.0,),
    "residual_scale": (1.0,),
    "embedding_scale": (1.0,),
    "use_parallel_residual": (False,),
    "rope.scaling.attn_factor": (1.0,),
    "tensor_data_layout": ("Meta AI original pth",),
}
# The divisors are stored as float32; a fit of them is good when it gives them back to rounding.
_FIT_RTOL = 1e-5
_BETWEEN, _FIT_MAX = 1e-4, 1e12
_USUAL_LOW, _USUAL_HIGH, _USUAL_SEQ_LEN = 1.0, 4.0, 8192


def config_of_gguf(
    values: Mapping[str, Any], vocab_size: int, *, tied: bool, divisors: npt.NDArray[np.float32] | None
) -> ModelConfig:
    """The sizes.

    Args:
        values: the keys of the header.
        vocab_size: rows of the embedding.
        tied: whether the file has no output projection of its own.
        divisors: the tensor `rope_freqs.weight`, by which rotary frequencies are divided; None: not there.

    Raises:
        ModelFolderError: another architecture, a feature that is not computed here, a key that is missing or
            of the wrong type, or sizes that do not fit together.
    """
    _refuse_others(values)
    given = {key.removeprefix("llama."): value for key, value in values.items() if key.startswith("llama.")}
    heads = _needed(given, "attention.head_count")
    head_dim: Any = given.get("attention.key_length")
    try:
        plain = ModelConfig(
            vocab_size=vocab_size,
            dim=_needed(given, "embedding_length"),
            layers=_needed(given, "block_count"),
            heads=heads,
            kv_heads=given.get("attention.head_count_kv", heads),
            ffn_dim=_needed(given, "feed_forward_length"),
            seq_len=_needed(given, "context_length"),
            rope_theta=_shortest(given.get("rope.freq_base", 10_000.0)),
            norm_eps=_shortest(_needed(given, "attention.layer_norm_rms_epsilon")),
            tied=tied,
            head_dim=head_dim,
            rope_scaling=_linear_scaling(given),
        )
    except SettingError as error:
        raise ModelFolderError(f"impossible sizes: {error}") from None
    for key in ("attention.value_length", "rope.dimension_count"):
        if given.get(key, plain.head_dim) != plain.head_dim:
            raise ModelFolderError(
                f"llama.{key}={shown(given[key])} is not supported; heads are {plain.head_dim} wide"
            )
    if divisors is None:
        return plain
    if plain.rope_scaling is not None:
        raise ModelFolderError("rope_freqs.weight beside llama.rope.scaling is not supported")
    scaling = llama3_scaling(plain, divisors, given.get("rope.scaling.original_context_length"))
    return dataclasses.replace(plain, rope_scaling=scaling)


def llama3_scaling(
    config: ModelConfig, divisors: npt.NDArray[np.float32], original_seq_len: object = None
) -> RopeScaling | None:
    """The scaling of Llama 3 that divides rotary frequencies by these numbers; None when all are 1.

    A file has the divisors only. They determine the quotients of the original length and its two factors, and
    so the computation; the lower factor is set to 1, as it is in every released model.

    Args:
        config: width of heads and base of the angles.
        divisors: (d/2,).
        original_seq_len: what the file says of the original length, if it does.

    Raises:
        ModelFolderError: no such scaling gives these divisors.
    """
    wanted = divisors.astype(np.float64)
    if wanted.shape != (config.head_dim // 2,) or not np.isfinite(wanted).all() or wanted.min() <= 0:
        raise ModelFolderError(f"rope_freqs.weight is damaged: {REMEDY}")
    if np.all(wanted == 1.0):
        return None
    frequencies = config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    factor = _shortest(float(divisors.max()))
    candidates = [(_USUAL_HIGH, _USUAL_SEQ_LEN), *_fitted(frequencies, wanted, factor)]
    if type(original_seq_len) is int:
        candidates.insert(0, (_USUAL_HIGH, original_seq_len))
    for high, seq_len in candidates:
        try:
            scaling = RopeScaling(
                kind="llama3",
                factor=factor,
                low_freq_factor=_USUAL_LOW,
                high_freq_factor=high,
                original_seq_len=seq_len,
            )
        except SettingError:
            continue
        if np.allclose(frequencies / scaling.slowed(frequencies), wanted, rtol=_FIT_RTOL, atol=0):
            return scaling
    raise ModelFolderError("rope_freqs.weight is not the scaling of Llama 3, and is not supported")


def _fitted(
    frequencies: npt.NDArray[np.float64], divisors: npt.NDArray[np.float64], factor: float
) -> list[tuple[float, int]]:
    """Upper factor and original length, from the frequencies that are neither kept nor divided in full.

    For these 1/divisor = kept + (1 - kept)/factor, and kept is a line over the frequency.
    """
    if factor <= 1.0:
        return []
    kept = (1.0 / divisors - 1.0 / factor) / (1.0 - 1.0 / factor)
    between = (kept > _BETWEEN) & (kept < 1.0 - _BETWEEN)
    if between.sum() < len(("slope", "offset")):
        return []
    slope, offset = np.polyfit(frequencies[between], kept[between], 1)
    if not (slope > 0 and offset < 0):
        return []
    high = 1.0 - 1.0 / float(offset)
    seq_len = float(slope) * 2 * np.pi * (high - 1.0)
    if not (high < _FIT_MAX and seq_len < _FIT_MAX):
        return []
    return [(float(round(high, 3)), round(seq_len)), (high, round(seq_len))]


def _refuse_others(values: Mapping[str, Any]) -> None:
    architecture = values.get("general.architecture")
    if architecture != _ARCHITECTURE:
        raise ModelFolderError(
            f"general.architecture is {shown(architecture)}; only 'llama' models can be opened"
        )
    if values.get("split.count", 0) not in (0, 1):
        raise ModelFolderError("it is one of several parts: merge them with llama-gguf-split --merge")
    for key, harmless in _HARMLESS.items():
        if f"llama.{key}" in values and values[f"llama.{key}"] not in harmless:
            raise ModelFolderError(f"llama.{key}={shown(values[f'llama.{key}'])} is not supported")


def _linear_scaling(given: Mapping[str, Any]) -> RopeScaling | None:
    kind = given.get("rope.scaling.type", "linear" if "rope.scale_linear" in given else "none")
    if kind == "none":
        return None
    if kind != "linear":
        raise ModelFolderError(f"llama.rope.scaling.type={shown(kind)} is not supported")
    factor = given.get("rope.scaling.factor", given.get("rope.scale_linear", 1.0))
    if factor == 0.0:  # llama.cpp's way to say that there is none
        return None
    scaling = RopeScaling(kind="linear", factor=_shortest(factor))
    return None if scaling.factor == 1.0 else scaling


def _needed(given: Mapping[str, Any], key: str) -> Any:
    if key not in given:
        raise ModelFolderError(f"the key llama.{key} is missing: {REMEDY}")
    return given[key]


def _shortest(value: Any) -> Any:
    """A float32 as the shortest decimal that is stored so: 1e-05, not 9.99999974e-06."""
    with np.errstate(over="ignore"):
        return float(str(np.float32(value))) if isinstance(value, float) else value
