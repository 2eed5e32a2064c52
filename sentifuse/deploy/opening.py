"""A folder of a model -> its predictor: a bundle in torch, or an export without it."""

from collections.abc import Mapping
from pathlib import Path

from sentifuse.data import images
from sentifuse.deploy.exported.files import is_export
from sentifuse.deploy.pairs import PairPredictor
from sentifuse.errors import UserError


def open_model(
    folder: Path,
    places: str | Mapping[str, str] | None = None,
    max_pixels: int = images.MAX_PIXELS,
) -> PairPredictor:
    """Loads what `folder` is.

    Args:
        folder: of a bundle or an export.
        places: where the encoders of a bundle are, as of `Predictor.load`.
        max_pixels: images of more are refused.

    Raises:
        UserError: neither of them, or one that cannot be loaded.
    """
    if not is_export(folder):
        from sentifuse.deploy.predictor import Predictor

        return Predictor.load(folder, places, max_pixels)
    if places:
        raise UserError(f"{folder}: --backbone: an export holds its encoders: leave it out")
    from sentifuse.deploy.exported.predictor import ExportedPredictor

    return ExportedPredictor.load(folder, max_pixels)
