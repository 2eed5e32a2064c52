"""The model outside of the pipeline: bundle, card, predictor and server."""
