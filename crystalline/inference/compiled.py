"""One decode step as machine code: every phase of every layer, by as many threads as call it.

The work of a phase is cut into chunks: of rows, or of heads. A thread takes the next chunk until there is
none, and goes on when all are done. So no thread waits for one that is not there: it waits for work that
another one holds, and where none holds any it does everything itself. What a chunk computes does not depend
on who takes it, and no sum depends on what else is in the batch: the same bits for any number of threads and
streams.

Needs numba. `decode.py` is the same step in numpy, and the oracle of the tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from crystalline.inference.machine import count, counted, exp, jit, let_others
from crystalline.inference.tiles import tile

__all__ = ["COUNTERS_PER_PHASE", "PHASES_PER_LAYER", "dequantise", "rows_of", "step"]

PHASES_PER_LAYER = 5
"""Projections to heads, attention, its output, the gate, the feed-forward output. The head is one more."""

COUNTERS_PER_PHASE = 16
"""Two counters, chunks taken and chunks done, each in a cache line of its own."""

_LINE = 8  # counters in a cache line
_SPINS = 64  # looks at a counter before the thread lets others have the core

_ROWS_MIN, _ROWS_MAX = np.int64(8), np.int64(128)

_dots_1x1, _dots_8x1, _dots_4x2, _dots_4x4 = tile(1, 1), tile(8, 1), tile(4, 2), tile(4, 4)


@jit
def _take(counters: Any, phase: Any, chunks: Any) -> Any:
    """The next chunk of a phase, or -1 when all are taken."""
    chunk = count(counters, phase * COUNTERS_PER_PHASE)
    return chunk if chunk < chunks else np.int64(-1)


@jit
def _finish(counters: Any, phase: Any) -> None:
    count(counters, phase * COUNTERS_PER_PHASE + _LINE)


@jit
def _all_done(counters: Any, phase: Any, chunks: Any) -> None:
    """Return when the chunks that other threads hold are done."""
    looks = 0
    while counted(counters, phase * COUNTERS_PER_PHASE + _LINE) < chunks:
        looks += 1
        if looks % _SPINS == 0:
            let_others()


@jit
def _norm(x: Any, gain: Any, eps: Any, n: Any, out: Any) -> None:
    """RMSNorm of the first n streams."""
    D = x.shape[1]
    for s in range(n):
        squares = _dots_1x1(x, s, x, s)[0]
        factor = np.float32(1.0) / np.sqrt(squares / np.float32(D) + eps)
        for i in range(D):
            out[s, i] = x[s, i] * factor * gain[i]


@jit
def _rows_of_one(weight: Any, first: Any, last: Any, x: Any, out: Any) -> Any:
    """Rows from `first` on for a single stream, eight at a time; return the first that is left."""
    r = first
    while r + 8 <= last:
        sums = _dots_8x1(weight, r, x, np.int64(0))
        for i in range(8):
            out[0, r + i] = sums[i]
        r += 8
    return r


@jit
def _rows_of_many(weight: Any, first: Any, last: Any, x: Any, n: Any, out: Any) -> Any:
    """Rows from `first` on, four at a time; return the first that is left."""
    r = first
    while r + 4 <= last:
        s = 0
        while s < n:
            if n - s > 2:  # noqa: PLR2004  (three streams, too, are worth the tile of four)
                four = _dots_4x4(weight, r, x, s)
                for i in range(4):
                    for j in range(4):
                        out[s + j, r + i] = four[i * 4 + j]
                s += 4
            else:
                two = _dots_4x2(weight, r, x, s)
                for i in range(4):
                    for j in range(2):
                        out[s + j, r + i] = two[i * 2 + j]
                s += 2
        r += 4
    return r


@jit
def rows_of(weight: Any, scales: Any, first: Any, last: Any, x: Any, n: Any, out: Any) -> None:
    """out[:n, first:last] = x[:n] weight[first:last]^T, each row times its scale where there are any.

    `x` and `out` have rows to spare, up to a multiple of four, that tiles may read and write.
    """
    if n == 1:
        rest = _rows_of_one(weight, first, last, x, out)
    else:
        rest = _rows_of_many(weight, first, last, x, n, out)
    for r in range(rest, last):
        for s in range(n):
            out[s, r] = _dots_1x1(weight, r, x, s)[0]
    if scales.shape[0]:
        for s in range(n):
            for r in range(first, last):
                out[s, r] *= scales[r]


@jit
def dequantise(entries: Any, scales: Any, first: Any, last: Any, out: Any) -> None:
    """Rows [first, last) of a matrix of int8, each times its scale."""
    for r in range(first, last):
        row, scale, to = entries[r], scales[r], out[r]
        for i in range(row.shape[0]):
            to[i] = np.float32(row[i]) * scale


@jit
def _turn(x: Any, cos: Any, sin: Any, out: Any) -> None:
    """Rotary position of one head: entries i and i + d/2 are a pair."""
    half = cos.shape[0]
    for i in range(half):
        out[i] = x[i] * cos[i] - x[i + half] * sin[i]
        out[i + half] = x[i + half] * cos[i] + x[i] * sin[i]


@jit
def _score(keys: Any, before: Any, turned: Any, scores: Any) -> None:
    """Exponentials of the scores of `before` cached keys and of the token's own, the largest of them 1."""
    t = 0
    while t + 8 <= before:
        sums = _dots_8x1(keys, t, turned, np.int64(0))
        for i in range(8):
            scores[t + i] = sums[i]
        t += 8
    for rest in range(t, before):
        scores[rest] = _dots_1x1(keys, rest, turned, np.int64(0))[0]
    scores[before] = _dots_1x1(turned, np.int64(1), turned, np.int64(0))[0]
    most = scores[before]
    for t in range(before):
        most = max(most, scores[t])
    scale = np.float32(1.0) / np.sqrt(np.float32(turned.shape[1]))
    for t in range(before + 1):
        scores[t] = exp((scores[t] - most) * scale)


