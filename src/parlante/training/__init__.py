"""Training: one module per scheme. `STAGES` is what `stage:` of a recipe may say; each is main(config, run_dir)."""

STAGES = {
    "motion_vqgan": "parlante.training.vqgan:main",
    "wrinkle_vqgan": "parlante.training.vqgan:main",
    "joint_vqgan": "parlante.training.joint_vqgan:main",
    "latent_diffusion": "parlante.training.latent_diffusion:main",
    "speech_diffusion": "parlante.training.speech_diffusion:main",
    "phonetic": "parlante.training.phonetic:main",
    "motion_basis": "parlante.training.motion_basis:main",
    "codetalker_autoencoder": "parlante.training.codetalker:autoencoder",
    "codetalker": "parlante.training.codetalker:main",
    "autoregressive": "parlante.training.autoregressive:main",
}
"""Stage of a recipe: where its `main(config: dict, run_dir: Path) -> None` lives."""
