"""Speech in, a face that says it out: the whole pipeline, in pieces of bounded memory."""

from parlante.animate.pipeline import animate, animate_to, stream
from parlante.animate.source import Request, Source, Window

__all__ = ["Request", "Source", "Window", "animate", "animate_to", "stream"]
