"""What is measured: one function per published number, named by its formula."""

from parlante.metrics.images import psnr, ssim, ssim_map
from parlante.metrics.vertices import (
    frame_lip_error,
    lip_vertex_error_m2,
    lip_vertex_error_mm,
    mean_vertex_error,
    upper_face_dynamics_deviation,
)

__all__ = [
    "frame_lip_error",
    "lip_vertex_error_m2",
    "lip_vertex_error_mm",
    "mean_vertex_error",
    "psnr",
    "ssim",
    "ssim_map",
    "upper_face_dynamics_deviation",
]
