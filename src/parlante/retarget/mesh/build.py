"""From the user's mesh to a `Character`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, Topology
from parlante.core.files import shortened
from parlante.core.notes import gathered, note
from parlante.core.pictures import read_picture
from parlante.core.typed import Mistyped, read_json, typed
from parlante.geometry.pose import neck_weights
from parlante.head import rig
from parlante.head.arkit import INDEX
from parlante.retarget.mesh.attach import Attachment, attach, loosened, outer_triangles, user_shapes
from parlante.retarget.mesh.body import heads
from parlante.retarget.mesh.character import Character
from parlante.retarget.mesh.fit import SEAL_FROM, Registered, register
from parlante.retarget.mesh.layout import laid_out, painted
from parlante.retarget.mesh.lips import Met, meeting, torn
from parlante.retarget.mesh.mesh import UserMesh, parts_of, read_character_mesh, weld
from parlante.retarget.mesh.parts import (
    MOUTH,
    added,
    blinks_that_cover,
    check_parts,
    merged,
    parts_texture,
    seat_eyes,
    seat_mouth,
    wanted_eyes,
    wanted_mouth,
)
from parlante.retarget.mesh.pose import LEAST_LIKENESS, LEAST_PROMINENCE, Pose, PoseSearch, Similarity, umeyama
from parlante.retarget.mesh.prior import FacePrior, face_prior
from parlante.retarget.mesh.surface import Surface
from parlante.retarget.mesh.transfer import carry_shapes
from parlante.retarget.mesh.wrinkle import wrinkle_table

Steps = Callable[[str], None]
WRINKLE_SIZE, PAINTED_SIZE = 512, 1024
_HIDDEN = 0.4
_FACE = 0.09
"""Metres about the tip of the nose."""
_WORST = 0.0025
_SURE, _LOW, _HIGH = 0.3, 0.6, 1.6
"""Likeness and prominence of a face at the end of a body, where one is to be expected: open sockets count less."""
_PARTED = 0.0003
_REGIONS = ("lips", "upper_lip", "lower_lip", "face", "upper_face", "lower_face", "neck", "ears", "forehead", "cheeks")


def build_character(
    path: Path | str,
    *,
    texture: Path | str | None = None,
    landmarks: Path | str | None = None,
    parts: str = "auto",
    refused: Path | None = None,
    step: Steps = lambda what: None,
) -> Character:
    """A character of a `.obj`, `.ply`, `.glb` or `.vrm`.

    texture: its picture; landmarks: a JSON file of names of our landmarks (nose_tip, mouth_left, chin, ...) and places
    [x, y, z] or vertex numbers, at least four. parts: which of eyeballs, and teeth with gums and tongue, are added:
    auto (those that are missing), none, eyes, mouth or all. refused: where to save a picture if it is refused; step:
    told what is being done. Raises InputError if the mesh cannot be read or shows no face.
    """
    check_parts(parts)
    with gathered() as told:
        character = _built(path, texture, landmarks, parts, refused, step)
    return replace(character, report={**(character.report or {}), "notes": told})


def _built(
    path: Path | str,
    texture: Path | str | None,
    landmarks: Path | str | None,
    parts: str,
    refused: Path | None,
    step: Steps,
) -> Character:
    step("reading")
    mesh = read_character_mesh(path)
    mesh = mesh if texture is None else replace(mesh, albedo=read_picture(texture))
    prior = face_prior()
    first, place = weld(mesh.vertices, mesh.triangles)
    surface = Surface(mesh.vertices[first], place[mesh.triangles])
    step("looking for the face")
    pose, surface = _find(surface, prior, mesh, landmarks, refused)
    if (surface.triangles != place[mesh.triangles]).any():  # it was inside out
        mesh = replace(mesh, triangles=mesh.triangles[:, ::-1], uv_triangles=mesh.uv_triangles[:, ::-1])
    turned = pose.similarity
    part = parts_of(surface.triangles, len(surface.vertices))
    canonical = Surface(turned.apply(surface.vertices), surface.triangles)
    main, loose = _main_part(canonical, part, prior.shape(pose.coefficients)[prior.head.topology.regions["face"]])
    nose = prior.shape(pose.coefficients)[prior.head.topology.landmarks["nose_tip"]]
    face = np.linalg.norm(canonical.vertices[canonical.triangles].mean(1) - nose, axis=1) < _FACE
    _tell_hidden(mesh, canonical, loose, prior.shape(pose.coefficients)[prior.head.topology.regions["face"]])
    mesh, textured = laid_out(mesh, face & ~loose)
    mesh = painted(mesh, textured, PAINTED_SIZE)
    step("fitting")
    registered = register(canonical, pose, prior, loose)
    if not registered.residual < _WORST:
        _refuse(mesh, canonical, refused, f"our face stays {1000 * registered.residual:.1f} mm away from it on average")
    step("carrying the shapes over")
    attached = attach(canonical, registered, prior, part, main)
    person = _alike(prior, registered)
    eyes = wanted_eyes(parts, canonical, registered, prior, attached.eyeballs)
    if eyes:
        registered = seat_eyes(canonical, registered, prior)
    cut_lips = parts not in ("none", "eyes")
    shaped = _shaped(mesh, canonical, registered, attached, prior, person, eyes, cut_lips)
    topology = _topology(shaped.mesh, place, shaped.surface, shaped.registered, shaped.attached, prior)
    step("texture")
    table = None
    if textured:
        rest = shaped.registered.neutral - shaped.registered.seal
        outer = outer_triangles(prior)
        table = wrinkle_table(
            topology, shaped.surface.vertices[place], prior.head.topology, rest, outer, WRINKLE_SIZE
        )  # fmt: skip
    return _with_parts(shaped, topology, place, pose, prior, person, parts, eyes, table)


class _Shaped(NamedTuple):
    """The user's mesh after its shapes were made."""

    mesh: UserMesh
    """Without the triangles between the lips."""
    surface: Surface
    """The same, one vertex a place, at the size and in the axes of our head."""
    registered: Registered
    attached: Attachment
    ours: NDArray[np.float32]
    """(52, V, 3) metres, the shapes of our head fitted to this face."""
    shapes: NDArray[np.float32]
    """(52, P, 3) metres at the distinct places."""
    neutral: NDArray[np.float64]
    """(P, 3) metres, lips closed."""
    met: Met
    cut: int
    """Triangles that were taken out between the lips."""


