"""The Llama-family transformer: sizes, parameters, forward and backward, and its files on disk.

Everything here is synchronous numpy. A caller that wants results to repeat to the last bit limits the
BLAS to one thread.
"""

from __future__ import annotations

from crystalline.kernels.rope_scaling import RopeScaling
from crystalline.model.config import ModelConfig
from crystalline.model.files import (
    MODEL_FILES,
    load_config,
    load_model,
    load_tokenizer_json,
    model_folder,
    read_model,
    save_model,
)
from crystalline.model.loaded import LoadedModel, TextSettings
from crystalline.model.manifest import MANIFEST, read_json, verify, write_json, write_manifest
from crystalline.model.parameters import (
    LayerParameters,
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
    "MANIFEST",
    "MODEL_FILES",
    "LayerParameters",
    "Layout",
    "LoadedModel",
    "ModelConfig",
    "Parameters",
    "RopeScaling",
    "TextSettings",
    "Workspace",
    "initialise",
    "layout_of",
    "load_config",
    "load_model",
    "load_tokenizer_json",
    "logits",
    "loss",
    "loss_and_gradient",
    "model_folder",
    "name_at",
    "next_logits",
    "read_json",
    "read_model",
    "save_model",
    "verify",
    "weights_sha256",
    "write_json",
    "write_manifest",
]