@jit
def _mix(values: Any, value: Any, before: Any, scores: Any, out: Any) -> None:
    """The sum of all values, each times its score; four of them in a pass."""
    d = out.shape[0]
    for i in range(d):
        out[i] = scores[before] * value[i]
    t = 0
    while t + 4 <= before:
        p0, p1, p2, p3 = scores[t], scores[t + 1], scores[t + 2], scores[t + 3]
        v0, v1, v2, v3 = values[t], values[t + 1], values[t + 2], values[t + 3]
        for i in range(d):
            out[i] = out[i] + p0 * v0[i] + p1 * v1[i] + p2 * v2[i] + p3 * v3[i]
        t += 4
    for rest in range(t, before):
        for i in range(d):
            out[i] += scores[rest] * values[rest, i]


@jit
def _attend(
    query: Any,
    key: Any,
    value: Any,
    keys: Any,
    values: Any,
    cos: Any,
    sin: Any,
    writes: Any,
    turned: Any,
    scores: Any,
    ones: Any,
    out: Any,
) -> None:
    """One query head of one stream over the cached positions and its own.

    Args:
        query: (d,), before its rotation.
        key: (d,), of the key head it shares, before its rotation.
        value: (d,).
        keys: (positions before, d), cached.
        values: (positions before, d), cached.
        cos: (d/2,), of the position.
        sin: (d/2,).
        writes: whether the turned key and the value go into the cache, behind `keys` and `values`.
        turned: (2, d), scratch.
        scores: (context,), scratch.
        ones: (context,).
        out: (d,).
    """
    before, d = keys.shape[0] - 1, query.shape[0]
    _turn(query, cos, sin, turned[0])
    _turn(key, cos, sin, turned[1])
    if writes:
        for i in range(d):
            keys[before, i] = turned[1, i]
            values[before, i] = value[i]
    _score(keys, before, turned, scores)
    length = before + 1
    total = _dots_1x1(scores[:length].reshape(1, length), 0, ones[:length].reshape(1, length), 0)[0]
    _mix(values, value, before, scores, out)
    for i in range(d):
        out[i] /= total


@jit
def _gate(gate_up: Any, n: Any, first: Any, last: Any, out: Any) -> None:
    """SwiGLU of features [first, last)."""
    F = out.shape[1]
    for s in range(n):
        for i in range(first, last):
            gate = gate_up[s, i]
            out[s, i] = gate / (np.float32(1.0) + exp(-gate)) * gate_up[s, F + i]


