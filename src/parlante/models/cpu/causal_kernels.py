"""The compiled loop of `CausalDecoder` on the CPU.

Same arithmetic as `CausalLayer.step` in either precision, up to the order of sums. Weights lie transposed, (in, out),
so that a matrix times a vector is a sum of contiguous rows; of the past, the frames of one feature lie side by side, so
that every loop over time reads memory in order. Everything here is numpy; `accelerate.py` decides when it is used.
"""

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

Array = NDArray[Any]
EXACT = {"contract", "nsz"}  # flags under which range reduction survives


def _exp(x: Array, top: float, scratch: Array, count: int) -> float:
    """x[:count] becomes exp(x - top), in place, for x <= top; returns the sum. `scratch` as long as x."""
    raise NotImplementedError


@njit(fastmath=True)
def _multiply(x, y, count):
    """x[:count] *= y[:count], in place; returns the sum."""
    total = x.dtype.type(0)
    for j in range(count):
        p = x[j] * y[j]
        x[j] = p
        total += p
    return total


@njit(fastmath=EXACT)
def _exp32(x, top, scratch, count):
    bits = scratch.view(np.int32)
    for j in range(count):
        v = max(x[j] - top, np.float32(-87.0))
        n = np.floor(v * np.float32(1.44269504) + np.float32(0.5))
        r = (v - n * np.float32(0.693359375)) + n * np.float32(2.12194440e-4)
        p = np.float32(1 / 5040)
        p = p * r + np.float32(1 / 720)
        p = p * r + np.float32(1 / 120)
        p = p * r + np.float32(1 / 24)
        p = p * r + np.float32(1 / 6)
        p = p * r + np.float32(0.5)
        p = p * r + np.float32(1)
        x[j] = p * r + np.float32(1)
        bits[j] = (np.int32(n) + np.int32(127)) << np.int32(23)
    return _multiply(x, scratch, count)


@njit(fastmath=EXACT)
def _exp64(x, top, scratch, count):
    bits = scratch.view(np.int64)
    for j in range(count):
        v = max(x[j] - top, -700.0)
        n = np.floor(v * 1.4426950408889634 + 0.5)
        r = (v - n * 0.693145751953125) - n * 1.42860682030941723212e-6
        p = 1 / 87178291200
        p = p * r + 1 / 6227020800
        p = p * r + 1 / 479001600
        p = p * r + 1 / 39916800
        p = p * r + 1 / 3628800
        p = p * r + 1 / 362880
        p = p * r + 1 / 40320
        p = p * r + 1 / 5040
        p = p * r + 1 / 720
        p = p * r + 1 / 120
        p = p * r + 1 / 24
        p = p * r + 1 / 6
        p = p * r + 0.5
        p = p * r + 1.0
        x[j] = p * r + 1.0
        bits[j] = (np.int64(n) + np.int64(1023)) << np.int64(52)
    return _multiply(x, scratch, count)


@overload(_exp)
def _exp_by_type(x, top, scratch, count):
    kernel = _exp32 if x.dtype == types.float32 else _exp64
    return lambda x, top, scratch, count: kernel(x, top, scratch, count)


