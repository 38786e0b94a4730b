"""PTalker: style told apart from content. `talker.py` is the model, `objective.py` what it is trained for."""
