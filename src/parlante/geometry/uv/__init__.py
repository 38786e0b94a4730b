"""Vertex attributes <-> UV maps; motion maps; wrinkle (ratio) maps and their application at any resolution."""

from parlante.geometry.uv.motion_map import REFERENCE_STATS, MotionStats, motion_maps, offsets_from_maps
from parlante.geometry.uv.ratio import apply_ratio
from parlante.geometry.uv.round_trip import RoundTripError, round_trip
from parlante.geometry.uv.table import BakeTable, bake_table
from parlante.geometry.uv.upsample import Upsampler

__all__ = [
    "REFERENCE_STATS",
    "BakeTable",
    "MotionStats",
    "RoundTripError",
    "Upsampler",
    "apply_ratio",
    "bake_table",
    "motion_maps",
    "offsets_from_maps",
    "round_trip",
]