@njit(fastmath=True)
def _add_product(rows, x, y, first):
    """y += x @ rows[:, first : first + len(y)]; four rows at a time."""
    whole, count = len(x) // 4 * 4, len(y)
    end = first + count
    for i in range(0, whole, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        r0, r1, r2, r3 = rows[i, first:end], rows[i + 1, first:end], rows[i + 2, first:end], rows[i + 3, first:end]
        for j in range(count):
            y[j] += a * r0[j] + b * r1[j] + c * r2[j] + d * r3[j]
    for i in range(whole, len(x)):
        a, r0 = x[i], rows[i, first:end]
        for j in range(count):
            y[j] += a * r0[j]


@njit(fastmath=True)
def _affine(weight, bias, x, y):
    """y = x @ weight + bias; weight (in, out)."""
    for j in range(len(bias)):
        y[j] = bias[j]
    _add_product(weight, x, y, 0)


@njit(fastmath=True, error_model="numpy")
def _add_norm(x, y, norm, eps):
    """x = layer norm of x + y, in place; norm (2, D) scale and shift."""
    mean = x.dtype.type(0)
    for j in range(len(x)):
        x[j] += y[j]
        mean += x[j]
    size = x.dtype.type(len(x))
    mean /= size
    variance = x.dtype.type(0)
    for j in range(len(x)):
        variance += (x[j] - mean) * (x[j] - mean)
    scale = x.dtype.type(1.0 / math.sqrt(variance / size + eps))
    for j in range(len(x)):
        x[j] = (x[j] - mean) * scale * norm[0, j] + norm[1, j]


@njit(fastmath=True, error_model="numpy")
def _softmax(x, scratch, count):
    """Exponentials of x[:count] less its largest, in place; returns one over their sum."""
    top = x[0]
    for j in range(count):
        top = x[j] if x[j] > top else top
    return x.dtype.type(1) / _exp(x, top, scratch, count)


@njit(fastmath=True)
def _self_attention(keys, values, query, ages, fading, logits, scratch, attended, place):
    """attended (D,) = attention of query (D,), scaled, over its span of keys and values (H, D / H, capacity)."""
    slopes, span = fading
    heads, size = keys.shape[0], keys.shape[1]
    first, end, zero = max(0, place + 1 - span), place + 1, logits.dtype.type(0)
    for h in range(heads):
        slope, own = slopes[h], query[h * size : (h + 1) * size]
        share, age, count = logits[first:end], ages[first:end], end - first
        for j in range(count):
            share[j] = -slope * age[j]
        _add_product(keys[h], own, share, first)
        one = _softmax(share, scratch, count)
        whole = size // 4 * 4
        for d in range(0, whole, 4):
            v0, v1 = values[h, d, first:end], values[h, d + 1, first:end]
            v2, v3 = values[h, d + 2, first:end], values[h, d + 3, first:end]
            s0 = s1 = s2 = s3 = zero
            for j in range(count):
                p = share[j]
                s0 += p * v0[j]
                s1 += p * v1[j]
                s2 += p * v2[j]
                s3 += p * v3[j]
            at = h * size + d
            attended[at], attended[at + 1], attended[at + 2], attended[at + 3] = s0 * one, s1 * one, s2 * one, s3 * one
        for d in range(whole, size):
            v0, s0 = values[h, d, first:end], zero
            for j in range(count):
                s0 += share[j] * v0[j]
            attended[h * size + d] = s0 * one


@njit(fastmath=True)
def _cross_attention(query, keys, values, heads, logits, scratch, attended):
    """attended (D,) = attention of query (D,), already scaled, over keys and values (w, D) of this frame."""
    steps, size = keys.shape[0], keys.shape[1] // heads
    for h in range(heads):
        for w in range(steps):
            total = query.dtype.type(0)
            for d in range(h * size, (h + 1) * size):
                total += query[d] * keys[w, d]
            logits[w] = total
        share = _softmax(logits, scratch, steps)
        for d in range(h * size, (h + 1) * size):
            total = query.dtype.type(0)
            for w in range(steps):
                total += logits[w] * values[w, d]
            attended[d] = total * share


@njit(fastmath=True)
def _frame(x, weights, past, memory, fading, item, t, place, work, hidden, eps):
    """One frame of one item through all layers, in place on x (D,)."""
    w_in, b_in, w_out, b_out, w_query, b_query, w_speech, b_speech, w_up, b_up, w_down, b_down, norms = weights
    past_keys, past_values, ages_back = past
    ages = ages_back[len(ages_back) - 1 - place :]
    outputs, memory_keys, memory_values = memory
    logits, scratch, projected, attended, step = work
    width, heads = len(x), past_keys.shape[2]
    size, zero = width // heads, x.dtype.type(0)
    for layer in range(len(w_in)):
        _affine(w_in[layer], b_in[layer], x, projected)
        keys, values = past_keys[layer, item], past_values[layer, item]
        for h in range(heads):
            for d in range(size):
                keys[h, d, place] = projected[width + h * size + d]
                values[h, d, place] = projected[2 * width + h * size + d]
        _self_attention(keys, values, projected[:width], ages, fading, logits, scratch, attended, place)
        _affine(w_out[layer], b_out[layer], attended, step)
        _add_norm(x, step, norms[layer, 0], eps)
        if len(outputs):
            _add_norm(x, outputs[layer, item, t], norms[layer, 1], eps)
        else:
            query = projected[:width]
            _affine(w_query[layer], b_query[layer], x, query)
            _cross_attention(
                query, memory_keys[layer, item, t], memory_values[layer, item, t], heads, logits, scratch, attended
            )
            _affine(w_speech[layer], b_speech[layer], attended, step)
            _add_norm(x, step, norms[layer, 1], eps)
        _affine(w_up[layer], b_up[layer], x, hidden)
        for j in range(len(hidden)):
            hidden[j] = max(hidden[j], zero)
        _affine(w_down[layer], b_down[layer], hidden, step)
        _add_norm(x, step, norms[layer, 2], eps)


@njit(fastmath=True)
def _workspace(width, room, like):
    """Room for `_frame`: logits, scratch, projections, what was attended to, a layer's output."""
    logits, scratch = np.empty(room, like.dtype), np.empty(room, like.dtype)
    return logits, scratch, np.empty(3 * width, like.dtype), np.empty(width, like.dtype), np.empty(width, like.dtype)


@njit(cache=True, nogil=True, fastmath=True)
def rollout(
    tokens, style, matrix, offset, positions, counts, weights, past, fading, memory, first, last, place, eps, out
):
    """Frames `first`..`last - 1` fed back: out (B, T, D) up to frame counts[b] of each item; tokens (B, D) move on.

    style (B, D), matrix (D, D) as (in, out), offset (D,), positions (T, D); `past` receives frame `first` at `place`.
    """
    items, width = tokens.shape
    work = _workspace(width, max(place + last - first, memory[1].shape[3]), tokens)
    hidden = np.empty(weights[8].shape[2], tokens.dtype)
    for item in range(items):
        token = tokens[item]
        for t in range(first, min(last, counts[item])):
            x = out[item, t]
            for j in range(width):
                x[j] = token[j] + positions[t, j]
            _frame(x, weights, past, memory, fading, item, t, place + t - first, work, hidden, eps)
            _affine(matrix, offset, x, token)
            for j in range(width):
                token[j] += style[item, j]
