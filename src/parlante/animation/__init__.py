"""Speech in, a face that says it out: the whole pipeline, in pieces of bounded memory."""

from parlante.animation.animate import animate, animate_to, stream
from parlante.animation.source import Request, Source, Window

__all__ = ["Request", "Source", "Window", "animate", "animate_to", "stream"]
