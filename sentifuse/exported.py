"""The name by which programs import the predictor of exports, which needs no torch."""

from sentifuse.deploy.exported.predictor import ExportedPredictor as Predictor

__all__ = ["Predictor"]
