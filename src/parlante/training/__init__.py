"""Training: recipes, the loop that every stage goes through, cached features, and one file per scheme.

Stages, which a recipe names under `stage`, are those of the families (`models.registry`), plug-ins included, and the
ones of parts that are trained by themselves.
"""

from typing import TYPE_CHECKING

from parlante.core.plugins import pick, resolve

if TYPE_CHECKING:
    from parlante.training.engine.stage import Stage

PARTS = {
    "motion_vqgan": "parlante.training.schemes.vqgan:motion_stage",
    "wrinkle_vqgan": "parlante.training.schemes.vqgan:wrinkle_stage",
    "joint_vqgan": "parlante.training.schemes.joint_vqgan:stage",
    "latent_diffusion": "parlante.training.schemes.latent_diffusion:stage",
    "speech_diffusion": "parlante.training.schemes.speech_diffusion:stage",
    "codetalker_autoencoder": "parlante.training.schemes.codetalker_autoencoder:stage",
    "faceformer_vertices": "parlante.training.schemes.vertex_space:faceformer",
    "talkingstyle_vertices": "parlante.training.schemes.vertex_space:talkingstyle",
    "ptalker_vertices": "parlante.training.schemes.vertex_ptalker:stage",
    "codetalker_autoencoder_vertices": "parlante.training.schemes.vertex_codetalker:autoencoder_stage",
    "codetalker_vertices": "parlante.training.schemes.vertex_codetalker:stage",
    "facediffuser_vertices": "parlante.training.schemes.vertex_facediffuser:stage",
    "motion_basis": "parlante.training.schemes.motion_basis:stage",
    "phonetic": "parlante.training.schemes.phonetic:stage",
}
"""Stages that are no families: name -> function () -> Stage. A family's is its `FamilySpec.scheme`."""


def stage_names() -> tuple[str, ...]:
    """All that a recipe may say under `stage`."""
    from parlante.models.registry import families

    return (*(spec.name for spec in families().values() if spec.scheme), *PARTS)


def find_stage(name: str) -> "Stage":
    """A stage by name. Raises InputError with the nearest known name."""
    from parlante.models.registry import families

    places = {spec.name: spec.scheme for spec in families().values() if spec.scheme} | PARTS
    make = resolve(pick(places, name, "stage"))
    stage: Stage = make() if name in PARTS else make(families()[name])
    return stage


def recipe_keys(stage: str = "") -> str:
    """The key reference of one stage, or of all, as Markdown. Raises InputError for an unknown stage."""
    from parlante.training.engine.reference import recipe_reference

    return recipe_reference(map(find_stage, [stage] if stage else stage_names()))
