"""One file per exchange format. `open_sinks` streams frames into any number of them; `save` writes an Animation."""

from parlante.export.outputs import FORMATS, check_outputs, open_sinks, save
from parlante.export.take import Chunk, Sink, Take, chunks_of, take_of

__all__ = ["FORMATS", "Chunk", "Sink", "Take", "check_outputs", "chunks_of", "open_sinks", "save", "take_of"]
