"""A take of the embedded head, played by a character."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.export import AnimationInfo, FrameBlock
from parlante.retarget.mesh.character import Character
from parlante.retarget.mesh.contact import LipContact
from parlante.retarget.mesh.wrinkle import carry_wrinkles


def recast(
    take: AnimationInfo, chunks: Iterator[FrameBlock], character: Character
) -> tuple[AnimationInfo, Iterator[FrameBlock]]:
    """The same curves, residual motion, wrinkles and head pose on the character's own mesh and texture.

    Raises InputError if the take has no curves of the embedded head.
    """
    if take.shapes is None or len(take.weight_names) != len(character.shapes):
        raise InputError(
            "this model does not move the embedded head; a character needs --model textalker or another of it"
        )
    worn = character.dressed()
    wrinkled = take.wrinkle_size is not None and worn.wrinkle_table is not None and character.albedo is not None
    played = replace(
        take,
        topology=worn.topology,
        neutral=character.neutral,
        shapes=character.shapes,
        albedo=None if take.wrinkle_size is None else worn.albedo,
        pivot=character.pivot,
        wrinkle_size=worn.wrinkle_table.shape[:2] if wrinkled and worn.wrinkle_table is not None else None,
        provenance={**take.provenance, "identity": character.topology.name},
    )
    return played, _frames(take, chunks, character, worn.wrinkle_table if wrinkled else None)


def _frames(
    take: AnimationInfo, chunks: Iterator[FrameBlock], character: Character, table: NDArray[np.float32] | None
) -> Iterator[FrameBlock]:
    assert take.shapes is not None
    basis = take.shapes.reshape(len(take.shapes), -1)
    contact = LipContact(character, take.neutral)
    for chunk in chunks:
        assert chunk.weights is not None
        residual = chunk.vertices - take.neutral - (chunk.weights @ basis).reshape(chunk.vertices.shape)
        vertices = character.vertices(chunk.weights, residual.astype(np.float32))
        for theirs, ours in zip(vertices, chunk.vertices, strict=True):
            contact.close(theirs, ours)
        yield FrameBlock(
            chunk.start,
            vertices,
            carry_wrinkles(chunk.wrinkle, table) if table is not None and chunk.wrinkle is not None else None,
            chunk.weights,
            chunk.head_pose,
        )
