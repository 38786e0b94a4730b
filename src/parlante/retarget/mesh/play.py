"""An animation of the embedded head, played by a character."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.export import AnimationInfo, FrameBlock
from parlante.retarget.mesh.character import Character
from parlante.retarget.mesh.contact import LipContact
from parlante.retarget.mesh.wrinkle import carry_wrinkles


def retarget(
    info: AnimationInfo, blocks: Iterator[FrameBlock], character: Character
) -> tuple[AnimationInfo, Iterator[FrameBlock]]:
    """The same weights, residual motion, wrinkles and head pose on the character's own mesh and texture.

    Raises InputError if the animation has no weights of the embedded head.
    """
    if info.shapes is None or len(info.weight_names) != len(character.shapes):
        raise InputError(
            "this model does not move the embedded head; a character needs --model textalker or another of it"
        )
    baked = character.baked()
    wrinkled = info.wrinkle_size is not None and baked.wrinkle_table is not None and character.albedo is not None
    played = replace(
        info,
        topology=baked.topology,
        neutral=character.neutral,
        shapes=character.shapes,
        albedo=None if info.wrinkle_size is None else baked.albedo,
        pivot=character.pivot,
        wrinkle_size=baked.wrinkle_table.shape[:2] if wrinkled and baked.wrinkle_table is not None else None,
        provenance={**info.provenance, "identity": character.topology.name},
    )
    return played, _frames(info, blocks, character, baked.wrinkle_table if wrinkled else None)


def _frames(
    info: AnimationInfo, blocks: Iterator[FrameBlock], character: Character, table: NDArray[np.float32] | None
) -> Iterator[FrameBlock]:
    assert info.shapes is not None
    basis = info.shapes.reshape(len(info.shapes), -1)
    contact = LipContact(character, info.neutral)
    for block in blocks:
        assert block.weights is not None
        residual = block.vertices - info.neutral - (block.weights @ basis).reshape(block.vertices.shape)
        vertices = character.vertices(block.weights, residual.astype(np.float32))
        for theirs, ours in zip(vertices, block.vertices, strict=True):
            contact.close(theirs, ours)
        yield FrameBlock(
            block.start,
            vertices,
            carry_wrinkles(block.wrinkle, table) if table is not None and block.wrinkle is not None else None,
            block.weights,
            block.head_pose,
        )
