"""The OpenGL renderer: moderngl on EGL, so that it needs neither a display nor a window."""

from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from parlante.render import shading
from parlante.render.camera import Camera
from parlante.render.surface import Surface

SUPERSAMPLING = 2


class GLBackend:
    """Draws a `Surface` with OpenGL 3.3 at twice the size and averages down. Use it from the thread that made it.

    Raises an exception of moderngl's choice where EGL or OpenGL are missing.
    """

    def __init__(self, surface: Surface, camera: Camera, size: int) -> None:
        context: Any = moderngl.create_context(standalone=True, require=330, backend="egl")  # type: ignore[arg-type]
        self.name = f"OpenGL ({context.info['GL_RENDERER']})"
        self.context, self.surface, self.size = context, surface, size
        self._resolve = context.program(
            vertex_shader=shading.RESOLVE_VERTEX_SHADER, fragment_shader=shading.RESOLVE_FRAGMENT_SHADER
        )
        self._resolve["samples"].value, self._resolve["backdrop"].value = 0, 1
        self._focal = camera.focal
        self._moving_buffer = context.buffer(reserve=surface.position.nbytes * 2, dynamic=True)
        self._tilt_buffer = context.buffer(reserve=surface.position.nbytes * 2, dynamic=True)
        self._look_buffer = context.buffer(reserve=surface.look.nbytes, dynamic=True)
        self._uv_buffer = context.buffer(surface.uv.tobytes())
        self._index_buffer = context.buffer(surface.triangles.tobytes())
        self._plain = self._mesh(camera, wrinkled=False)
        self._creased = self._mesh(camera, wrinkled=True)
        self._full_screen = context.vertex_array(self._resolve, [])

        large = size * SUPERSAMPLING
        self._samples = context.texture((large, large), 4)
        self._samples.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._large = context.framebuffer([self._samples], context.depth_renderbuffer((large, large)))
        self._small = context.simple_framebuffer((size, size), 3)
        backdrop = shading.background(size)
        self._backdrop = self._texture(backdrop[::-1, :, None])
        grey = (backdrop * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        self._empty = np.repeat(grey[..., None], 3, axis=2)
        self._albedo: Any = None
        self._ratio: Any = self._texture(np.ones((1, 1, 3), dtype=np.float32))
        self._slope: Any = self._texture(np.zeros((1, 1, 2), dtype=np.float32))
        self._wrinkled = False

    def _mesh(self, camera: Camera, wrinkled: bool) -> tuple[Any, Any]:
        """A program and the mesh bound to it."""
        program = self.context.program(
            vertex_shader=shading.vertex_shader(wrinkled), fragment_shader=shading.fragment_shader(wrinkled)
        )
        program["albedo_map"].value = 0
        program["projection"].write(camera.projection.T.astype("f4").tobytes())
        program["lens"].value = (2.0 / (self.size * SUPERSAMPLING) / camera.focal, 1.0 / camera.focal)
        content: list[tuple[Any, ...]] = [
            (self._moving_buffer, "3f 3f", "position", "normal"),
            (self._uv_buffer, "2f", "uv"),
            (self._look_buffer, "4f", "surface"),
        ]
        if wrinkled:
            program["ratio_map"].value, program["slope_map"].value = 1, 2
            content.append((self._tilt_buffer, "3f 3f", "grad_u", "grad_v"))
        return program, self.context.vertex_array(program, content, index_buffer=self._index_buffer)

    def _texture(self, image: NDArray[Any], old: Any = None) -> Any:
        """A texture of (H, W, K) uint8 or float32 `image`, in the storage of `old` where it fits."""
        height, width, channels = image.shape
        bytes_only = image.dtype == np.uint8
        data = np.ascontiguousarray(image if bytes_only else image.astype(np.float16))
        if old is not None and old.size == (width, height) and old.components == channels:
            old.write(data, alignment=1)
            return old
        if old is not None:
            old.release()
        texture = self.context.texture((width, height), channels, data, alignment=1, dtype="f1" if bytes_only else "f2")
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        texture.repeat_x = texture.repeat_y = False
        return texture

    def set_albedo(self, image: NDArray[np.uint8], uv: NDArray[np.float32]) -> None:
        """Take a new albedo (H, W, 3) sRGB and the corners' coordinates (C, 2) in it."""
        with self.context:
            self._albedo = self._texture(image, self._albedo)
            self._uv_buffer.write(uv.tobytes())

    def set_look(self) -> None:
        """Take `surface.look` anew."""
        with self.context:
            self._look_buffer.write(self.surface.look)

    def set_wrinkle(self, ratio: NDArray[np.float32] | None, slopes: NDArray[np.float32] | None) -> None:
        """Take a ratio map (h, w, 3) and its slopes (h, w, 2), or none."""
        self._wrinkled = ratio is not None
        if ratio is not None and slopes is not None:
            with self.context:
                self._ratio = self._texture(ratio, self._ratio)
                self._slope = self._texture(slopes, self._slope)

    def draw(self) -> NDArray[np.uint8]:
        """(size, size, 3) sRGB picture of the surface as it stands."""
        with self.context:  # another renderer's may be current
            return self._draw()

    def _draw(self) -> NDArray[np.uint8]:
        surface, context, size = self.surface, self.context, self.size
        picture = self._empty.copy()
        left, bottom, width, height = self._box()
        if not width or not height:
            return picture
        self._moving_buffer.write(np.hstack([surface.position, surface.normal]))
        if self._wrinkled:
            self._tilt_buffer.write(np.hstack([surface.grad_u, surface.grad_v]))

        self._large.use()
        self._large.scissor = tuple(SUPERSAMPLING * edge for edge in (left, bottom, width, height))
        self._large.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        context.enable_only(moderngl.DEPTH_TEST)
        self._albedo.use(0)
        self._ratio.use(1)
        self._slope.use(2)
        for material, first, end in surface.ranges:
            row = shading.MATERIALS[material]
            program, mesh = self._creased if self._wrinkled and material == shading.SKIN else self._plain
            program["material"].value = tuple(row[:4].tolist())
            program["finish"].value = tuple(row[4:].tolist())
            if material in (shading.LASHES, shading.MOUTH):
                context.disable(moderngl.CULL_FACE)
            else:
                context.enable(moderngl.CULL_FACE)
            mesh.render(moderngl.TRIANGLES, vertices=3 * (end - first), first=3 * first)

        self._small.use()
        self._small.scissor = (left, bottom, width, height)
        context.disable(moderngl.DEPTH_TEST | moderngl.CULL_FACE)
        self._samples.use(0)
        self._backdrop.use(1)
        self._full_screen.render(moderngl.TRIANGLES, vertices=3)
        data = self._small.read(viewport=(left, bottom, width, height), components=3, alignment=1)
        top = size - bottom - height
        pixels = np.frombuffer(data, dtype=np.uint8).reshape(height, width, 3)
        picture[top : top + height, left : left + width] = pixels[::-1]
        return picture

    def _box(self) -> tuple[int, int, int, int]:
        """left, bottom, width, height of the pixels that the head touches; the backdrop elsewhere is ready-made."""
        place = self.surface.position[:, :2] * (-self._focal / self.surface.position[:, 2:])
        low, high = place.min(axis=0), place.max(axis=0)
        edges = np.stack([np.floor((low + 1) * self.size / 2) - 1, np.ceil((high + 1) * self.size / 2) + 1])
        (left, bottom), (right, top) = np.clip(edges, 0, self.size).astype(int).tolist()
        return left, bottom, right - left, top - bottom

    def release(self) -> None:
        """Give the context back."""
        self.context.release()
