"""The command `predict`: one pair, or a CSV of them."""

import argparse
import json
import re
import sys
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sentifuse.errors import UserError
from sentifuse.runtime import files, numerics
from sentifuse.runtime.threads import cores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sentifuse.deploy.answers import Prediction
    from sentifuse.deploy.pair_predictor import PairPredictor
    from sentifuse.deploy.predict_csv import Predicts


_KEYED = re.compile("(image|text)_[^=/]+=")
_BUNDLE, _EXPORT = Path("models/bundle"), Path("models/export")


def default_model(bundle: Path = _BUNDLE, export: Path = _EXPORT) -> Path:
    """The export that `make repro` writes, if it is there and of no older bundle; else the bundle."""
    documents: list[dict[str, str]] = []
    for path in (export / "export.json", bundle / "config.json"):
        try:
            documents.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):  # loading says what is wrong
            documents.append({})
    made, trained = (
        document.get(key) for document, key in zip(documents, ("bundle", "sha256"), strict=True)
    )
    return export if made and trained in (made, None) else bundle


def add_bundle_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which model."""
    add = parser.add_argument
    add(
        "--model",
        type=Path,
        metavar="DIR",
        help=f"a bundle or an export (default: {_EXPORT} if it was made of what {_BUNDLE} is now, else that)",
    )
    add(
        "--backbone",
        action="append",
        default=[],
        metavar="[KEY=]NAME",
        help="where its encoders are, if not where they were: a folder or a hub id, for all or for one",
    )


def model_of(arguments: argparse.Namespace, needs_bundle: bool = False) -> Path:
    """The model that `--model` names, or the default; only a bundle's encoders can be elsewhere."""
    if arguments.model is not None:
        return Path(arguments.model)
    return _BUNDLE if needs_bundle or arguments.backbone else default_model()


def places(given: "Sequence[str]") -> "str | dict[str, str] | None":
    """The values of `--backbone` as `Predictor.load` takes them.

    Raises:
        UserError: several names without the key of an encoder.
    """
    keyed = dict(each.split("=", 1) for each in given if _KEYED.match(each))
    if len(given) == 1 and not keyed:
        return given[0]
    if len(keyed) < len(given):
        raise UserError(
            f"--backbone {' '.join(given)}: expected one NAME, or KEY=NAME for each encoder"
        )
    return keyed or None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_bundle_options(parser)
    one = parser.add_argument_group("one pair")
    one.add_argument("--image", type=Path, metavar="FILE")
    one.add_argument("--text")
    one.add_argument("--json", action="store_true", help="print JSON")
    one.add_argument(
        "--explain",
        type=Path,
        metavar="FILE",
        help="write which words and which parts of the picture matter, as .html or .json",
    )
    many = parser.add_argument_group("many pairs")
    many.add_argument("--csv", type=Path, metavar="FILE", help="columns image, text or text_file")
    many.add_argument("--out", type=Path, metavar="FILE", help="the predictions, a CSV")
    many.add_argument(
        "--on-bad-row",
        choices=("error", "skip"),
        default="error",
        help="list bad rows and stop, or mark them and go on (default: error)",
    )
    many.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="this machine, or a Ray cluster (default: local)",
    )
    many.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="host:port of the cluster, or `auto`; without it Ray starts on this machine",
    )


def run(arguments: argparse.Namespace) -> None:
    """Predicts a pair or the rows of a CSV."""
    pair, table = (arguments.image, arguments.text), (arguments.csv, arguments.out)
    if arguments.ray_address and arguments.engine != "ray":
        raise UserError("--ray-address: only --engine ray reads it")
    if any(pair) == any(table) or (any(table) and not all(table)):
        raise UserError("expected --image and --text, or one of them, or else --csv and --out")
    arguments.model = model_of(arguments, needs_bundle=arguments.engine == "ray")
    if arguments.explain:
        _check_explain(arguments)
    numerics.hold_as_trained(arguments.model)
    if arguments.csv:
        _predict_csv(arguments)
    else:
        _predict_pair(arguments)


