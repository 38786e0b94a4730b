"""Speech in, a finished animation out, in blocks of bounded memory."""

from parlante.animation.animate import animate, animate_to
from parlante.animation.talker import Casting, Talker, TalkerSession

__all__ = ["Casting", "Talker", "TalkerSession", "animate", "animate_to"]
