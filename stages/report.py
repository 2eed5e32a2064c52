"""Writes the report: one self-contained HTML page about the run, to open in a browser.

    python -m stages.report

Reads what `split`, the training stages and those that score, explain and audit wrote, and the files that
`data/manifest.csv` names for the gallery; writes `reports/report.html`. The page shows samples: it is
DVC's, not git's, so that nobody's data are committed by accident.
"""

from dataclasses import dataclass
from pathlib import Path

from sentifuse.config import params
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

MANIFEST = Path("data/manifest.csv")
SAMPLES = Path("data/evaluation/test.csv")
MODEL = Path("models/stage2/config.json")
METRICS = Path("metrics")
PLOTS = Path("plots")
DATA = Path("data")
EXPLANATIONS = DATA / "explanations.json"
AUDIT = DATA / "label_audit.csv"
OUT = Path("reports/report.html")


@dataclass(frozen=True)
class Report:
    """The section `report`."""

    __pydantic_config__ = params.STRICT
    gallery: params.Count


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    labels: params.ClassNames
    report: Report


def main(p: Params) -> None:
    """Fills the page."""
    from sentifuse.data import manifest
    from sentifuse.evaluation import gallery, report
    from sentifuse.runtime import files

    found = report.read(p.labels, MODEL, METRICS, PLOTS, DATA)
    samples = files.read_csv(SAMPLES, text=["guid", "label", "predicted"])
    where = manifest.read(MANIFEST)
    explanations = files.read_json(EXPLANATIONS)
    mistakes, disagreements = (
        gallery.cards(
            choose(samples, p.labels, p.report.gallery), p.labels, where, explanations=explanations
        )
        for choose in (gallery.mistakes, gallery.disagreements)
    )
    audited = files.read_csv(AUDIT, text=["guid", "label", "suggested", "twins"])
    chosen = gallery.doubted(audited, p.report.gallery)
    doubted = gallery.cards(chosen, p.labels, where, gallery.AUDITED)
    files.write_text(OUT, report.render(found, mistakes, disagreements, doubted))
    print(
        f"{OUT}: {len(mistakes)} mistakes, {len(disagreements)} disagreements, "
        f"{len(doubted)} doubted labels"
    )


if __name__ == "__main__":
    run_stage(main, Params)
