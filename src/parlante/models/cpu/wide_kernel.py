"""Compiled layers of wide networks for a few frames at a time; matrices and the past are rounded, sums are not.

Where a layer has millions of weights and a handful of frames, reading memory is all it costs: half precision halves it,
bytes halve it again. Each row is summed in the same order whatever stands beside it, so that frames come out the same
one at a time and together.

Rows are frames, those of an item of the batch side by side: (B * n, D) in arrays with room for whole turns. Matrices
lie one after the other in an int8 array, as `wide.Rounded` puts them: (out / 64, in, 64) in half precision, or in bytes
that count steps of `scale` (out,), which is empty for the former. A past is (B, H, capacity, D / H, 2) bytes of halves.
"""

import math

import numpy as np
from numba import njit

from parlante.models.cpu.causal_kernels import _add_norm, _exp32, _softmax
from parlante.models.cpu.simd import LANES, comparer, load, multiplier, store_half

PANEL = 64
"""Outputs whose weights for an input lie side by side."""
AHEAD = 4096
"""Bytes between what is read and what is asked for."""
FEW, MANY = 4, 6
"""Rows that share a reading. Where memory is slow beside arithmetic, they cost what one costs."""
EPS = 1e-5

_multiply_few, _multiply_many = (multiplier(n, PANEL // LANES, half=True) for n in (FEW, MANY))
_count_few, _count_many = (multiplier(n, PANEL // LANES, half=False) for n in (FEW, MANY))
_compare = comparer(FEW)


@njit(cache=True, nogil=True)
def product(weights, at, scale, bias, x, y, rows):
    """y = x @ W + bias for the first `rows` rows, and whatever fills up a turn; scale (out,) or (0,), bias (out,)."""
    width, columns = x.shape[1], y.shape[1]
    half = len(scale) == 0
    for i in range(rows):
        for j in range(columns):
            y[i, j] = bias[j] if half else bias[j] / scale[j]
    first = 0
    while first < rows:
        few = rows - first <= FEW
        for o in range(0, columns, PANEL):
            x_at, y_at = first * width, first * columns + o
            if half and few:
                _multiply_few(weights, at + 2 * o * width, 2 * PANEL, AHEAD, x, x_at, width, y, y_at, columns, width)
            elif half:
                _multiply_many(weights, at + 2 * o * width, 2 * PANEL, AHEAD, x, x_at, width, y, y_at, columns, width)
            elif few:
                _count_few(weights, at + o * width, PANEL, AHEAD, x, x_at, width, y, y_at, columns, width)
            else:
                _count_many(weights, at + o * width, PANEL, AHEAD, x, x_at, width, y, y_at, columns, width)
        first += FEW if few else MANY
    if not half:
        for i in range(rows):
            for j in range(columns):
                y[i, j] *= scale[j]


@njit(nogil=True)
def _remember(projected, top, near, first, keys, values, scale, fade, place, seen):
    """Attention of an item's rows, from row `top` on, over its past and each other: seen (rows, D).

    projected (rows, 3 D): queries | keys | values; near (n, n) bool: which of the new rows each one sees; first (n,):
    the first place of the past that each one sees. keys, values (H, capacity, D / H, 2) receive the rows at `place`.
    fade (H, >= seen) is added by age, or (H, 0).
    """
    heads, capacity, size = keys.shape[0], keys.shape[1], keys.shape[2]
    count, width, start, end = len(near), heads * size, place, place + len(near)
    for i in range(count):
        for h in range(heads):
            for d in range(0, size, LANES):
                read, written = (top + i) * 3 * width + h * size + d, 2 * ((h * capacity + place + i) * size + d)
                store_half(keys, written, load(projected, read + width))
                store_half(values, written, load(projected, read + 2 * width))
        _clear(seen[top + i], 0, width)
        start = first[i] if first[i] < start else start
    room, turns = end - start, (count + FEW - 1) // FEW
    share, scratch = np.zeros((turns * FEW, room), np.float32), np.empty(room, np.float32)
    for h in range(heads):
        at = 2 * (h * capacity + start) * size
        for i in range(0, count, FEW):
            query = (top + i) * 3 * width + h * size
            for j in range(room):
                _compare(keys, at + 2 * j * size, projected, query, 3 * width, share, i * room + j, room, size)
        for i in range(count, len(share)):
            _clear(share[i], 0, room)
        for i in range(count):
            _weigh(share[i], scale, fade[h], first[i] - start, place - start, i, near[i], scratch)
        for i in range(0, count, FEW):
            for d in range(0, size, PANEL):
                out = (top + i) * width + h * size + d
                _multiply_few(values, at + 2 * d, 2 * size, AHEAD, share, i * room, room, seen, out, width, room)


@njit(nogil=True)
def _clear(row, first, last):
    for j in range(first, last):
        row[j] = 0


@njit(nogil=True)
def _weigh(row, scale, fade, begin, place, own, near, scratch):
    """Products of row `own` with all keys become shares, in place; `_remember` has the names."""
    _clear(row, 0, begin)
    shown = row[begin:]
    for j in range(len(shown)):
        shown[j] *= scale
    if len(fade):
        for j in range(begin, place + own + 1):
            row[j] += fade[place + own - j]
    for k in range(len(near)):
        if not near[k]:
            row[place + k] = -np.inf
    one = _softmax(shown, scratch, len(shown))
    for j in range(len(shown)):
        shown[j] *= one
    for k in range(len(near)):
        if not near[k]:
            row[place + k] = 0


@njit(nogil=True, fastmath=True, error_model="numpy")
def _answer(x, heard, layer, item, t, out):
    """Cross-attention of a frame x (D,) in the form of `CausalLayer.folded`: out (D,)."""
    rise, offset, base, change = heard
    heads, steps = rise.shape[4], rise.shape[3]
    for d in range(len(x)):
        out[d] = base[layer, item, t, d]
    logits = np.zeros(steps + 1, np.float32)
    for h in range(heads):
        for w in range(steps):
            dot = offset[layer, item, t, w, h]
            for d in range(len(x)):
                dot += x[d] * rise[layer, item, t, w, h, d]
            logits[w + 1] = dot
        logits[0] = 0
        top, whole = logits[0], np.float32(0)
        for w in range(steps):
            top = logits[w + 1] if logits[w + 1] > top else top
        for w in range(steps + 1):
            logits[w] = math.exp(logits[w] - top)
            whole += logits[w]
        for w in range(steps):
            share = logits[w + 1] / whole
            for d in range(len(x)):
                out[d] += share * change[layer, item, t, w, h, d]


@njit(cache=True, nogil=True)
def decode(x, weights, at, scales, biases, norms, past, fade, heard, t, near, first, place, items):
    """`CausalLayer.block` of every layer on `items` items, in place on x.

    at (L, 4): places of the matrices that project, answer, widen and narrow; scales, biases: theirs, (L, .) each; norms
    (L, 3, 2, D) scale and shift; past: keys, values (L, B, H, capacity, D / H, 2); heard (L, B, T, ...), of which frame
    t is the first.
    """
    keys, values = past
    s_in, s_out, s_up, s_down = scales
    b_in, b_out, b_up, b_down = biases
    count, room = len(near), len(x)
    rows, width, heads = items * count, x.shape[1], len(fade)
    scale = np.float32(1 / math.sqrt(width // heads))
    projected, seen = np.zeros((room, 3 * width), np.float32), np.zeros((room, width), np.float32)
    step, hidden = np.zeros((room, width), np.float32), np.zeros((room, b_up.shape[1]), np.float32)
    for n in range(len(at)):
        product(weights, at[n, 0], s_in[n], b_in[n], x, projected, rows)
        for item in range(items):
            own = keys[n, item], values[n, item]
            _remember(projected, item * count, near, first, own[0], own[1], scale, fade, place, seen)
        product(weights, at[n, 1], s_out[n], b_out[n], seen, step, rows)
        for row in range(rows):
            _add_norm(x[row], step[row], norms[n, 0], EPS)
            _answer(x[row], heard, n, row // count, t + row % count, step[row])
            _add_norm(x[row], step[row], norms[n, 1], EPS)
        product(weights, at[n, 2], s_up[n], b_up[n], x, hidden, rows)
        for row in range(rows):
            for j in range(hidden.shape[1]):
                hidden[row, j] = hidden[row, j] if hidden[row, j] > 0 else np.float32(0)
        product(weights, at[n, 3], s_down[n], b_down[n], hidden, step, rows)
        for row in range(rows):
            _add_norm(x[row], step[row], norms[n, 2], EPS)


@njit(fastmath=True)
def _add(x, y):
    """x += y."""
    for j in range(len(x)):
        x[j] += y[j]


@njit(fastmath=True)
def _normed(x, norm, none, y):
    """y = layer norm of x; none: zeros."""
    for j in range(len(x)):
        y[j] = x[j]
    _add_norm(y, none, norm, EPS)


@njit(fastmath=True, error_model="numpy")
def _gelu(x, work, scratch):
    """The tanh form of GELU, in place: x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    one, count = np.float32(1), len(x)
    for j in range(count):
        work[j] = -abs(x[j] * (np.float32(1.5957691216) + np.float32(0.0713548162726) * x[j] * x[j]))
    _exp32(work, np.float32(0), scratch, count)
    for j in range(count):
        x[j] *= (one if x[j] > 0 else work[j]) / (one + work[j])


@njit(cache=True, nogil=True)
def transform(x, weights, at, scales, biases, norms, past, near, first, place, items):
    """Pre-norm blocks without a mask on new frames before a frozen past, in place on x; as `decode`.

    norms (L, 2, 2, D); logits are divided by the root of the whole width.
    """
    keys, values = past
    s_in, s_out, s_up, s_down = scales
    b_in, b_out, b_up, b_down = biases
    count, room = len(near), len(x)
    rows, width = items * count, x.shape[1]
    scale, fade = np.float32(1 / math.sqrt(width)), np.zeros((keys.shape[2], 0), np.float32)
    projected, seen = np.zeros((room, 3 * width), np.float32), np.zeros((room, width), np.float32)
    step, hidden = np.zeros((room, width), np.float32), np.zeros((room, b_up.shape[1]), np.float32)
    none, work, scratch = np.zeros(width, np.float32), np.empty_like(hidden[0]), np.empty_like(hidden[0])
    for n in range(len(at)):
        for row in range(rows):
            _normed(x[row], norms[n, 0], none, step[row])
        product(weights, at[n, 0], s_in[n], b_in[n], step, projected, rows)
        for item in range(items):
            own = keys[n, item], values[n, item]
            _remember(projected, item * count, near, first, own[0], own[1], scale, fade, place, seen)
        product(weights, at[n, 1], s_out[n], b_out[n], seen, step, rows)
        for row in range(rows):
            _add(x[row], step[row])
            _normed(x[row], norms[n, 1], none, step[row])
        product(weights, at[n, 2], s_up[n], b_up[n], step, hidden, rows)
        for row in range(rows):
            _gelu(hidden[row], work, scratch)
        product(weights, at[n, 3], s_down[n], b_down[n], hidden, step, rows)
        for row in range(rows):
            _add(x[row], step[row])
