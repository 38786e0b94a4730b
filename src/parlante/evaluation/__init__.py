"""How good the shipped model is: on synthetic speakers whose truth is known, and on real recordings."""

CORPUS = {"subjects": 72, "sentences": 24, "seed": 1}
"""The corpus that the shipped model was trained on (`parlante synth`); its test splits took no part in training."""
