"""Do lips that meet in our head meet in a character's? `python benchmarks/closures.py speech.wav me.character ...`

The height of what is open between lips is read off depth images taken from the front: of the embedded person nearest
in form, and, in every frame in which nothing is open there, of the character.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from parlante.animation import Talker
from parlante.export import FrameBlock
from parlante.head import load_head, rig
from parlante.retarget.mesh import Character
from parlante.retarget.mesh.lips import line_between, opening
from parlante.retarget.mesh.play import retarget
from parlante.retarget.mesh.surface import Surface


def measure(speech: str, folder: str) -> tuple[int, NDArray[np.float64]]:
    """How many frames have closed lips, and the openings (frames, places) of the character in them, metres."""
    character, head = Character.load(folder).keep_parts("none"), load_head()
    who = (character.report or {})["like"]
    talker = Talker.from_pretrained()
    take, chunks = talker.stream(speech, talker.cast(identity=who, liveliness=False))
    lips = head.layout.lips[rig.LIP_LINE]
    skin = head.topology.triangles[(head.topology.triangles < head.layout.ranges["skin"][1]).all(1)]
    source: list[float] = []

    def heard() -> Iterator[FrameBlock]:
        for chunk in chunks:
            for points in chunk.vertices:
                source.append(float(opening(Surface(points, skin), points[lips])[1].max()))
            yield chunk

    _, frames = retarget(take, heard(), character)
    found = []
    for chunk in frames:
        for number, points in enumerate(chunk.vertices):
            if source[chunk.start + number] == 0:
                line = line_between(points, dict(character.topology.landmarks))
                found.append(opening(Surface(points, character.topology.triangles), line)[1])
    return len(source), np.asarray(found)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("speech")
    parser.add_argument("characters", nargs="+")
    options = parser.parse_args()
    print("| character | frames | closed in ours | 95th percentile mm | largest mm |\n| --- | --- | --- | --- | --- |")
    for folder in options.characters:
        frames, found = measure(options.speech, folder)
        told = (f"{1000 * np.quantile(found, 0.95):.2f} | {1000 * found.max():.2f}") if len(found) else "- | -"
        print(f"| {folder} | {frames} | {len(found)} | {told} |", flush=True)


if __name__ == "__main__":
    main()
