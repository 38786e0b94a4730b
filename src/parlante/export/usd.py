"""USD: the face as UsdSkel blend shapes driven by the weights, or as time-sampled points; skin, audio and head joint.

Layout: `/Face` (SkelRoot, default prim) holds `Mesh`, its blend shapes, `Skeleton` (joints Neck and Neck/Head, which
carry the head pose), `Speech` (SkelAnimation), `Material` (UsdPreviewSurface) and `Sound`. Metres, y up; time code t
is frame t. `.usd`, `.usdc` and `.usda` name `NAME.albedo.png` and `NAME.sound.wav` beside them; a `.usdz` holds them,
and where there are wrinkles also one picture of the skin per frame (time-sampled `inputs:file`).
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, MissingExtra, atomic_path
from parlante.core.options import Fidelity
from parlante.export.folder import write_wav
from parlante.export.frames import AnimationInfo, FrameBlock, Poser
from parlante.export.gltf import STILL, normals, quaternions
from parlante.export.keys import POSE_SHARE, reduce_keys
from parlante.export.obj import save_png
from parlante.export.row_buffer import RowBuffer
from parlante.export.sink import FileSink
from parlante.geometry.pose import neck_joint, neck_weights
from parlante.geometry.uv.ratio import apply_ratio

SKIN_SIZE = 1024
"""Pixels: the skin's pictures in a `.usdz` are at most this large."""


def _loose(path: Path) -> bool:
    """Whether it is a USD file with its skin and sound beside it."""
    return path.suffix.lower() in (".usd", ".usda", ".usdc")


