"""A synthetic data set in the raw layout, so that the chain can be run without any real data."""
