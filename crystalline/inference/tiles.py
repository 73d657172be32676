"""Many inner products at once, as machine code whose sums have one order on every processor.

A tile is the inner products of a few rows of a weight with a few streams. Each of them adds up sixteen
partial sums side by side, folds them in halves, and then adds what is left of the row: so a product has the
same bits in a tile of any shape, and a caller may choose the shape that reads memory fastest.

The compiler would be free to choose another order for each shape, so the loop is spelled out here for it.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "tile"]

LANES: Final = 16
"""Partial sums of one inner product. Processors with narrower registers take several for them."""

_INDEX, _FLOAT = ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_AHEAD: Final = 2  # tiles that are fetched before they are needed: the rows behind are read next
_TO_READ, _KEEP, _DATA = 0, 3, 1  # what llvm.prefetch is told


def tile(rows: int, streams: int) -> Any:
    """Make `(weight, row, x, stream) -> sums`, to be called in compiled code.

    It computes weight[row + i] . x[stream + j] for all i < rows, j < streams, as float32. `weight` (O, K) is
    float32 or int8, `x` (n, K) float32, both contiguous; nothing checks that the rows are there.

    Args:
        rows: of the weight.
        streams: rows of `x`.

    Returns:
        The intrinsic; `sums` is a tuple of rows * streams numbers, i * streams + j.
    """

    def products(_typing: Any, weight: Any, row: Any, x: Any, stream: Any) -> Any:
        del row, stream

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            W = context.make_array(signature.args[0])(context, builder, arguments[0])
            X = context.make_array(signature.args[2])(context, builder, arguments[2])
            length = builder.extract_value(W.shape, 1)
            inner = _Products(
                builder,
                [_row(builder, W, length, arguments[1], i) for i in range(rows)],
                [_row(builder, X, length, arguments[3], j) for j in range(streams)],
            )
            return context.make_tuple(builder, signature.return_type, inner.sums(length))

        result = types.UniTuple(types.float32, rows * streams)
        return result(weight, types.int64, x, types.int64), build

    return intrinsic(products)


def _row(builder: Any, array: Any, length: Any, first: Any, offset: int) -> Any:
    """Pointer to the first entry of a row."""
    return builder.gep(array.data, [builder.mul(builder.add(first, _INDEX(offset)), length)])


class _Products:
    """Writes the loops for the inner products of some rows with some others."""

    def __init__(self, builder: Any, weights: list[Any], inputs: list[Any]) -> None:
        self._builder, self._weights, self._inputs = builder, weights, inputs

    def sums(self, length: Any) -> list[Any]:
        """All products over entries [0, length), those of the first weight row first."""
        builder = self._builder
        whole = builder.and_(length, _INDEX(-LANES))
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        partial = self._accumulate(_VECTOR, (_INDEX(0), whole), LANES, zero, length)
        folded = [self._fold(builder.load(sums)) for sums in partial]
        total = self._accumulate(_FLOAT, (whole, length), 1, folded, length)
        return [builder.load(value) for value in total]

    def _accumulate(
        self, kind: Any, entries: tuple[Any, Any], step: int, initial: Any, length: Any
    ) -> list[Any]:
        """Add products of `kind` at a time onto what the sums were."""
        builder, pairs = self._builder, len(self._weights) * len(self._inputs)
        starts = initial if isinstance(initial, list) else [initial] * pairs
        sums = [cgutils.alloca_once_value(builder, start) for start in starts]
        multiply_add = _intrinsic(
            builder, "llvm.fmuladd." + ("v16f32" if kind is _VECTOR else "f32"), kind, 3
        )
        with cgutils.for_range_slice(builder, *entries, _INDEX(step)) as (k, _):
            inputs = [self._load(pointer, k, kind) for pointer in self._inputs]
            for i, pointer in enumerate(self._weights):
                if kind is _VECTOR:
                    self._fetch_ahead(pointer, k, length)
                weight = self._load(pointer, k, kind)
                for j, value in enumerate(inputs):
                    place = sums[i * len(inputs) + j]
                    builder.store(builder.call(multiply_add, [weight, value, builder.load(place)]), place)
        return sums

    def _load(self, pointer: Any, k: Any, kind: Any) -> Any:
        """One entry, or `LANES` of them, as float32."""
        builder, place = self._builder, self._builder.gep(pointer, [k])
        entry = pointer.type.pointee
        width = ir.VectorType(entry, LANES) if kind is _VECTOR else entry
        value = builder.load(builder.bitcast(place, width.as_pointer()), align=4 if entry == _FLOAT else 1)
        if entry == _FLOAT:
            return value
        integers = ir.VectorType(ir.IntType(32), LANES) if kind is _VECTOR else ir.IntType(32)
        return builder.sitofp(builder.sext(value, integers), kind)

    def _fetch_ahead(self, pointer: Any, k: Any, length: Any) -> None:
        builder, byte, number = self._builder, ir.IntType(8).as_pointer(), ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
        rows = builder.mul(length, _INDEX(_AHEAD * len(self._weights)))
        place = builder.gep(pointer, [builder.add(k, rows)])  # harmless past the end
        builder.call(fetch, [builder.bitcast(place, byte), number(_TO_READ), number(_KEEP), number(_DATA)])

    def _fold(self, sums: Any) -> Any:
        """Add the second half of the lanes to the first until one is left."""
        builder, lanes = self._builder, LANES
        while lanes > 1:
            lanes //= 2
            picked = ir.VectorType(ir.IntType(32), lanes)
            low = builder.shuffle_vector(sums, sums, ir.Constant(picked, list(range(lanes))))
            high = builder.shuffle_vector(sums, sums, ir.Constant(picked, list(range(lanes, 2 * lanes))))
            sums = builder.fadd(low, high)
        return builder.extract_element(sums, ir.IntType(32)(0))


def _intrinsic(builder: Any, name: str, kind: Any, operands: int) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * operands), name)
