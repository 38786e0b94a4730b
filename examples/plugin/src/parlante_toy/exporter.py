"""A file format: one line per frame with its time and the weights that are not zero."""

from parlante.core.frames import FrameBlock
from parlante.export.formats import Format
from parlante.export.sink import FileSink


class ToyCurves(FileSink):
    """Writes `.toy.txt`: `0.033 jawOpen=0.412 mouthSmileLeft=0.200`."""

    def write(self, block: FrameBlock) -> None:
        """Take the next frames."""
        assert block.weights is not None, "the format says that it needs weights"
        if not block.start:
            self.partial.write_text("")
        with self.partial.open("a") as file:
            for number, row in enumerate(block.weights, block.start):
                words = [f"{name}={value:.3f}" for name, value in zip(self.info.weight_names, row) if value > 5e-4]
                file.write(" ".join([f"{number / self.info.fps:.3f}", *words]) + "\n")


FORMAT = Format(
    name="toy-curves",
    suffixes=(".toy.txt",),
    sink="parlante_toy.exporter:ToyCurves",
    description="one line per frame: time and weights",
    needs_weights=True,
    needs_triangles=False,
    shows_skin=False,
)
