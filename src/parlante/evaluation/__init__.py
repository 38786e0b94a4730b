"""Models judged against the truth of a corpus: `evaluation` (what is judged), `predictors` (who), `evaluate` (all on
all), `compare` (who is better), `report` (pages). `quality` is the report of the shipped model."""
