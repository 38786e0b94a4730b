"""What stands between CodeTalker's matrix products for a few frames, compiled: calling an operator costs more than its
work."""

import math

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def convolve(inputs, bias, slope, before, length, eps, changed, mean, scale):
    """For each of n prefixes, its last three convolved frames and the moments of its channels; see `Prefix`.

    inputs (B, K + n, K, C): what the last K frames and n new ones give to each tap; before (2, B, n + 1, C) double:
    sums and squares over frames that no longer change, of which the first is given; length: frames before the new ones.
    Writes changed (B, n, 3, C), the rest of `before`, mean and reciprocal deviation (B, n, C).
    """
    items, taps, width = len(inputs), inputs.shape[2], inputs.shape[3]
    half, count = taps // 2, inputs.shape[1] - taps
    for b in range(items):
        for i in range(count):
            newest = taps + i
            for o in range(half + 1):
                y = changed[b, i, o]
                for c in range(width):
                    y[c] = bias[c]
                for tap in range(taps):
                    place = newest - half + o + tap - half
                    row = inputs[b, place if place < newest else newest, tap]  # the newest frame is repeated
                    for c in range(width):
                        y[c] += row[c]
                for c in range(width):
                    y[c] = y[c] if y[c] > 0 else slope * y[c]
            frames = float(length + i + 1)
            for c in range(width):
                total, square = before[0, b, i, c], before[1, b, i, c]
                for o in range(half + 1):
                    y = np.float64(changed[b, i, o, c])
                    total += y
                    square += y * y
                    if o == 0:
                        before[0, b, i + 1, c], before[1, b, i + 1, c] = total, square
                middle = total / frames
                mean[b, i, c] = middle
                variance = square / frames - middle * middle
                scale[b, i, c] = 1 / math.sqrt((variance if variance > 0 else 0.0) + eps)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def nearest(z, codes, found):
    """found (n,) = the nearest of codes (N, D) to each z (n, D), by squared distance; 0 of one that is no number."""
    norms = np.empty(len(codes), codes.dtype)
    for k in range(len(codes)):
        norm = codes.dtype.type(0)
        for d in range(codes.shape[1]):
            norm += codes[k, d] * codes[k, d]
        norms[k] = norm
    for i in range(len(z)):
        least, found[i] = np.inf, 0
        for k in range(len(codes)):
            dot = codes.dtype.type(0)
            for d in range(codes.shape[1]):
                dot += z[i, d] * codes[k, d]
            if norms[k] - 2 * dot < least:
                least, found[i] = norms[k] - 2 * dot, k
