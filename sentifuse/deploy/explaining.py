"""Explanations to write down: of one pair, and of the samples on the report's cards."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sentifuse.data import locations, text
from sentifuse.deploy.answers import Explanation
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import Pair
from sentifuse.runtime.threads import cores

if TYPE_CHECKING:
    import pandas as pd

_DECIMALS = 6


def document(explanation: Explanation) -> dict[str, Any]:
    """The fields of an explanation for a JSON file, with six decimals, as all predictions are written."""
    return dict(_rounded(asdict(explanation)))


def pairs(manifest: "pd.DataFrame", guids: Sequence[str]) -> dict[str, Pair]:
    """Guid -> its image and its text, which lie where the manifest says."""
    files = manifest.set_index("guid").loc[list(guids)]
    return {
        guid: Pair(locations.read(image), text.decode(locations.read(written)))
        for guid, image, written in zip(guids, files["image"], files["text"], strict=True)
    }


def of_samples(predictor: PairPredictor, pairs: Mapping[str, Pair]) -> dict[str, dict[str, Any]]:
    """Guid -> the document of its pair; each core has samples of its own, which changes no figure."""

    def explained(pair: Pair) -> dict[str, Any]:
        return document(predictor.explain(pair.image, pair.text))

    with ThreadPoolExecutor(cores()) as pool:
        return dict(zip(pairs, pool.map(explained, pairs.values()), strict=True))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DECIMALS) + 0.0  # not -0.0
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_rounded(each) for each in value]
    return value
