"""PTalker: style separated from content. `model.py` is the network, `objective.py` what it is trained for."""