def _shaped(
    mesh: UserMesh,
    surface: Surface,
    registered: Registered,
    attached: Attachment,
    prior: FacePrior,
    person: str,
    eyes: tuple[str, ...],
    cut_lips: bool,
) -> _Shaped:
    """Shapes carried to the mesh, lips that meet, lids that cover.

    person: the embedded person whose shapes are carried. eyes: names of eyeballs that are added. cut_lips: whether
    triangles that would tear when the mouth opens are taken out.
    """
    ours = carry_shapes(prior, person, registered)
    lips = prior.head.layout.lips[rig.LIP_LINE]
    neutral = surface.vertices + attached.carrier(registered.seal[None])[0]
    barred = np.zeros(len(surface.triangles), bool)
    if cut_lips:
        jaw = ours[INDEX["jawOpen"]]
        closed = registered.neutral[lips]
        sides = attached.above, attached.under
        skin = attached.without_mouth(surface.triangles)
        lips_only = Surface(surface.vertices, surface.triangles[skin])
        barred[skin] = torn(lips_only, neutral, attached.carrier(jaw[None])[0], sides, closed, closed + jaw[lips])
        surface = Surface(surface.vertices, surface.triangles[~barred])
        mesh = replace(mesh, triangles=mesh.triangles[~barred], uv_triangles=mesh.uv_triangles[~barred])
    attached = loosened(attached, surface)
    lips_only = Surface(surface.vertices, surface.triangles[attached.without_mouth(surface.triangles)])
    met = meeting(lips_only, neutral, registered.neutral, ours, attached.carrier, prior.head.layout)
    registered = replace(registered, neutral=registered.neutral + met.seal, seal=registered.seal + met.seal)
    ours = met.shapes
    shapes = user_shapes(attached, ours, surface, registered, prior.head.layout)
    neutral = surface.vertices + attached.carrier(registered.seal[None])[0]
    blinks = blinks_that_cover(
        surface, neutral, registered, ours, attached.carrier, prior, eyes, attached.eyeballs
    )  # fmt: skip
    balls = np.isin(np.arange(len(neutral)), np.concatenate(attached.eyeballs))
    for number, blink in blinks.items():
        shapes[number] = np.where(balls[:, None], 0, blink)
    return _Shaped(mesh, surface, registered, attached, ours, shapes, neutral, met, int(barred.sum()))


