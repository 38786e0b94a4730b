"""The user's mesh as one surface: OBJ, PLY or GLB, polygons cut, parts joined, doubled vertices told."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from parlante.core import InputError
from parlante.core.files import first_line
from parlante.core.notes import note
from parlante.core.pictures import picture
from parlante.geometry.mesh import read_mesh
from parlante.retarget.rig.gltf import Gltf, read_gltf, world_matrices


@dataclass(frozen=True, eq=False)
class UserMesh:
    """As the file has it, in its own unit and axes."""

    name: str
    vertices: NDArray[np.float64]
    """(U, 3)"""
    triangles: NDArray[np.int64]
    """(F, 3), counter-clockwise from outside"""
    uv: NDArray[np.float32]
    uv_triangles: NDArray[np.int64]
    """(F, 3); without texture coordinates: zeros"""
    albedo: NDArray[np.uint8] | None = None
    colours: NDArray[np.uint8] | None = None
    """(U, 3) sRGB of the vertices."""

    @property
    def textured(self) -> bool:
        """Whether the mesh has texture coordinates of its own."""
        return len(self.uv) > 1


def read_character_mesh(path: Path | str) -> UserMesh:
    """A `.obj`, `.ply`, `.glb` or `.vrm`. Raises InputError for another or damaged file, or one without triangles."""
    path = Path(path)
    kinds = ".obj, .ply, .glb or .vrm"
    if path.is_dir():
        raise InputError(f"cannot read {path}: it is a folder; give the mesh in it, a {kinds} file")
    if path.suffix.lower() not in (".obj", ".ply", ".glb", ".vrm"):
        raise InputError(f"cannot read {path}: its name must end in {kinds}; export the mesh as one of these")
    if path.suffix.lower() in (".glb", ".vrm"):
        try:
            mesh = _from_gltf(read_gltf(path))
        except InputError:
            raise
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            why = f"{type(error).__name__}: {first_line(error)}"
            raise InputError(f"cannot read the mesh of {path} ({why}); export it again") from error
    else:
        read = read_mesh(path)
        textured = len(read.uv) > 0 and len(read.uv_triangles) == len(read.triangles)
        mesh = UserMesh(
            path.stem,
            read.vertices.astype(np.float64),
            read.triangles.astype(np.int64),
            read.uv if textured else np.zeros((1, 2), np.float32),
            read.uv_triangles.astype(np.int64) if textured else np.zeros((len(read.triangles), 3), np.int64),
            colours=read.colours,
        )
    mesh = replace(mesh, name=path.stem)
    corners = mesh.vertices[mesh.triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not len(area) or area.max() <= 0:
        raise InputError(f"{path} has no triangles; a character needs a surface")
    return mesh


def weld(vertices: NDArray[np.floating], triangles: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First vertex of each distinct vertex, and the distinct vertex of each: texture seams double them in many files.

    vertices (U, 3), triangles (F, 3). Doubled are vertices at one place whose triangles meet there along an edge that
    the file has twice. Lips that touch at a vertex share none: they stay two. Vertices in no triangle stay, too.
    """
    size = float(np.ptp(vertices, axis=0).max()) or 1.0
    keys = np.round((vertices - vertices.min(0)) / size * 2**22).astype(np.int64)
    place = np.ravel(np.unique(keys, axis=0, return_inverse=True)[1])
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = edges[place[edges[:, 0]] != place[edges[:, 1]]]
    # the same way round by place: both ends of edges at one place then stand in the same column
    edges = np.where((place[edges[:, 0]] > place[edges[:, 1]])[:, None], edges[:, ::-1], edges)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    rims = edges[uses == 1]  # of one triangle only, as the file has it
    where = np.unique(place[rims], axis=0, return_inverse=True)[1].ravel()
    rims = rims[np.argsort(where, kind="stable")]
    same = np.diff(np.sort(where)) == 0
    rows, columns = rims[:-1][same].ravel(), rims[1:][same].ravel()
    graph = sparse.coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(vertices),) * 2)
    number = sparse.csgraph.connected_components(graph, directed=False)[1]
    _, first, joined = np.unique(number, return_index=True, return_inverse=True)
    return first.astype(np.int64), np.ravel(joined).astype(np.int64)


