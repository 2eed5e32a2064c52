"""The library behind the stages: everything that is not one line of the pipeline."""
