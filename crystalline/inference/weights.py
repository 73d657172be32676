"""The weights as inference reads them: as they are, or as int8 with a scale for each row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from crystalline.errors import SettingError
from crystalline.model import Parameters

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats
    from crystalline.model import ModelConfig

__all__ = ["LayerWeights", "Matrix", "Precision", "Weights", "restored"]

Precision = Literal["float32", "int8"]

_LARGEST: Final = 127
_NO_SCALES: Final = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """One matrix, (O, I).

    Attributes:
        entries: float32, or int8 to be multiplied by the scale of its row.
        scales: (O,) float32; none where the entries are float32.
    """

    entries: npt.NDArray[Any]
    scales: npt.NDArray[np.float32]

    def rows(self, at: Any) -> npt.NDArray[np.float32]:
        """Some rows as float32: a view, or new."""
        rows: npt.NDArray[np.float32] = self.entries[at]
        return rows * self.scales[at][..., None] if len(self.scales) else rows


@dataclass(frozen=True, slots=True, eq=False)
class LayerWeights:
    """The matrices of one layer, as `LayerParameters` fuses them, and its gains."""

    qkv: Matrix  # (H*d + 2*K*d, D)
    o_proj: Matrix  # (D, H*d)
    gate_up: Matrix  # (2*F, D)
    down_proj: Matrix  # (D, F)
    attention_norm: Floats  # (D,)
    mlp_norm: Floats  # (D,)


class Weights:
    """All weights of a model for inference.

    As int8 each row of a matrix is divided by its largest magnitude over 127 and rounded to the nearest: a
    quarter of the bytes, and an error of at most half a step a weight. Gains stay float32.

    Args:
        parameters: float32; only read, and with `float32` not copied.
        precision: of the matrices.

    Attributes:
        config: the model's sizes.
        precision: as given.
        flat: all matrices one after another, float32 or int8.
        scales: of all their rows, or none.
        gains: (2 * layers + 1, D), before attention and feed-forward of each layer; last the final norm's.
        places: (4 * layers + 1, 2), int64: where each matrix begins in `flat`, and its rows in `scales`; for
            each layer `qkv`, `o_proj`, `gate_up`, `down_proj`; last the head.
        layers: the matrices of each layer.
        embedding: (V, D).
        head: (V, D), the same memory in a tied model.

    Raises:
        SettingError: another precision.
        ValueError: the parameters are not float32.
    """

    __slots__ = (
        "config", "embedding", "flat", "gains", "head", "layers", "places", "precision", "scales"
    )  # fmt: skip

    def __init__(self, parameters: Parameters, precision: Precision = "float32") -> None:
        if precision not in {"float32", "int8"}:
            raise SettingError(f"weights is {precision!r}: choose float32 or int8")
        if parameters.flat.dtype != np.float32:
            raise ValueError(f"inference computes in float32, got {parameters.flat.dtype}")
        config, layout = parameters.config, parameters.layout
        self.config: ModelConfig = config
        self.precision = precision
        # A copy, so that int8 weights do not hold the float32 ones in memory.
        self.gains = parameters.flat[layout.decay_end :].copy().reshape(2 * config.layers + 1, config.dim)
        self.flat: npt.NDArray[Any]
        self.scales: npt.NDArray[np.float32]
        self.flat, self.scales = (
            _quantised(parameters)
            if precision == "int8"
            else (parameters.flat[: layout.decay_end], _NO_SCALES)
        )
        begins = _RowCounter(parameters)
        whole = [
            begins.of(block)
            for layer in parameters.layers
            for block in (layer.qkv, layer.o_proj, layer.gate_up, layer.down_proj)
        ]
        self.places = np.array([(place.begin, place.row) for place in [*whole, begins.of(parameters.head)]])
        parts = [self._matrix(place) for place in whole]
        self.layers = tuple(
            LayerWeights(qkv, o_proj, gate_up, down_proj, gains[0], gains[1])
            for qkv, o_proj, gate_up, down_proj, gains in zip(
                *(parts[kind::4] for kind in range(4)),
                self.gains[:-1].reshape(-1, 2, config.dim),
                strict=True,
            )
        )
        self.embedding = self._matrix(begins.of(parameters.embedding))
        self.head = self._matrix(begins.of(parameters.head))

    @property
    def nbytes(self) -> int:
        """Bytes that a decode step reads, the embedding of a model that is not tied left out."""
        skipped = 0 if self.config.tied else self.embedding.entries.nbytes + self.embedding.scales.nbytes
        return self.flat.nbytes + self.scales.nbytes + self.gains.nbytes - skipped

    def _matrix(self, place: _Place) -> Matrix:
        rows, columns = place.shape
        entries = self.flat[place.begin : place.begin + rows * columns].reshape(rows, columns)
        return Matrix(entries, self.scales[place.row : place.row + rows])


def restored(parameters: Parameters, precision: Precision) -> Parameters:
    """The float32 weights that a precision stands for, to be computed with elsewhere.

    Args:
        parameters: float32; only read.
        precision: `float32` gives them back; `int8` gives new ones, each row rounded to its 255 steps.

    Raises:
        SettingError: another precision.
        ValueError: the parameters are not float32.
    """
    if precision == "float32":
        return parameters
    held, flat, rows = Weights(parameters, precision), parameters.flat.copy(), 0
    for offset, shape in parameters.layout.entries.values():
        if offset < parameters.layout.decay_end:
            part, scales = slice(offset, offset + math.prod(shape)), held.scales[rows : rows + shape[0], None]
            np.multiply(held.flat[part].reshape(shape), scales, out=flat[part].reshape(shape))
            rows += shape[0]
    return Parameters(parameters.config, flat)


@dataclass(frozen=True, slots=True)
class _Place:
    begin: int  # entry of the flat buffer
    row: int  # of all matrices' rows
    shape: tuple[int, int]


class _RowCounter:
    """Where matrices, single or fused, lie among the rows of all."""

    def __init__(self, parameters: Parameters) -> None:
        self._base: int = parameters.flat.ctypes.data
        self._rows: dict[int, int] = {}
        rows = 0
        for offset, shape in parameters.layout.entries.values():
            if offset < parameters.layout.decay_end:
                self._rows[offset] = rows
                rows += shape[0]

    def of(self, block: Floats) -> _Place:
        begin = (block.ctypes.data - self._base) // block.itemsize
        return _Place(begin, self._rows[begin], (block.shape[0], block.shape[1]))


def _quantised(parameters: Parameters) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """All matrices, each row over its scale and rounded, and the scales; a row of zeros has scale 1."""
    flat = np.empty(parameters.layout.decay_end, np.int8)
    scales = []
    for name, (offset, shape) in parameters.layout.entries.items():
        if offset < parameters.layout.decay_end:
            view = parameters.views[name]
            largest = np.maximum(view.max(axis=1), -view.min(axis=1))
            scale = np.where(largest > 0, largest / np.float32(_LARGEST), np.float32(1.0)).astype(np.float32)
            np.rint(
                view / scale[:, None],
                out=flat[offset : offset + view.size].reshape(shape),
                casting="unsafe",
            )
            scales.append(scale)
    return flat, np.concatenate(scales)
