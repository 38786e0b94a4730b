"""CodeTalker: speech to a codebook of facial motions. `autoencoder` is its first stage, `talker` its second."""
