"""The transforms of `winograd.py`, compiled once; maps are (H, W, C), channels in vectors of sixteen."""

import numba
import numpy as np
from numpy.typing import NDArray

from parlante.models.cpu.simd import LANES, load, spread, store, swish

Floats = NDArray[np.float32]


@numba.njit(cache=True, nogil=True)
def gather_block(image: Floats, scale: Floats, shift: Floats, active: bool, top: int, left: int, block: Floats) -> None:
    """block (h, w, C) = the image from row `top`, column `left` on, times scale plus shift, through swish if `active`;
    zero outside the image."""
    height, width, channels = image.shape
    rows, columns = block.shape[:2]
    zero = spread(np.float32(0))
    for i in range(rows):
        y = top + i
        for j in range(columns):
            x = left + j
            to = (i * columns + j) * channels
            if y < 0 or y >= height or x < 0 or x >= width:
                for c in range(0, channels, LANES):
                    store(block, to + c, zero)
                continue
            at = (y * width + x) * channels
            if active:
                for c in range(0, channels, LANES):
                    store(block, to + c, swish(load(image, at + c) * load(scale, c) + load(shift, c)))
            else:
                for c in range(0, channels, LANES):
                    store(block, to + c, load(image, at + c) * load(scale, c) + load(shift, c))


@numba.njit(cache=True, nogil=True, inline="always")
def _forward(source, at, step, target, to, stride):
    """Six vectors -> B^T of them."""
    two, four, five = spread(np.float32(2)), spread(np.float32(4)), spread(np.float32(5))
    d0, d1, d2 = load(source, at), load(source, at + step), load(source, at + 2 * step)
    d3, d4, d5 = load(source, at + 3 * step), load(source, at + 4 * step), load(source, at + 5 * step)
    even, odd = d4 - four * d2, d3 - four * d1
    wide, far = d4 - d2, two * (d3 - d1)
    store(target, to, four * d0 - five * d2 + d4)
    store(target, to + stride, even + odd)
    store(target, to + 2 * stride, even - odd)
    store(target, to + 3 * stride, wide + far)
    store(target, to + 4 * stride, wide - far)
    store(target, to + 5 * stride, four * d1 - five * d3 + d5)


@numba.njit(cache=True, nogil=True)
def forward_tiles(block: Floats, tiles: tuple[int, int], products: Floats) -> None:
    """block (4 R + 2, 4 X + 2, C), tiles (R, X) -> products (36, R * X, C): B^T d B of each overlapping 6 x 6 tile."""
    columns, channels = block.shape[1], block.shape[2]
    plane = products.strides[0] // 4
    row, scratch = columns * channels, np.empty(36 * LANES, np.float32)
    for ty in range(tiles[0]):
        for tx in range(tiles[1]):
            at = (4 * ty * columns + 4 * tx) * channels
            to = (ty * tiles[1] + tx) * channels
            for c in range(0, channels, LANES):
                for j in range(6):
                    _forward(block, at + c + j * channels, row, scratch, j * LANES, 6 * LANES)
                for i in range(6):
                    _forward(scratch, i * 6 * LANES, LANES, products, to + c + 6 * i * plane, plane)


@numba.njit(cache=True, nogil=True, inline="always")
def _inverse(source, at, step, target, to, stride):
    """Six vectors -> A^T of them, four."""
    two, four, eight = spread(np.float32(2)), spread(np.float32(4)), spread(np.float32(8))
    m0, m1, m2 = load(source, at), load(source, at + step), load(source, at + 2 * step)
    m3, m4, m5 = load(source, at + 3 * step), load(source, at + 4 * step), load(source, at + 5 * step)
    even, odd = m1 + m2, m1 - m2
    wide, far = m3 + m4, m3 - m4
    store(target, to, m0 + even + wide)
    store(target, to + stride, odd + two * far)
    store(target, to + 2 * stride, even + four * wide)
    store(target, to + 3 * stride, odd + eight * far + m5)


@numba.njit(cache=True, nogil=True)
def inverse_tiles(
    products: Floats,
    tiles: tuple[int, int],
    place: tuple[int, int],
    grow: int,
    bias: Floats,
    added: Floats,
    adds: bool,
    out: Floats,
    sums: NDArray[np.float64],
) -> None:
    """products (36, R * X, grow^2 * C) -> A^T m A + bias (+ added) of every tile, written into out (H, W, C).

    place: row and column of the first tile, in tiles. grow 2: the channels hold the four interleaved phases of a map of
    twice the size. sums (2, C): grows by the sums and the sums of squares of what is written.
    """
    width, channels = out.shape[1], out.shape[2]
    plane = products.strides[0] // 4
    stripe = products.shape[2]
    middle, done = np.empty(24 * LANES, np.float32), np.empty(16 * LANES, np.float32)
    first, second = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    for ty in range(tiles[0]):
        for tx in range(tiles[1]):
            at = (ty * tiles[1] + tx) * stripe
            for phase in range(grow * grow):
                a, b = phase // grow, phase % grow
                for c in range(0, channels, LANES):
                    source = at + phase * channels + c
                    for j in range(6):
                        _inverse(products, source + j * plane, 6 * plane, middle, j * LANES, 6 * LANES)
                    for i in range(4):
                        _inverse(middle, i * 6 * LANES, LANES, done, i * 4 * LANES, LANES)
                    offset, total, square = load(bias, c), load(first, c), load(second, c)
                    for i in range(4):
                        y = grow * (4 * (place[0] + ty) + i) + a
                        for j in range(4):
                            x = grow * (4 * (place[1] + tx) + j) + b
                            to = (y * width + x) * channels + c
                            value = load(done, (i * 4 + j) * LANES) + offset
                            if adds:
                                value = value + load(added, to)
                            store(out, to, value)
                            total = total + value
                            square = square + value * value
                    store(first, c, total)
                    store(second, c, square)
    for c in range(channels):
        sums[0, c] += first[c]
        sums[1, c] += second[c]


@numba.njit(cache=True, nogil=True)
def sum_taps(taps: Floats, bias: Floats, out: Floats) -> None:
    """taps (H, W, 9 C), what each pixel gives to its neighbours in a 3 x 3 convolution -> out (C, H, W)."""
    height, width = taps.shape[:2]
    channels = len(out)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                total = bias[c]
                for i in range(max(0, 1 - y), min(3, height + 1 - y)):
                    for j in range(max(0, 1 - x), min(3, width + 1 - x)):
                        total += taps[y + i - 1, x + j - 1, (3 * i + j) * channels + c]
                out[c, y, x] = total
