"""The report: one HTML page that holds everything, which a browser opens without a network.

Texts of samples are data: the template escapes them, and the page's own policy lets no script run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sentifuse.evaluation import explained, plots
from sentifuse.evaluation.gallery import SampleCard
from sentifuse.evaluation.pictures import data_uri
from sentifuse.evaluation.slices import LEAST
from sentifuse.metrics.scores import confusion_by_name
from sentifuse.runtime import templates
from sentifuse.runtime.files import read_csv, read_json

TEMPLATE = "report.html.j2"
FOLDS_TEMPLATE = "report_folds.html.j2"
AUDIT_SECTION = "report_audit.html.j2"
SLICES_SECTION = "report_slices.html.j2"
# Shares of the test part for which the page gives the risk as a number.
COVERAGES = (0.25, 0.5, 0.75, 1.0)
# Columns that hold names, even where all of the names look like numbers.
_TEXT_COLUMNS = ["actual", "predicted", "variant", "label", "temperature", "slice", "value"]
TITLES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
FOLD_TITLES = {**TITLES, "weighted_f1": "weighted F1"}


@dataclass(frozen=True)
class Findings:
    """What the earlier stages have written; `read` shows which file each comes from."""

    labels: Sequence[str]
    model: Mapping[str, Any]
    features: Mapping[str, Any]
    data: Mapping[str, Any]
    evaluate: Mapping[str, Any]
    ablate: Mapping[str, Any]
    folds: Mapping[str, Any]
    audit: Mapping[str, Any]
    runs: pd.DataFrame
    classes: pd.DataFrame
    slices: pd.DataFrame
    histories: tuple[pd.DataFrame, pd.DataFrame]
    confusion: pd.DataFrame
    reliability: pd.DataFrame
    risk_coverage: pd.DataFrame


def read(labels: Sequence[str], model: Path, metrics: Path, plots: Path, data: Path) -> Findings:
    """Reads `config.json` of a checkpoint, and the folders in which the stages leave their JSON files, their
    plots and their tables."""

    def table(name: str, folder: Path = plots) -> pd.DataFrame:
        return read_csv(folder / f"{name}.csv", text=_TEXT_COLUMNS)

    return Findings(
        labels=labels,
        model=read_json(model),
        features=read_json(metrics / "features.json"),
        data=read_json(metrics / "data.json"),
        evaluate=read_json(metrics / "evaluate.json"),
        ablate=read_json(metrics / "ablate.json"),
        folds=read_json(metrics / "folds.json"),
        audit=read_json(metrics / "audit.json"),
        runs=table("ablate_runs"),
        classes=table("classes", data / "ablation"),
        slices=table("slices", data / "evaluation"),
        histories=(table("stage1"), table("stage2")),
        confusion=table("confusion"),
        reliability=table("reliability"),
        risk_coverage=table("risk_coverage"),
    )


def render(
    found: Findings,
    mistakes: Sequence[SampleCard],
    disagreements: Sequence[SampleCard],
    doubted: Sequence[SampleCard],
) -> str:
    """The page, in HTML."""
    filters = {
        "share": _share,
        "points": explained.points,
        "p": _p,
        "words": lambda name: str(name).replace("_", " "),
    }
    return templates.load(Path(__file__).parent / TEMPLATE, html=True, filters=filters).render(
        found=found,
        slices_section=SLICES_SECTION,
        titles=TITLES,
        folds_template=FOLDS_TEMPLATE,
        fold_titles=FOLD_TITLES,
        variants={name: row for name, row in found.ablate.items() if name != "note"},
        classes=_classes(found.classes),
        least=LEAST,
        pictures_read=any(key.startswith("ocr_") for key in found.features),
        slices=[_known(row) for row in found.slices.to_dict("records")],
        kept=_kept(found.risk_coverage),
        figures={
            name: data_uri("image/svg+xml", plots.svg(figure).encode())
            for name, figure in _figures(found).items()
        },
        mistakes=mistakes,
        disagreements=disagreements,
        doubted=doubted,
        audit_section=AUDIT_SECTION,
        macros=explained.MACROS,
    )


def _figures(found: Findings) -> dict[str, Figure]:
    stage1, stage2 = found.histories
    # Of several members the history is that of the first.
    kept = [_best_epoch(stage1), found.model["info"]["training"][0]["best_epoch"]]
    out = {"learning_curves": plots.learning_curves({"stage 1": stage1, "stage 2": stage2}, kept)}
    if "test" in found.evaluate:
        out |= _test_figures(found)
    if len(found.runs):
        by_variant = found.runs.groupby("variant", sort=False)["macro_f1"]
        scores = {str(name): list(values) for name, values in by_variant}
        out["ablation"] = plots.ablation(scores, TITLES["macro_f1"])
    scored = found.slices[found.slices["accuracy"].notna()]
    if len(scored):
        out["slices"] = _slices_figure(found.evaluate["test"], scored)
    differences = _differences(found.ablate)
    if differences:
        out["differences"] = plots.intervals(differences, zero=True)
    return out


def _test_figures(found: Findings) -> dict[str, Figure]:
    table, labels, test = found.confusion, found.labels, found.evaluate["test"]
    counts = confusion_by_name(list(table["actual"]), list(table["predicted"]), labels)
    beside = {"this model": test, **found.evaluate["baselines"]}
    intervals = {
        name: {TITLES[score]: _interval(row[score], row["interval"][score]) for score in TITLES}
        for name, row in beside.items()
    }
    trust = test["calibration"]
    before, after = (f"ECE {_share(trust[when]['ece'])}" for when in ("before", "after"))
    panels = {
        "before": f"as trained: {before}",
        "after": f"temperature {trust['temperature']:.2f}: {after}",
    }
    return {
        "confusion": plots.confusion_matrix(counts, labels),
        "baselines": plots.intervals(intervals, zero=False),
        "reliability": plots.reliability(found.reliability, panels),
        "risk_coverage": plots.risk_coverage(found.risk_coverage),
    }


def _slices_figure(test: Mapping[str, Any], scored: pd.DataFrame) -> Figure:
    """The accuracy of each slice, below that of the whole test part."""
    rows = {"all test samples": _interval(test["accuracy"], test["interval"]["accuracy"])}
    for row in scored.to_dict("records"):
        ends = row["accuracy"], row["accuracy_low"], row["accuracy_high"]
        rows[f"{row['slice']}: {row['value']}"] = ends
    return plots.intervals({name: {"accuracy": ends} for name, ends in rows.items()}, zero=False)


def _best_epoch(history: pd.DataFrame) -> int:
    """The first epoch with the highest macro-F1 on validation: `fit` keeps its weights."""
    if "val_macro_f1" not in history or not len(history):
        return 0
    return int(history["epoch"].to_numpy()[history["val_macro_f1"].to_numpy().argmax()])


def _differences(ablate: Mapping[str, Any]) -> dict[str, dict[str, plots.Interval]]:
    """Paired differences to the multimodal model, in points, where there are enough runs for one."""
    out = {}
    for name, row in ablate.items():
        own = row.get("minus_multimodal", {}) if isinstance(row, Mapping) else {}
        if all("low" in own.get(score, {}) for score in TITLES):
            out[name] = {
                f"{TITLES[score]}, points": _interval(own[score]["mean"], own[score], 100)
                for score in TITLES
            }
    return out


def _classes(table: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """Variant and class -> score -> its row of `ablation.classes`, less what is not known."""
    out: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table.to_dict("records"):
        out.setdefault((row["variant"], row["label"]), {})[row["score"]] = _known(row)
    return out


def _known(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The cells of a table's row that are not empty."""
    return {str(name): value for name, value in row.items() if pd.notna(value)}


def _interval(value: float, ends: Mapping[str, float], unit: float = 1) -> plots.Interval:
    return unit * value, unit * ends["low"], unit * ends["high"]


def _kept(risk_coverage: pd.DataFrame) -> list[dict[Any, float]]:
    """The rows of the curve that come closest to `COVERAGES`."""
    if not len(risk_coverage):
        return []
    nearest = [(risk_coverage["coverage"] - share).abs().idxmin() for share in COVERAGES]
    return risk_coverage.loc[nearest].drop_duplicates().to_dict("records")


def _share(value: float) -> str:
    """0.6875 -> `.688`, which is the usual way to print shares."""
    text = f"{value:.3f}"
    return text.removeprefix("0") if 0 <= value < 1 else text


def _p(value: float) -> str:
    """0.012 -> `p .012`, 0.0001 -> `p < .001`."""
    return "p < .001" if value < 0.001 else f"p {_share(value)}"
