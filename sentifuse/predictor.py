"""The name by which bundles' model cards and users' programs import the predictor."""

from sentifuse.deploy.predictor import Predictor

__all__ = ["Predictor"]
