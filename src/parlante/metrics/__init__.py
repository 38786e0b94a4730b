"""What is measured: one function per published number, named by its formula."""

from parlante.metrics.images import BORDER, luma, psnr, ssim, ssim_map, without_border
from parlante.metrics.motion import (
    closure_recall,
    lag_and_correlation,
    lip_dynamics,
    silence_motion_ratio,
    style_distance,
    style_vector,
    temporal_jitter,
)
from parlante.metrics.rig import BEAT, UUDAMM, RigRegions, rig_dynamics_deviation, rig_error
from parlante.metrics.vertices import (
    coordinate_dynamics_deviation,
    diversity,
    frame_lip_error,
    lip_vertex_error_m2,
    lip_vertex_error_mm,
    mean_vertex_error,
    root_lip_error_mm,
    root_vertex_error_mm,
    upper_face_dynamics_deviation,
)

__all__ = [
    "BEAT",
    "BORDER",
    "UUDAMM",
    "RigRegions",
    "closure_recall",
    "coordinate_dynamics_deviation",
    "diversity",
    "frame_lip_error",
    "lag_and_correlation",
    "lip_dynamics",
    "lip_vertex_error_m2",
    "lip_vertex_error_mm",
    "luma",
    "mean_vertex_error",
    "psnr",
    "rig_dynamics_deviation",
    "rig_error",
    "root_lip_error_mm",
    "root_vertex_error_mm",
    "silence_motion_ratio",
    "ssim",
    "ssim_map",
    "style_distance",
    "style_vector",
    "temporal_jitter",
    "upper_face_dynamics_deviation",
    "without_border",
]