def _check_explain(arguments: argparse.Namespace) -> None:
    """Refuses what cannot be done before the model takes its time to load."""
    out = arguments.explain
    if arguments.csv:
        raise UserError(
            f"--explain {out}: it explains one pair: give --image and --text in place of --csv"
        )
    if out.suffix not in (".html", ".json"):
        raise UserError(f"--explain {out}: expected the name of a file that ends in .html or .json")
    if out.suffix == ".html" and find_spec("jinja2") is None:  # as beside an export
        raise UserError(f"--explain {out}: run `pip install jinja2`, or write a .json file")
    inputs = [arguments.image] if arguments.image else []
    files.check_output("--explain", out, [*inputs, *arguments.model.glob("*")])


def _predict_csv(arguments: argparse.Namespace) -> None:
    from sentifuse.deploy import predict_csv

    # Wrong paths are told before the model takes seconds to load.
    if not arguments.csv.is_file():
        raise UserError(f"{arguments.csv}: no such file")
    predict_csv.check_files(arguments.csv, arguments.out, arguments.model.glob("*"))
    with _predictor(arguments) as predictor:
        done, skipped = predict_csv.predict(
            predictor, arguments.csv, arguments.out, skip=arguments.on_bad_row == "skip"
        )
    print(f"{arguments.out}: {done} rows" + (f", {skipped} passed over" if skipped else ""))


@contextmanager
def _predictor(arguments: argparse.Namespace) -> "Iterator[Predicts]":
    if arguments.engine == "local":
        yield _open(arguments)
        return
    from sentifuse.deploy.exported.files import is_export

    if is_export(arguments.model):
        raise UserError(f"{arguments.model}: an export: --engine ray wants a bundle")
    from sentifuse.deploy.ray_predictor import RayPredictor
    from sentifuse.features.engines.cluster import Cluster

    with Cluster(arguments.ray_address) as cluster:
        yield RayPredictor(cluster, arguments.model, places(arguments.backbone))


def _open(arguments: argparse.Namespace) -> "PairPredictor":
    """The model, which computes on all cores."""
    from sentifuse.deploy.opening import open_model

    predictor = open_model(arguments.model, places(arguments.backbone))
    predictor.use_threads(cores())
    return predictor


def _predict_pair(arguments: argparse.Namespace) -> None:
    predictor = _open(arguments)
    image, text, out = arguments.image, arguments.text or None, arguments.explain
    if out:
        from sentifuse.deploy import explaining
        from sentifuse.evaluation import explained_page

        explanation = predictor.explain(image, text)
        explained_page.write(out, explaining.document(explanation), image)
        found = explanation.prediction
    else:
        found = predictor.predict(image, text)
    if arguments.json:
        told = json.dumps(asdict(found), ensure_ascii=False)
        print(told if _can_show(told) else json.dumps(asdict(found)))
    else:
        print(_told(found) + (f"\n\n{out}: which words and parts of the picture" if out else ""))


def _can_show(text: str) -> bool:
    """Whether the terminal's encoding has all letters of `text`."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _told(found: "Prediction") -> str:
    """`found` for people: the classes as bars, then what each modality added."""
    width = max(map(len, found.probabilities))
    block = "█" if _can_show("█") else "#"
    lines = [
        f"{label:<{width}} {100 * share:5.1f} % {block * round(30 * share)}".rstrip()
        for label, share in found.probabilities.items()
    ]
    added = {"text": found.text_contribution, "image": found.image_contribution}
    parts = [f"{name} {100 * added[name]:+.1f}" for name in ("text", "image") if name in found.used]
    lines += [
        "",
        f"{found.label}: {' and '.join(parts)} points on the {100 * found.base:.1f} % "
        "that the model gives without seeing anything",
    ]
    return "\n".join(lines)