class UsdSink(FileSink):
    """Sink for `.usd`, `.usdc`, `.usda` and `.usdz`.

    Raises MissingExtra without usd-core, InputError if weights are asked for and the animation has no shapes for them.
    """

    def __init__(self, path: Path, info: AnimationInfo, fidelity: Fidelity, outputs: Sequence[Path] = ()) -> None:
        """outputs: all of the run; of several of one name, the first writes what they share."""
        try:
            import pxr  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtra("usd-core", "usd") from error
        has_rig = info.shapes is not None and bool(info.weight_names)
        if fidelity.motion == "weights" and not has_rig:
            raise InputError(
                f"cannot write {path} by weights: the animation has no shapes for them; leave out --motion weights"
            )
        super().__init__(path, info)
        self._fidelity = fidelity
        self._by_weights = has_rig and fidelity.motion != "vertices"
        self._packed = self.path.suffix.lower() == ".usdz"
        twins = [each for each in outputs if each.with_suffix("") == self.path.with_suffix("") and _loose(each)]
        self._writes_companions = self._packed or not twins or twins[0] == self.path
        self._posed = Poser(info)
        self._weights = RowBuffer()
        self._poses = RowBuffer()
        self._skins: dict[int, str] = {}

    def begin(self, stack: ExitStack) -> None:
        from pxr import Usd

        super().begin(stack)
        if self._packed:
            part = tempfile.TemporaryDirectory(prefix=f".{self.path.stem}.{os.getpid()}.part.", dir=self.path.parent)
            self._folder = Path(stack.enter_context(part))
            layer = self._folder / "face.usdc"
            albedo: Path | None = self._folder / "albedo.png"
            audio: Path | None = self._folder / "sound.wav"
            self._names = {"albedo": "./albedo.png", "sound": "./sound.wav"}
        else:
            layer = self.partial
            layer.unlink(missing_ok=True)
            stem = self.path.name.removesuffix(self.path.suffix)
            audio = albedo = None
            if self._writes_companions:
                audio = stack.enter_context(atomic_path(self.path.with_name(f"{stem}.sound.wav")))
                if self.info.albedo is not None:
                    albedo = stack.enter_context(atomic_path(self.path.with_name(f"{stem}.albedo.png")))
            self._names = {"albedo": f"./{stem}.albedo.png", "sound": f"./{stem}.sound.wav"}
        if self.info.albedo is not None and albedo is not None:
            save_png(self.info.albedo, albedo)
        if audio is not None:
            write_wav(audio, self.info.audio, self.info.sample_rate)
        self._small = None if self.info.albedo is None else _shrunk(self.info.albedo)
        self._stage = Usd.Stage.CreateNew(str(layer))
        self._layer = layer
        self._build()

    def write(self, block: FrameBlock) -> None:
        """Keep the weights, or store the points; in a `.usdz` the skin as well."""
        if self._by_weights:
            assert block.weights is not None
            self._weights.append(np.clip(block.weights, 0, 1))
            if block.head_pose is not None:
                self._poses.append(block.head_pose)
        else:
            self._sample_points(block)
        if self._packed and block.wrinkle is not None and self._small is not None:
            from PIL import Image

            for k, wrinkle in enumerate(block.wrinkle):
                name = f"skin/{block.start + k:06d}.jpg"
                (self._folder / "skin").mkdir(exist_ok=True)
                Image.fromarray(apply_ratio(self._small, wrinkle)).save(self._folder / name, quality=92)
                self._skins[block.start + k] = f"./{name}"

    def _build(self) -> None:
        from pxr import Sdf, Usd, UsdGeom, UsdMedia, UsdShade, UsdSkel, Vt

        stage, info = self._stage, self.info
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        stage.SetTimeCodesPerSecond(info.fps)
        stage.SetFramesPerSecond(info.fps)
        stage.SetStartTimeCode(0)
        stage.SetEndTimeCode(max(0, info.num_frames - 1))
        root = UsdSkel.Root.Define(stage, "/Face") if self._by_weights else UsdGeom.Xform.Define(stage, "/Face")
        stage.SetDefaultPrim(root.GetPrim())
        Usd.ModelAPI(root).SetKind("component")
        mesh = self._mesh = UsdGeom.Mesh.Define(stage, "/Face/Mesh")
        triangles = info.topology.triangles
        mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(triangles), 3, np.int32)))
        mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(triangles.reshape(-1).astype(np.int32)))
        mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
        mesh.CreatePointsAttr(_vectors(info.neutral))
        mesh.CreateExtentAttr(_extent(info.neutral))
        mesh.CreateNormalsAttr(_vectors(normals(info.neutral, triangles)))
        mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
        st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar(
            "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
        )
        st.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(info.topology.uv, np.float32)))
        st.SetIndices(Vt.IntArray.FromNumpy(info.topology.uv_triangles.reshape(-1).astype(np.int32)))
        self._material(UsdShade)
        audio = UsdMedia.SpatialAudio.Define(stage, "/Face/Sound")
        audio.CreateFilePathAttr(Sdf.AssetPath(self._names["sound"]))
        audio.CreateAuralModeAttr(UsdMedia.Tokens.nonSpatial)
        audio.CreatePlaybackModeAttr(UsdMedia.Tokens.onceFromStart)
        if self._by_weights:
            self._rig()

    def _material(self, shade: Any) -> None:
        from pxr import Gf, Sdf

        material = shade.Material.Define(self._stage, "/Face/Material")
        surface = shade.Shader.Define(self._stage, "/Face/Material/Surface")
        surface.CreateIdAttr("UsdPreviewSurface")
        surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.5)
        surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
        colour = surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
        if self.info.albedo is None:
            colour.Set(Gf.Vec3f(0.8, 0.62, 0.53))
        else:
            reader = shade.Shader.Define(self._stage, "/Face/Material/Layout")
            reader.CreateIdAttr("UsdPrimvarReader_float2")
            reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
            skin = shade.Shader.Define(self._stage, "/Face/Material/Skin")
            skin.CreateIdAttr("UsdUVTexture")
            self._file = skin.CreateInput("file", Sdf.ValueTypeNames.Asset)
            self._file.Set(Sdf.AssetPath(self._names["albedo"]))
            skin.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
            for axis in ("wrapS", "wrapT"):
                skin.CreateInput(axis, Sdf.ValueTypeNames.Token).Set("clamp")
            skin.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(
                reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
            )
            colour.ConnectToSource(skin.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))
        material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", Sdf.ValueTypeNames.Token))
        shade.MaterialBindingAPI.Apply(self._mesh.GetPrim()).Bind(material)

    def _rig(self) -> None:
        from pxr import Gf, Sdf, Tf, UsdGeom, UsdSkel, Vt

        stage, info = self._stage, self.info
        assert info.shapes is not None
        self._pivot = np.asarray(info.pivot if any(info.pivot) else neck_joint(info.neutral, info.topology), np.float64)
        still, there = Gf.Matrix4d(1.0), Gf.Matrix4d().SetTranslate(Gf.Vec3d(*self._pivot.tolist()))
        skeleton = UsdSkel.Skeleton.Define(stage, "/Face/Skeleton")
        skeleton.CreateJointsAttr(["Neck", "Neck/Head"])
        skeleton.CreateBindTransformsAttr(Vt.Matrix4dArray([there, there]))
        skeleton.CreateRestTransformsAttr(Vt.Matrix4dArray([there, still]))
        skeleton.GetPrim().CreateAttribute("purpose", Sdf.ValueTypeNames.Token).Set(UsdGeom.Tokens.guide)
        self._speech = UsdSkel.Animation.Define(stage, "/Face/Speech")
        names = [Tf.MakeValidIdentifier(name) for name in info.weight_names]
        self._speech.CreateBlendShapesAttr(names)
        binding = UsdSkel.BindingAPI.Apply(self._mesh.GetPrim())
        binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
        source = UsdSkel.BindingAPI.Apply(skeleton.GetPrim())
        source.CreateAnimationSourceRel().SetTargets([self._speech.GetPath()])
        share = neck_weights(info.neutral, self._pivot, info.topology)
        joints = np.tile(np.array([0, 1], np.int32), len(share))
        influence = np.stack([1 - share, share], axis=1).astype(np.float32).reshape(-1)
        binding.CreateJointIndicesPrimvar(False, 2).Set(Vt.IntArray.FromNumpy(joints))
        binding.CreateJointWeightsPrimvar(False, 2).Set(Vt.FloatArray.FromNumpy(influence))
        binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1.0))
        paths = []
        for name, offsets in zip(names, info.shapes):
            shape = UsdSkel.BlendShape.Define(stage, f"/Face/Mesh/{name}")
            moving = np.flatnonzero(np.abs(offsets).max(axis=1) > STILL)
            shape.CreateOffsetsAttr(_vectors(offsets[moving]))
            shape.CreatePointIndicesAttr(Vt.IntArray.FromNumpy(moving.astype(np.int32)))
            paths.append(shape.GetPath())
        binding.CreateBlendShapesAttr(names)
        binding.CreateBlendShapeTargetsRel().SetTargets(paths)

    def _sample_points(self, block: FrameBlock) -> None:
        """Points of the frames, at once to disk, so that a long animation does not fill the memory."""
        triangles = self.info.topology.triangles
        for frame, vertices in enumerate(self._posed(block), block.start):
            self._mesh.GetPointsAttr().Set(_vectors(vertices), frame)
            self._mesh.GetNormalsAttr().Set(_vectors(normals(vertices, triangles)), frame)
            self._mesh.GetExtentAttr().Set(_extent(vertices), frame)
        self._stage.GetRootLayer().Save()

    def _sample_weights(self) -> None:
        from pxr import Gf, Vt

        weights = self._weights.array()
        pose = self._poses.array() if self._poses else None
        kept, turned = (self._kept(rows, share) for rows, share in ((weights, 1.0), (pose, POSE_SHARE)))
        values = self._speech.CreateBlendShapeWeightsAttr()
        for frame in kept.tolist():
            values.Set(Vt.FloatArray.FromNumpy(np.ascontiguousarray(weights[frame])), frame)
        self._speech.CreateJointsAttr(["Neck", "Neck/Head"])
        pivot = Gf.Vec3f(*self._pivot.tolist())
        self._speech.CreateScalesAttr(Vt.Vec3hArray([Gf.Vec3h(1, 1, 1)] * 2))
        turns, shifts = self._speech.CreateRotationsAttr(), self._speech.CreateTranslationsAttr()
        if pose is None:
            turns.Set(Vt.QuatfArray([Gf.Quatf(1, 0, 0, 0)] * 2))
            shifts.Set(Vt.Vec3fArray([pivot, Gf.Vec3f(0, 0, 0)]))
            return
        for frame, (x, y, z, w) in zip(turned.tolist(), quaternions(pose[turned, :3]).tolist()):
            turns.Set(Vt.QuatfArray([Gf.Quatf(1, 0, 0, 0), Gf.Quatf(w, x, y, z)]), frame)
            shifts.Set(Vt.Vec3fArray([pivot, Gf.Vec3f(*pose[frame, 3:].tolist())]), frame)

    def _kept(self, rows: NDArray[np.float32] | None, share: float | NDArray[np.float64]) -> NDArray[np.int64]:
        """Frames that get a key."""
        reduce = self._fidelity.reduce
        if rows is None or reduce == 0:
            return np.arange(self.info.num_frames)
        return reduce_keys(rows, reduce * share)

    def finish(self) -> None:
        from pxr import Sdf, UsdUtils

        if self._by_weights:
            self._sample_weights()
        for frame, name in self._skins.items():
            self._file.Set(Sdf.AssetPath(name), frame)
        self._stage.GetRootLayer().Save()
        if not self._packed:
            return
        package = self._folder / "face.usdz"
        if not UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(self._layer)), str(package)):
            raise InputError(f"cannot write {self.path}: USD could not pack it; write .usdc instead")
        shutil.move(package, self.partial)


def _vectors(array: NDArray[np.floating]) -> Any:
    from pxr import Vt

    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(array, np.float32))


def _extent(vertices: NDArray[np.float32]) -> Any:
    return _vectors(np.stack([vertices.min(axis=0), vertices.max(axis=0)]))


def _shrunk(albedo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if max(albedo.shape) <= SKIN_SIZE:
        return albedo
    from PIL import Image

    share = SKIN_SIZE / max(albedo.shape)
    size = (round(albedo.shape[1] * share), round(albedo.shape[0] * share))
    return np.asarray(Image.fromarray(albedo).resize(size, Image.Resampling.BOX))
