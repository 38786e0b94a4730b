"""A take of the embedded head, played by a character."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from parlante.character.character import Character
from parlante.core import InputError
from parlante.export import Chunk, Take


def recast(take: Take, chunks: Iterator[Chunk], character: Character) -> tuple[Take, Iterator[Chunk]]:
    """The same curves, residual motion, wrinkles and head pose on the character's own mesh and texture.

    Raises InputError if the take has no curves of the embedded head.
    """
    if take.shapes is None or len(take.weight_names) != len(character.shapes):
        raise InputError(
            "this model does not move the embedded head; a character needs --model textalker or another of it"
        )
    wrinkled = take.wrinkle_size is not None and character.wrinkle_table is not None and character.albedo is not None
    played = replace(
        take,
        topology=character.topology,
        neutral=character.neutral,
        shapes=character.shapes,
        albedo=None if take.wrinkle_size is None else character.albedo,
        pivot=character.pivot,
        wrinkle_size=character.wrinkle_table.shape[:2] if wrinkled and character.wrinkle_table is not None else None,
        provenance={**take.provenance, "identity": character.topology.name},
    )
    return played, _frames(take, chunks, character, wrinkled)


def _frames(take: Take, chunks: Iterator[Chunk], character: Character, wrinkled: bool) -> Iterator[Chunk]:
    assert take.shapes is not None
    basis = take.shapes.reshape(len(take.shapes), -1)
    for chunk in chunks:
        assert chunk.weights is not None
        residual = chunk.vertices - take.neutral - (chunk.weights @ basis).reshape(chunk.vertices.shape)
        yield Chunk(
            chunk.start,
            character.vertices(chunk.weights, residual.astype(np.float32)),
            character.wrinkles(chunk.wrinkle) if wrinkled and chunk.wrinkle is not None else None,
            chunk.weights,
            chunk.head_pose,
        )
