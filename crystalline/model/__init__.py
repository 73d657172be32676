"""The Llama-family transformer: sizes, parameters, forward and backward, and its files on disk.

Everything here is synchronous numpy. A caller that wants results to repeat to the last bit limits the
BLAS to one thread.
"""

from __future__ import annotations

from crystalline.model.config import ModelConfig
from crystalline.model.files import load_config, load_model, load_tokenizer_json, save_model
from crystalline.model.parameters import (
    Layout,
    Parameters,
    initialise,
    layout_of,
    name_at,
    weights_sha256,
)
from crystalline.model.transformer import logits, loss, loss_and_gradient, next_logits
from crystalline.model.workspace import Workspace

__all__ = [
    "Layout",
    "ModelConfig",
    "Parameters",
    "Workspace",
    "initialise",
    "layout_of",
    "load_config",
    "load_model",
    "load_tokenizer_json",
    "logits",
    "loss",
    "loss_and_gradient",
    "name_at",
    "next_logits",
    "save_model",
    "weights_sha256",
]