@jit
def _chunk(rows: Any) -> Any:
    """Rows of a chunk: some sixty chunks, none so small that taking it costs more than computing it."""
    return max(_ROWS_MIN, min(_ROWS_MAX, rows // 512 * 8))


@jit
def _product(
    counters: Any, phase: Any, weight: Any, scales: Any, x: Any, n: Any, out: Any, residual: Any
) -> None:
    """All rows of one weight; added to `residual` where it has entries."""
    rows = weight.shape[0]
    size = _chunk(rows)
    chunks = -(-rows // size)
    chunk = _take(counters, phase, chunks)
    while chunk >= 0:
        first, last = chunk * size, min(rows, (chunk + 1) * size)
        rows_of(weight, scales, first, last, x, n, out)
        if residual.shape[0]:
            for s in range(n):
                for i in range(first, last):
                    residual[s, i] += out[s, i]
        _finish(counters, phase)
        chunk = _take(counters, phase, chunks)
    _all_done(counters, phase, chunks)


@jit
def _heads(
    counters: Any,
    phase: Any,
    sizes: Any,
    qkv: Any,
    keys: Any,
    values: Any,
    slots: Any,
    positions: Any,
    cos: Any,
    sin: Any,
    turned: Any,
    scores: Any,
    ones: Any,
    context: Any,
) -> None:
    """Attention of all streams in one layer, a chunk for each query head of a stream."""
    H, K, d, n = sizes[1], sizes[2], sizes[3], slots.shape[0]
    group, chunk = H // K, _take(counters, phase, n * H)
    while chunk >= 0:
        s, h = chunk // H, chunk % H
        g, slot, position = h // group, slots[s], positions[s]
        _attend(
            qkv[s, h * d : (h + 1) * d],
            qkv[s, (H + g) * d : (H + g + 1) * d],
            qkv[s, (H + K + g) * d : (H + K + g + 1) * d],
            keys[slot, g, : position + 1],
            values[slot, g, : position + 1],
            cos[position],
            sin[position],
            h % group == 0,
            turned,
            scores,
            ones,
            context[s, h * d : (h + 1) * d],
        )
        _finish(counters, phase)
        chunk = _take(counters, phase, n * H)
    _all_done(counters, phase, n * H)


@jit
def _gates(
    counters: Any, phase: Any, weight: Any, scales: Any, x: Any, n: Any, gate_up: Any, activated: Any
) -> None:
    """Gate and up rows of the same features in one chunk, so that it can activate them."""
    F = activated.shape[1]
    size = _chunk(F)
    chunks = -(-F // size)
    chunk = _take(counters, phase, chunks)
    while chunk >= 0:
        first, last = chunk * size, min(F, (chunk + 1) * size)
        rows_of(weight, scales, first, last, x, n, gate_up)
        rows_of(weight, scales, F + first, F + last, x, n, gate_up)
        _gate(gate_up, n, first, last, activated)
        _finish(counters, phase)
        chunk = _take(counters, phase, chunks)
    _all_done(counters, phase, chunks)


@jit
def step(
    sizes: Any,
    eps: Any,
    weights: Any,
    scales: Any,
    gains: Any,
    places: Any,
    keys: Any,
    values: Any,
    slots: Any,
    positions: Any,
    cos: Any,
    sin: Any,
    counters: Any,
    x: Any,
    normed: Any,
    qkv: Any,
    context: Any,
    gate_up: Any,
    activated: Any,
    projected: Any,
    turned: Any,
    scores: Any,
    ones: Any,
    logits: Any,
) -> None:
    """Run one token of each stream through all layers; called by every thread at once.

    Args:
        sizes: (D, H, K, d, F, V, layers).
        eps: of the norms, float32.
        weights: all matrices, flat, float32 or int8.
        scales: (all rows of all matrices,), or none.
        gains: (2 * layers + 1, D).
        places: (layers * 4 + 1, 2): where each matrix begins in `weights`, and its rows in `scales`; of each
            layer heads, output, gates, feed-forward output; last the head.
        keys: (layers, slots, K, context, d), the cache; the new positions are written.
        values: as `keys`.
        slots: (n,), of each stream in the cache.
        positions: (n,), of the new token: as many as the slot holds.
        cos: (context, d/2).
        sin: (context, d/2).
        counters: ((5 * layers + 1) * COUNTERS_PER_PHASE,), zeros.
        x: (n or more, D), the embedded tokens; overwritten.
        normed: (n or more, D), of this thread alone.
        qkv: (n or more, (H + 2 K) d).
        context: (n or more, H d).
        gate_up: (n or more, 2 F).
        activated: (n or more, F).
        projected: (n or more, D).
        turned: (2, d), of this thread alone.
        scores: (context,), of this thread alone.
        ones: (context,).
        logits: (n or more, V), the result when all threads have returned.
    """
    D, H, K, d, F, V, layers = sizes
    n, none = slots.shape[0], x[:0]
    for layer in range(layers):
        phase, first = layer * PHASES_PER_LAYER, layer * 4
        at = places[first : first + 4]
        heads, attended = (H + 2 * K) * d, H * d
        _norm(x, gains[2 * layer], eps, n, normed)
        w, s = _matrix(weights, scales, at[0], heads, D)
        _product(counters, phase, w, s, normed, n, qkv, none)
        _heads(
            counters,
            phase + 1,
            sizes,
            qkv,
            keys[layer],
            values[layer],
            slots,
            positions,
            cos,
            sin,
            turned,
            scores,
            ones,
            context,
        )
        w, s = _matrix(weights, scales, at[1], D, attended)
        _product(counters, phase + 2, w, s, context, n, projected, x)
        _norm(x, gains[2 * layer + 1], eps, n, normed)
        w, s = _matrix(weights, scales, at[2], 2 * F, D)
        _gates(counters, phase + 3, w, s, normed, n, gate_up, activated)
        w, s = _matrix(weights, scales, at[3], D, F)
        _product(counters, phase + 4, w, s, activated, n, projected, x)
    _norm(x, gains[2 * layers], eps, n, normed)
    w, s = _matrix(weights, scales, places[4 * layers], V, D)
    _product(counters, layers * PHASES_PER_LAYER, w, s, normed, n, logits, none)


@jit
def _matrix(weights: Any, scales: Any, place: Any, rows: Any, columns: Any) -> Any:
    """A matrix and the scales of its rows, of which there may be none."""
    begin = place[0]
    matrix = weights[begin : begin + rows * columns].reshape(rows, columns)
    return matrix, scales[place[1] : place[1] + rows]
