"""Checks explanations against what is known, and against chance; `docs/explanations.md` has the figures.

    python -m benchmarks.explanations                                   # after `dvc repro` on the demo data
    python -m benchmarks.explanations --samples 100 --out curves.png    # on any data; the first so many

Reads what `dvc repro` left in the working folder: `models/bundle`, `data/manifest.csv`, `data/splits.csv`. It
explains samples that the model was not trained on, and says how much faster its confidence falls if parts are
removed in the order of an explanation than in a random one (deletion curves, Samek et al. 2017,
arXiv:1509.06321). Of the demo data it also knows which words are of mood, and where things are in pictures.
"""

import argparse
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import demo_truth
from sentifuse.data import manifest, splits
from sentifuse.deploy import explaining, occlusion
from sentifuse.deploy.answers import Explanation
from sentifuse.deploy.occlusion import Hidden
from sentifuse.deploy.opening import open_model
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import Pair
from sentifuse.evaluation import plots
from sentifuse.metrics import bootstrap
from sentifuse.runtime import numerics, process
from sentifuse.runtime.threads import cores

# The model has seen neither; the second has no labels, which this does not need.
PARTS = ("test", "predict")
# Random orders of each sample: of words, which are cheap, and of cells.
ORDERS = {"words": 3, "cells": 2}
# A curve is measured at so many places at most, and is straight between them.
PLACES = 8
# Shares of the parts that are removed, at which curves are read.
STEPS = np.linspace(0, 1, 21)
RESAMPLES, LEVEL = 2000, 0.95

T = TypeVar("T")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """The confidence at `STEPS` of N samples, (N, 21) each: by the explanation, and in random order."""

    explained: Floats
    chance: Floats

    @property
    def gains(self) -> Floats:
        """How much lower the first lies than the second, on average over its steps, (N,)."""
        found: Floats = (self.chance - self.explained).mean(axis=1)
        return found


