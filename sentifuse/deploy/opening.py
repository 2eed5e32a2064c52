"""A folder of a model -> its predictor: a bundle in torch, or an export without it."""

from collections.abc import Mapping
from pathlib import Path

from sentifuse.data import images
from sentifuse.deploy.exported.files import MANIFEST, is_export
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.errors import UserError
from sentifuse.runtime.files import sha256


def open_model(
    folder: Path,
    places: str | Mapping[str, str] | None = None,
    max_pixels: int = images.MAX_PIXELS,
    threads: int | None = None,
) -> PairPredictor:
    """Loads what `folder` is.

    Args:
        folder: of a bundle or an export.
        places: where the encoders of a bundle are, as of `Predictor.load`.
        max_pixels: images of more are refused.
        threads: of each graph of an export, as of `ExportedPredictor.load`.

    Raises:
        UserError: neither of them, or one that cannot be loaded.
    """
    if not is_export(folder):
        from sentifuse.deploy.predictor import Predictor

        return Predictor.load(folder, places, max_pixels)
    if places:
        raise UserError(
            f"{folder}: --backbone: an export holds its encoders: leave it out, or name a bundle "
            "by --model"
        )
    from sentifuse.deploy.exported.predictor import ExportedPredictor

    return ExportedPredictor.load(folder, max_pixels, threads)


def digest(folder: Path) -> str:
    """SHA-256 of the file of a model that holds those of all others; names the model."""
    if is_export(folder):
        return sha256((folder / MANIFEST).read_bytes())
    from sentifuse.deploy.bundle import CONFIG

    return sha256((folder / CONFIG).read_bytes())
