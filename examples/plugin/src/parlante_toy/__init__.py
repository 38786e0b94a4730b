"""A toy plug-in for Parlante: one file for each door."""
