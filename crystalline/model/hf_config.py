"""The content of `config.json`: sizes in Hugging Face's spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crystalline.errors import ModelFolderError, SettingError
from crystalline.kernels.rope_scaling import RopeScaling
from crystalline.model.strict_json import shown

if TYPE_CHECKING:
    from crystalline.model.config import ModelConfig

__all__ = ["hf_content", "hf_settings"]

# Ours -> theirs. Keys that transformers fills in by itself when absent are optional here too.
_KEYS = {
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
_OPTIONAL = {"kv_heads": None, "norm_eps": 1e-6, "tied": False}
_FIXED: dict[str, Any] = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
# Further settings of theirs that would change the computation, with the values that leave it as it is.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu",),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "pretraining_tp": (1, None),
    "partial_rotary_factor": (1, None),
    "quantization_config": (None,),
    "sliding_window": (None,),
}
_LLAMA3_KEYS = {
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_seq_len": "original_max_position_embeddings",
}


def hf_content(config: ModelConfig, *, bos_token_id: int | None, eos_token_id: int | None) -> dict[str, Any]:
    """What `ModelConfig.to_hf` returns."""
    sizes = {theirs: getattr(config, ours) for ours, theirs in _KEYS.items()}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **sizes,
        "head_dim": config.head_dim,
        "rope_theta": config.rope_theta,
        **_FIXED,
        "rope_scaling": _scaling_content(config.rope_scaling),
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "bos_token_id": bos_token_id,
        "eos_token_id": eos_token_id,
        "pad_token_id": None,
        "torch_dtype": "float32",
        "use_cache": True,
    }


def hf_settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `ModelConfig` for the content of a `config.json`, their values not yet checked.

    Raises:
        ModelFolderError: as `ModelConfig.from_hf`.
    """
    if content.get("model_type") != "llama":
        raise ModelFolderError(
            f"model_type is {shown(content.get('model_type'))}; only 'llama' models can be opened"
        )
    for key, harmless in _HARMLESS.items():
        if content.get(key, harmless[0]) not in harmless:
            raise ModelFolderError(
                f"{key}={shown(content[key])} is not supported; it must be {harmless[0]!r}"
            )
    settings = {ours: _value(content, ours, theirs) for ours, theirs in _KEYS.items()}
    rope = _rope(content)
    return {
        **settings,
        "head_dim": content.get("head_dim"),
        "rope_theta": rope.get("rope_theta", content.get("rope_theta", 10_000.0)),
        "rope_scaling": _scaling(rope, settings["seq_len"]),
    }


def _value(content: Mapping[str, Any], ours: str, theirs: str) -> Any:
    if theirs in content:
        return content[theirs]
    if ours in _OPTIONAL:
        return _OPTIONAL[ours]
    raise ModelFolderError(f"the key {theirs!r} is missing")


def _rope(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object about rotary positions, in either spelling; the older one counts where both are there."""
    for key in ("rope_scaling", "rope_parameters"):
        found = content.get(key)
        if found is not None and not isinstance(found, Mapping):
            raise ModelFolderError(f"{key} must be an object, got {shown(found)}")
        if found:
            return found
    return {}


def _scaling(rope: Mapping[str, Any], seq_len: Any) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default" if "factor" not in rope else None))
    if kind == "default":
        return None
    if kind not in ("linear", "llama3"):  # a tuple: the value may be unhashable
        raise ModelFolderError(
            f"rope_type={shown(kind)} is not supported; it must be 'default', 'linear' or 'llama3'"
        )
    wanted = {"factor": "factor"} | (_LLAMA3_KEYS if kind == "llama3" else {})
    given = {"original_max_position_embeddings": seq_len, **rope}
    for theirs in wanted.values():
        if theirs not in given:
            raise ModelFolderError(f"rope scaling lacks the key {theirs!r}")
    try:
        return RopeScaling(kind=kind, **{ours: given[theirs] for ours, theirs in wanted.items()})
    except SettingError as error:
        raise ModelFolderError(str(error)) from None


def _scaling_content(scaling: RopeScaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    common = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind == "linear":
        return common
    return common | {theirs: getattr(scaling, ours) for ours, theirs in _LLAMA3_KEYS.items()}
