"""PTalker's released files: one state dict with two speech encoders, and layers that the authors' code never uses."""

from parlante.models.importing.keys import Shapes, Sizes, Tensors, decoder_sizes
from parlante.models.importing.motion_import import MotionImporter


def infer(tensors: Tensors) -> Sizes:
    """Sizes from names and shapes, the unused layers included."""
    t = Shapes(tensors)
    return decoder_sizes(t, "vertice_encoder", "vertice_decoder") | {
        "subjects": t.size(
            ("onehot_style_encoder.obj_vector.weight", 1), ("onehot_style_encoder.my_obj_vector.weight", 0)
        ),
        "emotion_dim": t.size(("AudioStyle.fc1.weight", 1), ("AudioStyle.fc3.weight", 1)),
        "audio_style_hidden": t.size(("AudioStyle.fc1.bias", 0), ("AudioStyle.fc2.weight", 1)),
        "hidden": t.size(("transformer_decoder.layers.0.linear1.bias", 0)),
        "motion_convolutions": t.count("style_motion.conv_layers.{}"),
        "motion_layers": t.count("style_motion.transformer_encoder.layers.{}"),
        "motion_hidden": t.size(("style_motion.transformer_encoder.layers.0.linear1.bias", 0)),
        "auxiliary_classes": t.size(("auxiliary_style_classifier.fc.bias", 0)),
        "dead_layers": t.has("style_motion.motion_map.weight"),
    }


IMPORTER = MotionImporter(family="ptalker", infer=infer, signatures={"ptalker": "start_token"}, second_encoder=True)
