"""Checkpoints as their authors publish them: containers, key names and sizes, turned into our checkpoint folders."""
