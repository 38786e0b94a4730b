"""The loop behind `BlendshapeSolver`: one small bounded quadratic programme per frame, warm from the frame before."""

import numba
import numpy as np
from numpy.typing import NDArray

LOW, FREE, HIGH = -1, 0, 1
_TRIES = 3
"""Exchanges of whole blocks that may fail to help before variables are exchanged one at a time."""


@numba.njit(cache=True, nogil=True)
def solve_frames(
    gram: NDArray[np.float64],
    pull: NDArray[np.float64],
    inertia: NDArray[np.float64],
    upper: NDArray[np.float64],
    state: NDArray[np.int8],
    last: NDArray[np.float64],
    first: bool,
    opposed: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """out (T, K): the minimum of w G w / 2 - (pull_t + inertia * w_{t-1}) w over 0 <= w <= upper, frame after frame.

    opposed (P, 2): pairs of which one at most is on; where both would be, the weaker is held at 0. gram (K, K) holds
    `inertia` on its diagonal already. `state` (K,) and `last` (K,) are those of the frame before and are left as those
    of the last frame; `first`: there is none before, the first frame stands in for it.
    """
    count = len(upper)
    goal = np.empty(count)
    tolerance = np.empty(count)
    limit = np.empty(count)
    for t in range(len(pull)):
        if first:
            bare = gram.copy()
            for k in range(count):
                bare[k, k] -= inertia[k]
            goal[:] = pull[t]
            _pivot_apart(bare, goal, upper, opposed, state, last, tolerance, limit)
            first = False
        for k in range(count):
            goal[k] = pull[t, k] + inertia[k] * last[k]
        _pivot_apart(gram, goal, upper, opposed, state, last, tolerance, limit)
        for k in range(count):
            out[t, k] = last[k]


@numba.njit(cache=True, nogil=True)
def _pivot_apart(
    gram: NDArray[np.float64],
    goal: NDArray[np.float64],
    upper: NDArray[np.float64],
    opposed: NDArray[np.int64],
    state: NDArray[np.int8],
    weights: NDArray[np.float64],
    slope: NDArray[np.float64],
    limit: NDArray[np.float64],
) -> None:
    """As `_pivot`, and again with the weaker of two opposed weights at 0, until no pair is on."""
    limit[:] = upper
    for _ in range(len(opposed) + 1):
        _pivot(gram, goal, limit, state, weights, slope)
        both = False
        for pair in range(len(opposed)):
            one, other = opposed[pair, 0], opposed[pair, 1]
            if weights[one] > 0.0 and weights[other] > 0.0:
                first = weights[one] * gram[one, one] ** 0.5 >= weights[other] * gram[other, other] ** 0.5
                limit[other if first else one] = 0.0
                both = True
        if not both:
            break
    for k in range(len(limit)):
        if limit[k] < upper[k]:
            state[k] = LOW


@numba.njit(cache=True, nogil=True)
def _pivot(
    gram: NDArray[np.float64],
    goal: NDArray[np.float64],
    upper: NDArray[np.float64],
    state: NDArray[np.int8],
    weights: NDArray[np.float64],
    slope: NDArray[np.float64],
) -> None:
    """Block principal pivoting from `state`; weights (K,) and `state` are overwritten."""
    count = len(goal)
    largest = 0.0
    for k in range(count):
        largest = max(largest, abs(goal[k]))
    tolerance = 1e-9 * largest + 1e-18
    fewest, tries = count + 1, _TRIES
    wanted = np.empty(count, np.int8)
    for _ in range(20 * count):
        _solve_free(gram, goal, upper, state, weights)
        wrong, final = 0, -1
        for k in range(count):
            wanted[k] = state[k]
            if state[k] == FREE:
                if weights[k] < -1e-12:
                    wanted[k] = LOW
                elif weights[k] > upper[k] + 1e-12:
                    wanted[k] = HIGH
            else:
                total = -goal[k]
                for j in range(count):
                    total += gram[k, j] * weights[j]
                if (state[k] == LOW and total < -tolerance) or (state[k] == HIGH and total > tolerance):
                    wanted[k] = FREE
            if wanted[k] != state[k]:
                wrong += 1
                final = k
        if wrong == 0:
            break
        if wrong < fewest:
            fewest, tries = wrong, _TRIES
        elif tries > 0:
            tries -= 1
        else:  # one at a time cannot cycle
            for k in range(final):
                wanted[k] = state[k]
        state[:] = wanted
    for k in range(count):
        weights[k] = min(max(weights[k], 0.0), upper[k])


@numba.njit(cache=True, nogil=True)
def _solve_free(
    gram: NDArray[np.float64],
    goal: NDArray[np.float64],
    upper: NDArray[np.float64],
    state: NDArray[np.int8],
    weights: NDArray[np.float64],
) -> None:
    """Set the weights: bound ones to their bound, free ones by Cholesky on their block of `gram`."""
    count = len(goal)
    index = np.empty(count, np.int64)
    size = 0
    for k in range(count):
        weights[k] = upper[k] if state[k] == HIGH else 0.0
        if state[k] == FREE:
            index[size] = k
            size += 1
    factor = np.empty((size, size))
    right = np.empty(size)
    for a in range(size):
        i = index[a]
        total = goal[i]
        for j in range(count):
            if state[j] == HIGH:
                total -= gram[i, j] * upper[j]
        for b in range(a + 1):
            value = gram[i, index[b]]
            for c in range(b):
                value -= factor[a, c] * factor[b, c]
            if a == b:
                # shapes that are copies of each other leave nothing: the floor shares the weight out
                factor[a, a] = np.sqrt(max(value, 1e-12 * gram[i, i]))
            else:
                factor[a, b] = value / factor[b, b]
        for c in range(a):
            total -= factor[a, c] * right[c]
        right[a] = total / factor[a, a]
    for a in range(size - 1, -1, -1):
        total = right[a]
        for c in range(a + 1, size):
            total -= factor[c, a] * right[c]
        right[a] = total / factor[a, a]
        weights[index[a]] = right[a]
