"""What every exporter receives: the facts of an animation, then its frames in blocks, so length costs no memory."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parlante.core import Animation, Topology
from parlante.core.frames import AnimationInfo, FrameBlock
from parlante.geometry.pose import apply_head_pose, neck_joint, neck_weights
from parlante.head.arkit import ARKIT_NAMES

BLOCK_FRAMES = 90


class FrameSink(Protocol):
    """An output being written. A context manager: leaving it cleanly publishes the file, an error removes it."""

    def __enter__(self) -> "FrameSink": ...

    def __exit__(self, *error: Any) -> bool | None: ...

    def write(self, block: FrameBlock) -> None:
        """Take the next frames; blocks come in order and without gaps."""
        ...


def animation_info(animation: Animation) -> AnimationInfo:
    """The facts of an animation in memory. Shapes and pivot come from the embedded head when it is that head's."""
    shapes, pivot = None, (0.0, 0.0, 0.0)
    identity = animation.provenance.get("identity")
    if animation.weights is not None and identity is not None:
        shapes, pivot = _embedded_rig(animation.topology, str(identity), animation.weight_names)
    return AnimationInfo(
        topology=animation.topology,
        fps=animation.fps,
        num_frames=len(animation.vertices),
        neutral=animation.neutral,
        audio=animation.audio,
        sample_rate=animation.sample_rate,
        albedo=animation.albedo,
        weight_names=animation.weight_names if animation.weights is not None else (),
        shapes=shapes,
        pivot=pivot,
        wrinkle_size=None if animation.wrinkle is None else animation.wrinkle.shape[1:3],
        has_pose=animation.head_pose is not None,
        provenance=animation.provenance,
    )


def with_rig(info: AnimationInfo) -> AnimationInfo:
    """The animation with the shapes and pivot of the embedded head, where it is of that head and has none yet."""
    identity = info.provenance.get("identity")
    if info.shapes is not None or identity is None:
        return info
    names = info.weight_names or ARKIT_NAMES
    shapes, pivot = _embedded_rig(info.topology, str(identity), names)
    return info if shapes is None else replace(info, shapes=shapes, pivot=pivot)


class Poser:
    """Vertices with the head pose applied, for formats that have no joint to hold it."""

    def __init__(self, info: AnimationInfo) -> None:
        self._info = info
        self._share: NDArray[np.float32] | None = None

    def __call__(self, block: FrameBlock) -> NDArray[np.float32]:
        """(n, V, 3) metres."""
        if block.head_pose is None:
            return block.vertices
        info = self._info
        if self._share is None:
            if not any(info.pivot):
                self._pivot = neck_joint(info.neutral, info.topology)
            else:
                self._pivot = np.asarray(info.pivot, np.float32)
            self._share = neck_weights(info.neutral, self._pivot, info.topology)
        return apply_head_pose(block.vertices, block.head_pose, self._pivot, self._share)


def frame_blocks(animation: Animation, size: int = BLOCK_FRAMES) -> Iterator[FrameBlock]:
    """The frames of an animation in memory, `size` at a time."""
    for start in range(0, len(animation.vertices), size):
        rows = slice(start, start + size)
        yield FrameBlock(
            start,
            animation.vertices[rows],
            None if animation.wrinkle is None else animation.wrinkle[rows],
            None if animation.weights is None else animation.weights[rows],
            None if animation.head_pose is None else animation.head_pose[rows],
        )


def _embedded_rig(
    topology: Topology, identity: str, names: tuple[str, ...]
) -> tuple[NDArray[np.float32] | None, tuple[float, float, float]]:
    from parlante.head import load_head

    head = load_head()
    if topology.name != head.topology.name or names != ARKIT_NAMES or identity not in head.identity_names:
        return None, (0.0, 0.0, 0.0)
    x, y, z = (float(value) for value in head.neck_pivot(identity))
    return head.shapes(identity), (x, y, z)
