"""Take frames block by block, from sound that comes in pieces.

A session holds everything about one utterance, so many sessions may share one talker, also from several threads. The
models in the package answer whole recordings: frames come from `finish`, a block at a time, the first long before the
last. `abilities.smallest_look_ahead` tells whether a model could answer earlier; none of ours can.
"""

import sys

import parlante
from parlante.audio.io import read_audio
from parlante.core.frames import FrameBlock
from parlante.head.arkit import INDEX


def main(speech: str = "assets/demo.wav", piece: float = 0.1) -> None:
    """Push `speech` in pieces of so many seconds and print the blocks that come back."""
    sound = read_audio(speech)  # (N,) mono at 16 kHz; a microphone or a text-to-speech voice in real life
    step = round(16000 * piece)
    talker = parlante.Talker.from_pretrained("textalker")
    print("smallest look-ahead:", talker.model.abilities.smallest_look_ahead)

    with talker.session(identity="amara", texture=False) as session:
        for start in range(0, len(sound), step):
            for block in session.push(sound[start : start + step]):
                show(block)
        for block in session.finish():
            show(block)


def show(block: FrameBlock) -> None:
    """A block has vertices (n, V, 3), weights (n, 52) and a head pose (n, 6); send them wherever they are needed."""
    jaw = block.weights[:, INDEX["jawOpen"]]
    print(f"frames {block.start} to {block.start + len(block) - 1}: jawOpen up to {jaw.max():.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