def _with_parts(
    shaped: _Shaped,
    topology: Topology,
    place: NDArray[np.int64],
    pose: Pose,
    prior: FacePrior,
    person: str,
    parts: str,
    eyes: tuple[str, ...],
    table: NDArray[np.float32] | None,
) -> Character:
    """The character, with the parts of ours that it lacks."""
    surface, registered, ours = shaped.surface, shaped.registered, shaped.ours
    names = eyes + wanted_mouth(
        parts, surface, shaped.neutral, shaped.shapes, registered, ours, prior, shaped.attached.mouth
    )
    back = np.zeros(3)
    if MOUTH[0] in names:
        back = seat_mouth(surface, shaped.neutral, shaped.shapes, registered, ours, prior)
    more = added(prior, names)
    its = registered.neutral[more.number] + np.isin(more.number, added(prior, MOUTH).number)[:, None] * back
    # eyeballs, teeth and tongues of the user's without a picture would be blank
    own = *shaped.attached.eyeballs, *shaped.attached.mouth.values()
    blind = parts != "none" and shaped.mesh.albedo is None and any(map(len, own))
    pivot = prior.head.neck_pivot(person).astype(np.float64)
    x, y, z = (float(value) for value in pivot)
    neutral = np.concatenate([shaped.neutral[place], its]).astype(np.float32)
    return Character(
        merged(topology, more),
        neutral,
        np.concatenate([shaped.shapes[:, place], ours[:, more.number]], axis=1),
        pose.similarity,
        (x, y, z),
        neck_weights(neutral, pivot),
        place,
        shaped.attached.carrier,
        shaped.mesh.albedo,
        table,
        _report(shaped, pose, more.names, person),
        len(more.number),
        parts_texture(prior, person) if names or blind else None,
    )


def _report(shaped: _Shaped, pose: Pose, names: Sequence[str], person: str) -> dict[str, Any]:
    """What the registration measured, for `parlante character info`."""
    registered, attached = shaped.registered, shaped.attached
    return {
        "relief": round(pose.relief, 3),
        "prominence": round(pose.prominence, 3),
        "fit_mm": round(1000 * registered.residual, 3),
        "followed": round(len(attached.carrier.known) / len(shaped.surface.vertices), 3),
        "mouth": _mouth(registered, shaped.met),
        "cut_apart": shaped.cut,
        "lips_apart_mm": _apart(shaped.met),
        "eyes": ["seen" if eye is not None else "estimated" for eye in registered.eyes],
        "own_eyeballs": [len(ball) for ball in attached.eyeballs],
        "own_lower_teeth": len(attached.jaw),
        "own_mouth": {name: len(own) for name, own in attached.mouth.items()},
        "added": list(names),
        "like": person,
    }


def _find(
    surface: Surface, prior: FacePrior, mesh: UserMesh, landmarks: Path | str | None, refused: Path | None
) -> tuple[Pose, Surface]:
    """The pose, and the surface with its outside outside."""
    if landmarks is not None:
        start = read_landmarks(landmarks, prior, mesh)
        poses = [(PoseSearch(side, prior).refine(start), side) for side in (surface, _inside_out(surface))]
        pose, best = max(poses, key=lambda item: item[0].likeness)
        return pose, best
    best = surface
    pose = PoseSearch(surface, prior).run()[0]
    if not pose.is_face and _hollow(surface):
        other = _inside_out(surface)
        turned = PoseSearch(other, prior).run()[0]
        if turned.likeness > pose.likeness:
            pose, best = turned, other
    if not pose.is_face:
        found = _of_body(surface, prior)
        if found is not None:
            note(f"{mesh.name}: a whole body; its face was found by looking at its head alone")
            return found, surface
        canonical = Surface(pose.similarity.apply(best.vertices), best.triangles)
        _refuse(
            mesh, canonical, refused,
            f"at best nose, lips and sockets agree {max(pose.relief, 0):.2f} with a face's and lie "
            f"{1000 * pose.error:.1f} mm from it, a likeness of {max(pose.likeness, 0):.2f} "
            f"where {LEAST_LIKENESS} is the least"
            if pose.likeness <= LEAST_LIKENESS
            else f"it has sockets, but nose and mouth stand out {pose.prominence:.2f} times as far as a face's, where "
            f"{LEAST_PROMINENCE} is the least",
        )  # fmt: skip
    return pose, best


