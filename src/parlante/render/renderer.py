"""Vertices in, a picture out."""

import logging
import weakref
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from parlante.core import InputError, Topology
from parlante.geometry.pose import apply_head_pose, neck_joint, neck_weights
from parlante.render.camera import Camera, frame_head, head_of
from parlante.render.occlusion import Occlusion
from parlante.render.soft import SUPERSAMPLING, SoftBackend
from parlante.render.surface import Surface
from parlante.render.wrinkles import wrinkle_ratio, wrinkle_slopes

FINEST = 1.6
"""Texels per sample and axis, at most."""
EMULATED = "llvmpipe", "softpipe", "swrast", "swiftshader"
"""OpenGL drivers that draw on the processor."""

log = logging.getLogger(__name__)


class Renderer:
    """Draws one head, frame by frame, with anti-aliasing, on a neutral backdrop.

    OpenGL over EGL where it runs on a graphics card, the software rasteriser otherwise (it is faster than OpenGL on a
    processor); both give the same picture. One renderer belongs to the thread that made it. Use it as a context manager
    or call `close`.

    topology: the mesh. neutral: (V, 3) metres, the face at rest; it fixes the camera and the neck.
    size: picture edge in pixels. view: a name of `VIEWS`, an angle in degrees, or a `Camera`.
    albedo: (H, W, 3) sRGB bytes with the first row at v = 1; plain material colours if absent.
    sample_poses: (K, V, 3) some frames of the motion (or none): skin that is open to the light in any of them, such as
    the eyelid, is not darkened as if always folded away. pivot: (3,) the neck joint, and pose_weights: (V,) the
    share of the head pose that each vertex follows; the embedded head knows its own, for others they are estimated.
    backend: "auto", "gl" (raises InputError where OpenGL is missing) or "soft".
    """

    def __init__(
        self,
        topology: Topology,
        neutral: ArrayLike,
        *,
        size: int = 512,
        view: str | float | Camera = "front",
        albedo: NDArray[np.uint8] | None = None,
        sample_poses: ArrayLike | None = None,
        pivot: ArrayLike | None = None,
        pose_weights: ArrayLike | None = None,
        backend: Literal["auto", "gl", "soft"] = "auto",
    ) -> None:
        if not 16 <= size <= 4096:
            raise InputError(f"picture size must be 16..4096 pixels, got {size}; try 512")
        self.size = size
        self.neutral = np.asarray(neutral, dtype=np.float32)
        self.camera = view if isinstance(view, Camera) else frame_head(head_of(self.neutral, topology), view)
        self._view = self.camera.view
        self._surface = Surface(topology)
        self._pivot = neck_joint(self.neutral, topology) if pivot is None else np.asarray(pivot, dtype=np.float32)
        self._neck = _neck(topology, self.neutral, self._pivot) if pose_weights is None else np.asarray(pose_weights)
        self._occlusion = Occlusion(self._surface, self.neutral, self._view, sample_poses)
        self._surface.update(self.neutral, self._view, slopes=False)
        self._texels_per_sample = self._surface.uv_per_screen(self.camera.focal) * 2 / (size * SUPERSAMPLING)
        self._backend = _choose(self._surface, self.camera, size, backend)
        self._release = weakref.finalize(self, self._backend.release)
        self._release.atexit = False  # the process gives everything back anyway
        self._slopes: NDArray[np.float32] = np.zeros((1, 1, 2), dtype=np.float32)
        self._albedo: NDArray[np.uint8] | None = None
        self.set_albedo(albedo)

    @property
    def backend(self) -> str:
        """What draws, in words."""
        return self._backend.name

    def set_albedo(self, albedo: NDArray[np.uint8] | None) -> None:
        """Use another skin from now on; the array is copied. Raises ValueError for another shape or type."""
        self._albedo = albedo
        if albedo is None:
            self._backend.set_albedo(self._surface.colour_texture(), self._surface.palette_uv())
        else:
            if albedo.ndim != 3 or albedo.shape[-1] != 3 or albedo.dtype != np.uint8:
                raise ValueError(f"a texture must be (H, W, 3) uint8, got {albedo.shape} {albedo.dtype}")
            self._backend.set_albedo(self._fit(albedo), self._surface.uv)

    def draw(
        self,
        vertices: ArrayLike,
        *,
        texture: NDArray[np.uint8] | None = None,
        wrinkle: NDArray[Any] | None = None,
        head_pose: ArrayLike | None = None,
    ) -> NDArray[np.uint8]:
        """One frame: (size, size, 3) sRGB bytes.

        vertices: (V, 3) metres, without head pose. texture: (H, W, 3) sRGB bytes, replaces the albedo from this frame
        on. wrinkle: (h, w, 3) ratio as float, or as bytes round(255 * tanh(ratio / 2)); it multiplies the albedo and
        tilts the normals, for this frame only. head_pose: (6,), see `parlante.geometry.pose`.
        """
        points = np.ascontiguousarray(vertices, dtype=np.float32)
        if points.shape != self.neutral.shape:
            raise ValueError(f"vertices must be {self.neutral.shape}, got {points.shape}; give one frame at a time")
        if texture is not None:
            self.set_albedo(texture)
        if wrinkle is None or self._albedo is None:
            self._backend.set_wrinkle(None, None)
        else:
            ratio = wrinkle_ratio(np.asarray(wrinkle))
            if self._slopes.shape[:2] != ratio.shape[:2]:
                self._slopes = np.zeros((*ratio.shape[:2], 2), dtype=np.float32)
            wrinkle_slopes(ratio, self._slopes)
            self._backend.set_wrinkle(ratio, self._slopes)
        self._occlusion.update(points)
        self._backend.set_look()
        if head_pose is not None and np.any(head_pose):
            points = apply_head_pose(points[None], np.asarray(head_pose)[None], self._pivot, self._neck)[0]
        self._surface.update(points, self._view, slopes=wrinkle is not None)
        return self._backend.draw()

    def _fit(self, albedo: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Halve a texture until it is no finer than the samples it lands on; finer would only flicker."""
        texels = self._texels_per_sample * float(np.sqrt(albedo.shape[0] * albedo.shape[1]))
        while texels > FINEST and min(albedo.shape[:2]) > 64:
            albedo = np.asarray(Image.fromarray(albedo).reduce(2))
            texels /= 2
        return albedo

    def close(self) -> None:
        """Free the graphics context; also happens when the renderer is forgotten."""
        self._release()

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _neck(topology: Topology, neutral: NDArray[np.float32], pivot: NDArray[np.float32]) -> NDArray[np.float32]:
    """(V,) how far each vertex follows the head: as the embedded head says, if it is this one, or estimated."""
    from parlante.head.model import TOPOLOGY_NAME, load_head

    if topology.name == TOPOLOGY_NAME and len(neutral) == load_head().topology.num_vertices:
        return load_head().neck_weights
    return neck_weights(neutral, pivot, topology)


def _choose(surface: Surface, camera: Camera, size: int, backend: str) -> Any:
    """A backend by name; "auto" takes OpenGL where a graphics card draws and the software renderer elsewhere."""
    if backend == "soft":
        return SoftBackend(surface, camera, size)
    try:
        from parlante.render.gl import GLBackend

        drawing: Any = GLBackend(surface, camera, size)
    except Exception as error:  # moderngl raises bare Exception where EGL is missing
        if backend == "gl":
            raise InputError(
                f"OpenGL over EGL does not start: {error}; install libegl1 and libgl1-mesa-dri or use the soft backend"
            ) from error
        drawing = SoftBackend(surface, camera, size)
        log.info("rendering with %s: OpenGL over EGL does not start (%s)", drawing.name, error)
        return drawing
    if backend == "auto" and any(name in drawing.name.lower() for name in EMULATED):
        drawing.release()
        drawing = SoftBackend(surface, camera, size)
    log.info("rendering with %s", drawing.name)
    return drawing
