"""FaceFormer's released files: one state dict with the speech encoder under `audio_encoder.`."""

from parlante.models.importing.keys import Shapes, Sizes, Tensors, decoder_sizes
from parlante.models.importing.motion_import import MotionImporter


def infer(tensors: Tensors) -> Sizes:
    """Sizes from names and shapes."""
    t = Shapes(tensors)
    return decoder_sizes(t, "vertice_map", "vertice_map_r") | {"subjects": t.size(("obj_vector.weight", 1))}


IMPORTER = MotionImporter(family="faceformer", infer=infer, signatures={"faceformer": "vertice_map_r.weight"})