def _of_body(surface: Surface, prior: FacePrior) -> Pose | None:
    """The pose of the face of a body, none if no end of it has one."""
    best: Pose | None = None
    for head in heads(surface):
        pose = PoseSearch(head, prior).run()[0]
        if pose.likeness > _SURE and _LOW < pose.prominence < _HIGH and (best is None or pose.likeness > best.likeness):
            best = pose
        if best is not None and best.is_face:
            break
    return best


def _inside_out(surface: Surface) -> Surface:
    return Surface(surface.vertices, surface.triangles[:, ::-1])


def _hollow(surface: Surface) -> bool:
    """Whether the triangles seem to face inwards, by the signed volume."""
    corners = surface.vertices[surface.triangles] - surface.vertices.mean(0)
    return bool(np.einsum("ni,ni->", np.cross(corners[:, 0], corners[:, 1]), corners[:, 2]) < 0)


def read_landmarks(path: Path | str, prior: FacePrior, mesh: UserMesh) -> Similarity:
    """The similarity that takes the named places of the file to ours. Raises InputError if they cannot be used."""
    path = Path(path)
    marks = prior.head.topology.landmarks
    if not path.is_file():
        found = "it is a folder" if path.is_dir() else "no such file"
        raise InputError(
            f"cannot use the landmarks in {path}: {found}; wanted a JSON file such as "
            '{"nose_tip": [x, y, z], "chin": 1375, "mouth_left": ..., "mouth_right": ...}'
        )
    wanted = 'a JSON file such as {"nose_tip": [x, y, z], "chin": 1375}'
    try:
        named = typed(dict[str, int | list[float]], read_json(path, wanted))
        places = {}
        for name, where in named.items():
            if name not in marks:
                raise Mistyped(f"{shortened(name)!r} is no landmark; known: {', '.join(sorted(marks))}")
            if isinstance(where, int) and not 0 <= where < len(mesh.vertices):
                raise Mistyped(f"{name} is vertex {where}, but there are {len(mesh.vertices)}")
            point = mesh.vertices[where] if isinstance(where, int) else np.asarray(where, np.float64)
            if point.shape != (3,):
                raise Mistyped(f"{name} must be [x, y, z] or a vertex number")
            places[name] = point
    except Mistyped as error:
        raise InputError(f"cannot use the landmarks in {path}: {error}") from error
    if len(places) < 4:
        raise InputError(
            f"{path} names {len(places)} landmarks, 4 are needed: nose_tip, chin, mouth_left, mouth_right, or more"
        )
    goal = prior.mean[[marks[name] for name in places]]
    return umeyama(np.stack(list(places.values())), goal)


def _main_part(surface: Surface, part: NDArray[np.int64], face: NDArray[np.floating]) -> tuple[int, NDArray[np.bool_]]:
    """The connected part that is the face, and (F,) True on triangles of the others that hold little of it."""
    from scipy.spatial import cKDTree

    size = np.bincount(part)
    _, nearest = cKDTree(surface.vertices).query(face)
    share = np.bincount(part[nearest], minlength=len(size)) / len(face)
    main = int(share.argmax())
    kept = (share > 0.08) & (size > 0.02 * size[main])
    kept[main] = True
    small = np.array([not k for k in kept])
    return main, small[part[surface.triangles[:, 0]]]


def _tell_hidden(
    mesh: UserMesh, surface: Surface, loose: NDArray[np.bool_], face: NDArray[np.floating]
) -> None:  # fmt: skip
    """Note it where other parts of the mesh cover most of its face."""
    owner, _ = surface.seen(128, face.min(0)[:2], face.max(0)[:2])
    hidden = loose[owner[owner >= 0]].mean() if (owner >= 0).any() else 0.0
    if hidden > _HIDDEN:
        note(
            f"{mesh.name}: other parts, such as hair or stand-ins for clothes, hide {hidden:.0%} of its face from the "
            "front; take them out of the file, or nobody sees it speak"
        )


