"""TexTalker (CVPR 2025): speech to motion maps and wrinkle maps through two VQGANs and one latent diffusion model."""
