"""STEM: recipes, network, training, sampling; the diffusion underneath."""