def _alike(prior: FacePrior, registered: Registered) -> str:
    """The embedded person whose face is nearest in form, place and size apart."""
    face = prior.head.topology.regions["face"]

    def form(vertices: NDArray[np.floating]) -> NDArray[np.floating]:
        centred = vertices[face] - vertices[face].mean(0)
        return centred / np.linalg.norm(centred)

    found = form(registered.neutral)
    apart = [np.linalg.norm(form(prior.head.neutral(name)) - found) for name in prior.head.identity_names]
    return prior.head.identity_names[int(np.argmin(apart))]


def _topology(
    mesh: UserMesh, place: NDArray[np.int64], surface: Surface, registered: Registered, attached: Attachment,
    prior: FacePrior,
) -> Topology:  # fmt: skip
    ours = prior.head.topology
    carry = attached.carrier
    nearest = np.full(len(surface.vertices), -1, np.int64)
    nearest[carry.known] = carry.index[np.arange(len(carry.known)), carry.weights.argmax(1)]
    regions = {}
    sets = {name: np.isin(nearest, ours.regions[name]) & (nearest >= 0) for name in _REGIONS}
    sets["upper_lip"] &= ~attached.lower
    sets["lower_lip"] &= ~attached.upper
    sets["inner_mouth"] = attached.inside
    for name, ball in zip(("eyeball_left", "eyeball_right"), attached.eyeballs, strict=True):
        sets[name] = np.isin(np.arange(len(nearest)), ball)
    for name, own in attached.mouth.items():
        sets[name] = np.isin(np.arange(len(nearest)), own)
    for name, inside in sets.items():
        if inside.any():
            regions[name] = np.flatnonzero(inside[place]).astype(np.int32)
    first = np.zeros(len(surface.vertices), np.int64)
    first[place[::-1]] = np.arange(len(place))[::-1]
    landmarks = {}
    rest = registered.neutral - registered.seal
    for name, number in ours.landmarks.items():
        if number >= prior.head.layout.ranges["skin"][1]:
            continue
        allowed = np.zeros(len(nearest), bool)
        if name.startswith("upper_lip"):
            allowed = attached.upper
        elif name.startswith("lower_lip"):
            allowed = attached.lower
        if not allowed.any():
            allowed = nearest >= 0
        candidates = np.flatnonzero(allowed)
        distance = np.linalg.norm(surface.vertices[candidates] - rest[number], axis=1)
        if distance.min() < 0.015:
            landmarks[name] = int(first[candidates[int(distance.argmin())]])
    # of doubled vertices the first is drawn, or shading would break along texture seams
    triangles = first[place[mesh.triangles]]
    return Topology(
        mesh.name, len(place), triangles.astype(np.int32), mesh.uv, mesh.uv_triangles.astype(np.int32), regions,
        landmarks,
    )  # fmt: skip


def _mouth(registered: Registered, met: Met) -> str:
    if registered.mouth is None:
        return "estimated"
    gap = registered.mouth.gap if registered.mouth.gap > SEAL_FROM else met.before["rest"]
    return f"parted by {1000 * gap:.1f} mm, closed" if gap > _PARTED else "seen"


def _apart(met: Met) -> dict[str, float]:
    """The opening that is left where lips should meet, millimetres: at rest, in the worst shape, and before mending."""
    shapes = [name for name in met.after if name != "rest"]
    worst = max(shapes, key=met.after.__getitem__)
    return {
        "rest": round(1000 * met.after["rest"], 3),
        "rest_before": round(1000 * met.before["rest"], 3),
        worst: round(1000 * met.after[worst], 3),
        "worst_before": round(1000 * max(met.before[name] for name in shapes), 3),
    }


def _refuse(mesh: UserMesh, canonical: Surface, refused: Path | None, reason: str) -> None:
    shown = ""
    if refused is not None:
        from parlante.retarget.mesh.picture import show_surface

        show_surface(canonical, refused)
        shown = f" (see {refused})"
    raise InputError(
        f"no face was found in {mesh.name!r}{shown}: {reason}; if it is one, say where with --landmarks file.json, "
        'such as {"nose_tip": [x, y, z], "chin": ..., "mouth_left": ..., "mouth_right": ...}'
    )
