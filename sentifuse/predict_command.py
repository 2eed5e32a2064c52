"""The command `predict`: one pair, or a CSV of them."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sentifuse.errors import UserError

if TYPE_CHECKING:
    from sentifuse.predictor import Prediction

MODEL = Path("models/bundle")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("--model", type=Path, default=MODEL, metavar="DIR", help="a bundle (default: %(default)s)")
    add("--backbone", metavar="NAME", help="where its backbone is: a folder or a hub id")
    one = parser.add_argument_group("one pair")
    one.add_argument("--image", type=Path, metavar="FILE")
    one.add_argument("--text")
    one.add_argument("--json", action="store_true", help="print JSON")
    many = parser.add_argument_group("many pairs")
    many.add_argument("--csv", type=Path, metavar="FILE", help="columns image, text or text_file")
    many.add_argument("--out", type=Path, metavar="FILE", help="the predictions, a CSV")
    many.add_argument(
        "--on-bad-row",
        choices=("error", "skip"),
        default="error",
        help="list bad rows and stop, or mark them and go on (default: error)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Predicts what the parser found.

    Raises:
        UserError: neither or both of a pair and a CSV, or what prediction raises.
    """
    pair, table = (arguments.image, arguments.text), (arguments.csv, arguments.out)
    if any(pair) == any(table) or (any(table) and not all(table)):
        raise UserError("expected --image and --text, or one of them, or else --csv and --out")
    from sentifuse.predictor import Predictor

    if arguments.csv:
        from sentifuse import predict_csv

        if not arguments.csv.is_file():  # before the model takes seconds to load
            raise UserError(f"{arguments.csv}: no such file")
        predictor = Predictor.load(arguments.model, arguments.backbone)
        done, passed = predict_csv.predict(
            predictor, arguments.csv, arguments.out, skip=arguments.on_bad_row == "skip"
        )
        print(f"{arguments.out}: {done} rows" + (f", {passed} passed over" if passed else ""))
        return
    found = Predictor.load(arguments.model, arguments.backbone).predict(
        arguments.image, arguments.text or None
    )
    print(json.dumps(asdict(found), ensure_ascii=False) if arguments.json else _told(found))


def _told(found: "Prediction") -> str:
    """`found` for people: the classes as bars, then what each modality added."""
    width = max(map(len, found.probabilities))
    lines = [
        f"{label:<{width}} {100 * share:5.1f} % {'█' * round(30 * share)}".rstrip()
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
