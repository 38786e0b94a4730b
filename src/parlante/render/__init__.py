"""Pictures and video of a talking head."""

from parlante.render.camera import VIEWS, Camera, frame_head
from parlante.render.occlusion import telling_poses
from parlante.render.renderer import Renderer
from parlante.render.sheet import contact_sheet, save_png
from parlante.render.video import VideoWriter

__all__ = ["VIEWS", "Camera", "Renderer", "VideoWriter", "contact_sheet", "frame_head", "save_png", "telling_poses"]