def parts_of(triangles: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count,) number of the connected part of each vertex."""
    rows = np.concatenate([triangles[:, 0], triangles[:, 1]])
    columns = np.concatenate([triangles[:, 1], triangles[:, 2]])
    graph = sparse.coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count))
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1], np.int64)


def _from_gltf(file: Gltf) -> UserMesh:
    matrices = world_matrices(file.root)
    vertices: list[Any] = []
    triangles: list[Any] = []
    uv: list[Any] = []
    colours: list[Any] = []
    count, textured = 0, False
    for number, node in enumerate(file.root.get("nodes", [])):
        if "mesh" not in node:
            continue
        matrix = np.eye(4) if "skin" in node else matrices[number]  # a skin places its mesh itself, at rest
        for primitive in file.root["meshes"][node["mesh"]].get("primitives", ()):
            if primitive.get("mode", 4) != 4 or "POSITION" not in primitive.get("attributes", {}):
                continue
            if "KHR_draco_mesh_compression" in primitive.get("extensions", {}):
                raise InputError(
                    f"{file.name} is compressed (Draco); unpack it first, for example with: gltf-transform copy in out"
                )
            place = file.accessor(primitive["attributes"]["POSITION"]).astype(np.float64)
            index = (
                file.accessor(primitive["indices"]).astype(np.int64)
                if "indices" in primitive
                else np.arange(len(place))
            )
            if len(index) % 3 or (len(index) and index.max() >= len(place)):
                raise InputError(f"{file.name}: a mesh names corners that it does not have; export the file again")
            corner = primitive["attributes"].get("TEXCOORD_0")
            textured |= corner is not None
            texture = np.zeros((len(place), 2)) if corner is None else file.accessor(corner).astype(np.float64)
            vertices.append(place @ matrix[:3, :3].T + matrix[:3, 3])
            triangles.append(index.reshape(-1, 3) + count)
            uv.append(np.stack([texture[:, 0], 1 - texture[:, 1]], -1))
            colours.append(_colours(file, primitive["attributes"], len(place)))
            count += len(place)
    if not vertices:
        raise InputError(f"{file.name} has no triangle mesh")
    faces = np.concatenate(triangles)
    shown = None
    if any(each is not None for each in colours):
        white = [np.full((len(each), 3), 255, np.uint8) for each in vertices]
        shown = np.concatenate([blank if each is None else each for each, blank in zip(colours, white, strict=True)])
    if not textured:
        none = np.zeros((1, 2), np.float32), np.zeros_like(faces)
        return UserMesh(file.name, np.concatenate(vertices), faces, *none, _picture(file), shown)
    corners = np.concatenate(uv).astype(np.float32)
    return UserMesh(file.name, np.concatenate(vertices), faces, corners, faces, _picture(file), shown)


def _colours(file: Gltf, attributes: dict[str, int], count: int) -> NDArray[np.uint8] | None:
    """(N, 3) sRGB of a primitive; the file has them linear."""
    if "COLOR_0" not in attributes:
        return None
    linear = np.clip(file.accessor(attributes["COLOR_0"])[:, :3].astype(np.float64), 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (255 * curved + 0.5).astype(np.uint8) if len(curved) == count else None


def _picture(file: Gltf) -> NDArray[np.uint8] | None:
    """The base colour picture of the only textured material, if there is just one."""
    root = file.root
    named = {
        material["pbrMetallicRoughness"]["baseColorTexture"]["index"]
        for material in root.get("materials", ())
        if "baseColorTexture" in material.get("pbrMetallicRoughness", {})
    }
    if len(named) != 1:
        if named:
            note(
                f"{file.name}: its {len(named)} pictures are left out, a character shows one; give the face's with "
                "parlante character build --texture"
            )
        return None
    try:
        content = file.picture(root["textures"][named.pop()]["source"])
        return picture(content, f"the texture in {file.name}")
    except (KeyError, IndexError, TypeError) as error:
        note(
            f"{file.name}: its texture is left out, the file does not say where it is ({type(error).__name__}: {error})"
        )
    except InputError as error:
        note(f"{file.name}: its texture is left out: {error}")
    return None
