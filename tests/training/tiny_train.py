"""`parlante train` on the tiny head, as a program: for tests that kill it or start it several times."""

import sys

from tiny import TinyHead, TinySkin

import parlante.head
import parlante.head.skin_dynamics
from parlante.cli import main

if __name__ == "__main__":
    head = TinyHead()
    parlante.head.load_head = lambda: head
    parlante.head.skin_dynamics.SkinDynamics = TinySkin
    sys.exit(main(["train", *sys.argv[1:]]))
