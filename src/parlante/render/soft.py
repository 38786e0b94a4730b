"""The software renderer: a z-buffer rasteriser in numba, shaded by the same formulas as the OpenGL one.

It runs wherever numba runs. Four depth samples per pixel decide what is seen; a pixel whose samples all see one
material at about one distance is lit once, with the albedo of the level whose texels are about as large as the pixel;
an edge pixel is lit at every sample.
"""

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from PIL import Image

from parlante.render import shading
from parlante.render.camera import Camera
from parlante.render.surface import Surface

f4 = np.float32
SUPERSAMPLING = 2
STRIP = 32
"""Rows of samples that one task rasterises and shades."""
SEAM = f4(1e-3)
"""Samples by which a triangle reaches over its edge, so that rounding opens no gap to its neighbour."""
STEP = 0.004
"""Relative change of distance within a pixel that makes it an edge."""
COARSE = 1.4
"""Texels per pixel and axis from which a whole pixel takes the albedo of the next coarser level."""

_KEY, _KEY_LIGHT = np.array(shading.KEY, f4), np.array(shading.KEY_LIGHT, f4)
_FILL, _FILL_LIGHT = np.array(shading.FILL, f4), np.array(shading.FILL_LIGHT, f4)
_RIM, _RIM_LIGHT = np.array(shading.RIM, f4), np.array(shading.RIM_LIGHT, f4)
_SKY, _GROUND, _WRAP = np.array(shading.SKY, f4), np.array(shading.GROUND, f4), np.array(shading.WRAP, f4)
_BUMP, _EXPOSURE, _INV_WHITE2 = f4(shading.BUMP), f4(shading.EXPOSURE), f4(1 / shading.WHITE**2)
_SKIN, _LASHES, _MOUTH = shading.SKIN, shading.LASHES, shading.MOUTH


class SoftBackend:
    """Draws a `Surface` on the CPU; the same interface as `parlante.render.gl.GLBackend`."""

    name = "software (numba)"

    def __init__(self, surface: Surface, camera: Camera, size: int) -> None:
        self.surface, self.size = surface, size
        self._focal = f4(camera.focal)
        self._uv_per_pixel = surface.uv_per_screen(camera.focal) * 2 / size
        large = size * SUPERSAMPLING
        self._depth = np.zeros((large, large), dtype=np.float32)
        self._owner = np.zeros((large, large), dtype=np.int32)
        self._screen = np.zeros((len(surface.uv), 3), dtype=np.float32)
        self._backdrop = shading.background(size)
        self._albedo: NDArray[np.uint8] = np.zeros((1, 1, 3), dtype=np.uint8)
        self._coarse = self._albedo
        self._uv = surface.uv
        self._ratio: NDArray[np.float32] = np.ones((1, 1, 3), dtype=np.float32)
        self._slopes: NDArray[np.float32] = np.zeros((1, 1, 2), dtype=np.float32)
        self._wrinkled = False

    def set_albedo(self, image: NDArray[np.uint8], uv: NDArray[np.float32]) -> None:
        """Take a new albedo (H, W, 3) sRGB and the corners' coordinates (C, 2) in it."""
        self._albedo, self._uv = np.ascontiguousarray(image), uv
        finer = self._uv_per_pixel * np.sqrt(image.shape[0] * image.shape[1]) > COARSE
        self._coarse = _halve(self._albedo) if finer else self._albedo

    def set_look(self) -> None:
        """Nothing to upload: the surface is read in place."""

    def set_wrinkle(self, ratio: NDArray[np.float32] | None, slopes: NDArray[np.float32] | None) -> None:
        """Take a ratio map (h, w, 3) and its slopes (h, w, 2), or none."""
        self._wrinkled = ratio is not None
        if ratio is not None and slopes is not None:
            self._ratio, self._slopes = ratio, slopes

    def draw(self) -> NDArray[np.uint8]:
        """(size, size, 3) sRGB picture of the surface as it stands."""
        s = self.surface
        picture = np.empty((self.size, self.size, 3), dtype=np.uint8)
        _project(s.position, self._focal, self.size * SUPERSAMPLING, self._screen)
        _draw(
            self._screen, s.triangles, s.material, s.position, s.normal, s.grad_u, s.grad_v, self._uv, s.look,
            self._albedo, self._coarse, self._ratio, self._slopes, self._wrinkled, shading.MATERIALS, self._backdrop,
            self._depth, self._owner, picture,
        )  # fmt: skip
        return picture

    def release(self) -> None:
        """Nothing is held."""


