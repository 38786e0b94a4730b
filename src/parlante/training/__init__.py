"""Training: one module per scheme. `STAGES` is what `stage:` of a recipe may say; each is main(config, run_dir)."""

STAGES = {
    "motion_vqgan": "parlante.training.schemes.vqgan:main",
    "wrinkle_vqgan": "parlante.training.schemes.vqgan:main",
    "joint_vqgan": "parlante.training.schemes.joint_vqgan:main",
    "latent_diffusion": "parlante.training.schemes.latent_diffusion:main",
    "speech_diffusion": "parlante.training.schemes.speech_diffusion:main",
    "phonetic": "parlante.training.schemes.phonetic:main",
    "motion_basis": "parlante.training.schemes.motion_basis:main",
    "codetalker_autoencoder": "parlante.training.schemes.codetalker:autoencoder",
    "codetalker": "parlante.training.schemes.codetalker:main",
    "autoregressive": "parlante.training.schemes.autoregressive:main",
}
"""Stage of a recipe: where its `main(config: dict, run_dir: Path) -> None` lives."""