def main() -> None:
    """Prints the figures and draws the curves."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.explanations", description=str(__doc__).split("\n")[0]
    )
    parser.add_argument("--model", type=Path, default=Path("models/bundle"), metavar="DIR")
    parser.add_argument("--samples", type=int, help="only the first so many")
    parser.add_argument("--out", type=Path, default=Path("docs/images/deletion.png"))
    args = parser.parse_args()
    numerics.hold_as_trained(args.model)
    predictor = open_model(args.model)
    table = splits.read(Path("data/splits.csv"))
    guids = list(table["guid"][table["split"].isin(PARTS)])[: args.samples]
    pairs = explaining.pairs(manifest.read(Path("data/manifest.csv")), guids)
    explanations = _each(lambda pair: predictor.explain(pair.image, pair.text), pairs.values())
    curves = {
        kind: _stacked(_each(partial(curve, predictor, kind=kind), pairs.values(), explanations))
        for kind in ORDERS
    }
    for kind, found in curves.items():
        print(f"deletion of {kind}: confidence lower than in random order by", told(found.gains))
    demo = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    if demo["data"]["root"] == "data/demo":
        print("first word is of mood:", told(np.array(first_is_of_mood(explanations), float)))
        by_guid = dict(zip(pairs, explanations, strict=True))
        check_cells(by_guid, demo_truth.objects(**demo["demo"]))
    plots.save(figure(curves), args.out)


def curve(
    predictor: PairPredictor, pair: Pair, explanation: Explanation, kind: str
) -> tuple[Floats, Floats] | None:
    """The curve by an explanation, and the mean of those in random order, (21,) each; None without parts."""
    found = parts(explanation)[kind]
    if len(found) < 2:
        return None
    best = sorted(range(len(found)), key=lambda place: -found[place][1])
    draw = random.Random(len(found))
    orders = [best, *(draw.sample(best, len(best)) for _ in range(ORDERS[kind]))]
    counts = sorted({round(count) for count in np.linspace(1, len(found), PLACES)})
    hidden = [
        _together([found[place][0] for place in order[:count]])
        for order in orders
        for count in counts
    ]
    label, start = explanation.prediction.label, explanation.prediction.confidence
    fallen = [each.probabilities[label] for each in predictor.predict_occluded(pair, hidden)]
    rows = [
        np.interp(STEPS * len(found), [0, *counts], [start, *own])
        for own in np.reshape(fallen, (len(orders), len(counts)))
    ]
    return rows[0], np.mean(rows[1:], axis=0)


def parts(explanation: Explanation) -> dict[str, list[tuple[Hidden, float]]]:
    """Words and cells: what is hidden for each, and what it adds."""
    added = [value for row in explanation.grid for value in row]
    return {
        "words": [
            (Hidden(spans=((word.start, word.end),)), word.contribution)
            for word in explanation.words
        ],
        "cells": [
            (Hidden(boxes=(box,)), value)
            for box, value in zip(occlusion.cells(), added, strict=False)
        ],
    }


def first_is_of_mood(found: Sequence[Explanation]) -> list[bool]:
    """Whether the word that adds most is one of mood, for each text of the demo that has one."""
    first = [
        max(each.words, key=lambda word: abs(word.contribution))
        for each in found
        if any(demo_truth.is_of_mood(word.text) for word in each.words)
    ]
    return [demo_truth.is_of_mood(word.text) for word in first]


def check_cells(
    explanations: Mapping[str, Explanation], objects: Mapping[str, NDArray[np.bool_]]
) -> None:
    """Prints which share of the cell that is named first is covered by things, and of any cell."""
    first, every = [], []
    for guid, explanation in explanations.items():
        if guid in objects:
            shares = demo_truth.by_cell(objects[guid], occlusion.GRID)
            first.append(float(shares[np.abs(np.array(explanation.grid)).argmax()]))
            every.append(float(shares.mean()))
    print("first cell on things:", told(first), f"(any cell: {100 * np.mean(every):.1f})")
    print("difference:", told(np.subtract(first, every)))


def told(values: Sequence[float] | Floats) -> str:
    """The mean of N values in points, with its interval by a bootstrap over samples."""
    own = np.asarray(values)
    names = [str(place) for place in range(len(own))]
    means = [
        float(np.average(own, weights=weights))
        for weights in bootstrap.resample_groups(names, resamples=RESAMPLES, seed=0)
    ]
    found = bootstrap.interval(np.array(means), LEVEL)
    return f"{100 * own.mean():.1f} ({100 * found.low:.1f} to {100 * found.high:.1f}), {len(own)} samples"


def figure(curves: Mapping[str, Curves]) -> Figure:
    """The mean curves, a panel each for words and cells."""
    drawn = Figure(figsize=(8.2, 3.4), layout="constrained")
    panels = drawn.subplots(1, len(curves), sharey=True)
    for axes, (kind, found) in zip(panels, curves.items(), strict=True):
        for rows, colour, name in (
            (found.chance, "#5a6270", "random order"),
            (found.explained, "#2f6db3", "in the order of the explanation"),
        ):
            axes.plot(100 * STEPS, rows.mean(axis=0), color=colour, label=name)
        axes.set_title(f"{kind} of {len(found.gains)} samples", fontsize=10)
        axes.set_xlabel(f"{kind} removed, %")
        axes.grid(color="#d5dbe3", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("probability of the predicted class")
    panels[0].legend(frameon=False, fontsize=8)
    return drawn


def _each(function: Callable[..., T], *given: Iterable[Any]) -> list[T]:
    """What a function gives for each sample; each core has samples of its own."""
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(function, *given))


def _together(hidden: Sequence[Hidden]) -> Hidden:
    spans = sorted(span for each in hidden for span in each.spans)
    return Hidden(tuple(spans), tuple(box for each in hidden for box in each.boxes))


def _stacked(found: Sequence[tuple[Floats, Floats] | None]) -> Curves:
    explained, chance = zip(*(each for each in found if each), strict=True)
    return Curves(np.stack(explained), np.stack(chance))


if __name__ == "__main__":
    process.run(main)
