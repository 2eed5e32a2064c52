"""Fusions, head, tails of the encoders, and the classifier that they make together."""
