"""TalkingStyle's released files: one state dict with the speech encoder under `audio_encoder.`."""

from parlante.models.importing.keys import Shapes, Sizes, Tensors, decoder_sizes
from parlante.models.importing.motion_import import MotionImporter


def infer(tensors: Tensors) -> Sizes:
    """Sizes from names and shapes."""
    t = Shapes(tensors)
    return decoder_sizes(t, "vertice_encoder", "vertice_decoder") | {
        "subjects": t.size(("style_encoder.obj_vector.weight", 1), ("style_encoder.my_obj_vector.weight", 0))
    }


IMPORTER = MotionImporter(
    family="talkingstyle",
    infer=infer,
    signatures={"talkingstyle": "style_encoder.obj_vector.weight"},
    shared_meshes={15069: "3D-MEAD"},
)