def _halve(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Half the size, kept crisp: bilinear reading softens it enough."""
    size = max(1, image.shape[1] // 2), max(1, image.shape[0] // 2)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


@njit(cache=True, fastmath=True)
def _project(position: Any, focal: Any, pixels: Any, screen: Any) -> None:
    """Sample coordinates x, y (y down) and 1/depth of every corner."""
    half = np.float32(0.5) * pixels
    for c in range(len(position)):
        inverse = np.float32(-1.0) / position[c, 2]
        screen[c, 0] = half + half * focal * position[c, 0] * inverse
        screen[c, 1] = half - half * focal * position[c, 1] * inverse
        screen[c, 2] = inverse


@njit(cache=True, fastmath=True, inline="always")
def _span(weight: Any, step: Any, left: Any, right: Any) -> Any:
    """Narrow the steps left..right to those where weight + k * step is not negative."""
    if step > 0.0:
        return max(left, -weight / step), right
    if step < 0.0:
        return left, min(right, weight / -step)
    return left, right if weight >= 0.0 else np.float32(-1.0)


@njit(cache=True, fastmath=True)
def rasterise(screen: Any, triangles: Any, material: Any, first: int, end: int, depth: Any, owner: Any) -> None:
    """Fill rows first..end of `depth` (1/distance, 0 is far) and `owner` (triangle or -1) with what is nearest.

    Counter-clockwise triangles face the viewer; those facing away are dropped, lashes and mouth lining excepted.
    """
    columns, half = depth.shape[1], np.float32(0.5)
    depth[first:end] = 0.0
    owner[first:end] = -1
    for f in range(len(triangles)):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ay, by, cy = screen[a, 1], screen[b, 1], screen[c, 1]
        top, bottom = min(ay, by, cy), max(ay, by, cy)
        if bottom < first or top > end:
            continue
        ax, bx, cx = screen[a, 0], screen[b, 0], screen[c, 0]
        area = (by - ay) * (cx - ax) - (bx - ax) * (cy - ay)
        if area <= 0.0 and (area == 0.0 or (material[f] != _LASHES and material[f] != _MOUTH)):
            continue
        y0, y1 = max(first, int(np.ceil(top - 0.5))), min(end - 1, int(np.floor(bottom - 0.5)))
        x0 = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        x1 = min(columns - 1, int(np.floor(max(ax, bx, cx) - 0.5)))
        width = np.float32(x1 - x0)
        inverse = np.float32(1.0) / area
        az, bz, cz = screen[a, 2], screen[b, 2], screen[c, 2]
        # barycentric weights of a, b and c are linear in the pixel position: what one step to the right adds
        step_b, step_c = -(cy - ay) * inverse, (by - ay) * inverse
        step_a = -step_b - step_c
        step_z = step_b * (bz - az) + step_c * (cz - az)
        px = np.float32(x0) + half - ax
        for y in range(y0, y1 + 1):
            py = np.float32(y) + half - ay
            wb = (py * (cx - ax) - px * (cy - ay)) * inverse
            wc = ((by - ay) * px - (bx - ax) * py) * inverse
            left, right = _span(wb, step_b, np.float32(0.0), width)
            left, right = _span(wc, step_c, left, right)
            left, right = _span(np.float32(1.0) - wb - wc, step_a, left, right)
            z0 = az + wb * (bz - az) + wc * (cz - az)
            for x in range(int(np.ceil(left - SEAM)), int(np.floor(right + SEAM)) + 1):
                z = z0 + np.float32(x) * step_z
                if z > depth[y, x0 + x]:
                    depth[y, x0 + x] = z
                    owner[y, x0 + x] = f


@njit(cache=True, fastmath=True, inline="always")
def _fetch(image: Any, u: Any, v: Any, k: Any) -> Any:
    """Channel k of `image` at texture coordinates (u, v), bilinear."""
    rows, columns = image.shape[0], image.shape[1]
    x = min(max(u * columns - np.float32(0.5), np.float32(0.0)), np.float32(columns - 1))
    y = min(max(v * rows - np.float32(0.5), np.float32(0.0)), np.float32(rows - 1))
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, columns - 1), min(y0 + 1, rows - 1)
    fx, fy = x - np.float32(x0), y - np.float32(y0)
    top = image[y0, x0, k] * (np.float32(1.0) - fx) + image[y0, x1, k] * fx
    bottom = image[y1, x0, k] * (np.float32(1.0) - fx) + image[y1, x1, k] * fx
    return top * (np.float32(1.0) - fy) + bottom * fy


@njit(cache=True, fastmath=True, inline="always")
def _weights(screen: Any, a: Any, b: Any, c: Any, x: Any, y: Any) -> Any:
    """Perspective-correct barycentric weights of corners a, b, c at sample position (x, y)."""
    ax, ay = screen[a, 0], screen[a, 1]
    bx, by = screen[b, 0] - ax, screen[b, 1] - ay
    cx, cy = screen[c, 0] - ax, screen[c, 1] - ay
    px, py = x - ax, y - ay
    inverse = np.float32(1.0) / (by * cx - bx * cy)
    wb = (py * cx - px * cy) * inverse
    wc = (by * px - bx * py) * inverse
    ka = (np.float32(1.0) - wb - wc) * screen[a, 2]
    kb, kc = wb * screen[b, 2], wc * screen[c, 2]
    total = np.float32(1.0) / (ka + kb + kc)
    return ka * total, kb * total, kc * total


@njit(cache=True, fastmath=True, error_model="numpy")
def _shade(texel: Any, at: Any, n: Any, look: Any, row: Any, out: Any) -> None:
    """Light one point: the numba twin of FRAGMENT_SHADER. Writes encoded red, green, blue and coverage to `out`.

    texel (3,) sRGB 0..1 with the wrinkle in it, at (3,) camera space, n (3,) unit normal to the viewer.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    occlusion, lit, gloss, cover = look[0], look[1], look[2], look[3]
    inverse = one / np.sqrt(at[0] * at[0] + at[1] * at[1] + at[2] * at[2])
    vx, vy, vz = -at[0] * inverse, -at[1] * inverse, -at[2] * inverse
    key = n[0] * _KEY[0] + n[1] * _KEY[1] + n[2] * _KEY[2]
    fill = n[0] * _FILL[0] + n[1] * _FILL[1] + n[2] * _FILL[2]
    rim = max(n[0] * _RIM[0] + n[1] * _RIM[1] + n[2] * _RIM[2], zero)
    hx, hy, hz = vx + _KEY[0], vy + _KEY[1], vz + _KEY[2]
    nh = max((n[0] * hx + n[1] * hy + n[2] * hz) / np.sqrt(hx * hx + hy * hy + hz * hz), zero)
    p4 = nh * nh * nh * nh
    p16 = p4 * p4 * p4 * p4
    p64 = p16 * p16 * p16 * p16
    p128 = p64 * p64
    p512 = p128 * p128 * p128 * p128
    facing = min(max(key * np.float32(4.0), zero), one) * lit
    shine = facing * gloss * (row[1] * p16 + row[2] * p64 + row[3] * p512)
    edge = one - min(max(n[0] * vx + n[1] * vy + n[2] * vz, zero), one)
    edge = edge * edge
    sheen = row[4] * gloss * occlusion * edge * edge
    up = np.float32(0.5) + np.float32(0.5) * n[1]
    for k in range(3):
        t = texel[k]
        albedo = row[5] * t * (t * (t * np.float32(0.305306011) + np.float32(0.682171111)) + np.float32(0.012522878))
        wrap = row[0] * _WRAP[k]
        unwrap = one / (one + wrap)
        bounce = occlusion + (one - occlusion) * np.float32(0.45) * albedo
        light = (
            _KEY_LIGHT[k] * lit * max(key + wrap, zero) * unwrap
            + _FILL_LIGHT[k] * bounce * max(fill + wrap, zero) * unwrap
            + _RIM_LIGHT[k] * occlusion * rim
        )
        sky = _GROUND[k] + (_SKY[k] - _GROUND[k]) * up
        s = albedo * (light + sky * bounce) + _KEY_LIGHT[k] * shine + sky * sheen
        s *= _EXPOSURE
        s = min(s * (one + s * _INV_WHITE2) / (one + s), one)
        s1 = np.sqrt(s)
        s2 = np.sqrt(s1)
        s3 = np.sqrt(s2)
        e = (
            np.float32(0.662002687) * s1
            + np.float32(0.684122060) * s2
            - np.float32(0.323583601) * s3
            - np.float32(0.0225411470) * s
        )
        out[k] += min(max(e, zero), one) * cover
    out[3] += cover


@njit(cache=True, fastmath=True, parallel=True, error_model="numpy")
def _draw(
    screen: Any, triangles: Any, material: Any, position: Any, normal: Any, grad_u: Any, grad_v: Any, uv: Any,
    look: Any, albedo: Any, coarse: Any, ratio: Any, slopes: Any, wrinkled: Any, rows: Any, backdrop: Any, depth: Any,
    owner: Any, picture: Any,
) -> None:  # fmt: skip
    """Rasterise and shade `picture` (size, size, 3) strip by strip."""
    zero, half, one = np.float32(0.0), np.float32(0.5), np.float32(1.0)
    large = depth.shape[0]
    strips = (large + STRIP - 1) // STRIP
    for strip in prange(strips):
        first, end = strip * STRIP, min(large, (strip + 1) * STRIP)
        rasterise(screen, triangles, material, first, end, depth, owner)
        texel, at, n = np.empty(3, np.float32), np.empty(3, np.float32), np.empty(3, np.float32)
        seen, out = np.empty(4, np.float32), np.empty(4, np.float32)
        for y in range(first // 2, end // 2):
            for x in range(picture.shape[1]):
                whole = True
                f0 = owner[2 * y, 2 * x]
                near = far = depth[2 * y, 2 * x]
                for s in range(1, 4):
                    f, z = owner[2 * y + s // 2, 2 * x + s % 2], depth[2 * y + s // 2, 2 * x + s % 2]
                    near, far = max(near, z), min(far, z)
                    if (f < 0) != (f0 < 0) or (f >= 0 and f0 >= 0 and material[f] != material[f0]):
                        whole = False
                if near - far > near * np.float32(STEP):  # the edge of an ear before a cheek
                    whole = False
                out[:] = 0.0
                if whole and f0 < 0:
                    grey = np.uint8(backdrop[y, x] * np.float32(255.0) + np.float32(0.5))
                    for k in range(3):
                        picture[y, x, k] = grey
                    continue
                for s in range(3 if whole else 0, 4):
                    f = owner[2 * y + s // 2, 2 * x + s % 2]
                    if f < 0:
                        continue
                    a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
                    off_x, off_y = (one, one) if whole else (np.float32(s % 2) + half, np.float32(s // 2) + half)
                    wa, wb, wc = _weights(screen, a, b, c, np.float32(2 * x) + off_x, np.float32(2 * y) + off_y)
                    if whole:  # the middle of the pixel may lie just outside: stay on the triangle
                        wa, wb, wc = max(wa, zero), max(wb, zero), max(wc, zero)
                        total = one / (wa + wb + wc)
                        wa, wb, wc = wa * total, wb * total, wc * total
                    u = wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]
                    v = wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]
                    image = coarse if whole else albedo
                    for k in range(3):
                        texel[k] = _fetch(image, u, v, k) * np.float32(1 / 255)
                    row = rows[material[f]]
                    for k in range(3):
                        at[k] = wa * position[a, k] + wb * position[b, k] + wc * position[c, k]
                        n[k] = wa * normal[a, k] + wb * normal[b, k] + wc * normal[c, k]
                    if wrinkled and material[f] == _SKIN:
                        su, sv = _fetch(slopes, u, v, 0) * _BUMP, _fetch(slopes, u, v, 1) * _BUMP
                        length = np.float32(1.0) / np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
                        for k in range(3):
                            texel[k] = min(texel[k] * _fetch(ratio, u, v, k), np.float32(1.0))
                            gu = wa * grad_u[a, k] + wb * grad_u[b, k] + wc * grad_u[c, k]
                            gv = wa * grad_v[a, k] + wb * grad_v[b, k] + wc * grad_v[c, k]
                            n[k] = n[k] * length - su * gu - sv * gv
                    length = np.float32(1.0) / np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
                    area = (screen[b, 1] - screen[a, 1]) * (screen[c, 0] - screen[a, 0])
                    area -= (screen[b, 0] - screen[a, 0]) * (screen[c, 1] - screen[a, 1])
                    if area < 0.0:
                        length = -length
                    for k in range(3):
                        n[k] *= length
                    for k in range(4):
                        seen[k] = wa * look[a, k] + wb * look[b, k] + wc * look[c, k]
                    _shade(texel, at, n, seen, row, out)
                share = np.float32(1.0) if whole else np.float32(0.25)
                rest = (np.float32(1.0) - out[3] * share) * backdrop[y, x]
                for k in range(3):
                    value = out[k] * share + rest
                    picture[y, x, k] = np.uint8(min(max(value, np.float32(0.0)), np.float32(1.0)) * 255 + 0.5)
