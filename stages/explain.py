"""Says which words and which parts of the picture moved the model, for cards of the report.

    python -m stages.explain

Reads `data/evaluation/test.csv`, `models/bundle/`, and the files that `data/manifest.csv` names; writes
`data/explanations.json`: the most confident mistakes of the test part, and the samples on which text alone
and image alone disagree, by their guids. A sample takes some seconds: thirty pairs are predicted.
"""

from dataclasses import dataclass
from pathlib import Path

from sentifuse.config import params
from sentifuse.errors import UserError
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

MANIFEST = Path("data/manifest.csv")
SAMPLES = Path("data/evaluation/test.csv")
MODEL = Path("models/bundle")
OUT = Path("data/explanations.json")


@dataclass(frozen=True)
class Explain:
    """The section `explain`."""

    __pydantic_config__ = params.STRICT
    cards: params.Count


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    labels: params.ClassNames
    explain: Explain


def main(p: Params) -> None:
    """Writes the explanations."""
    from sentifuse.data import manifest
    from sentifuse.evaluation import gallery
    from sentifuse.runtime import files

    samples = files.read_csv(SAMPLES, text=["guid", "label", "predicted"])
    chosen = {
        guid: None
        for choose in (gallery.mistakes, gallery.disagreements)
        for guid in choose(samples, p.labels, p.explain.cards)["guid"]
    }
    found = {}
    if chosen:  # loading the encoders takes some seconds
        from sentifuse.deploy import explaining
        from sentifuse.deploy.predictor import Predictor

        pairs = explaining.pairs(manifest.read(MANIFEST), list(chosen))
        try:
            predictor = Predictor.load(MODEL)
        except UserError as error:  # the stages after `preprocess` do without the encoders
            raise UserError(f"{error}; or set explain.cards=0: then nothing is explained") from None
        found = explaining.of_samples(predictor, pairs)
    files.write_json(OUT, found)
    print(f"{OUT}: {len(found)} samples")


if __name__ == "__main__":
    run_stage(main, Params)
