"""The page of one explained pair, which needs no network; or its figures, for programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentifuse.evaluation import explained, pictures
from sentifuse.runtime import templates
from sentifuse.runtime.files import write_json, write_text

TEMPLATE = "explained_page.html.j2"


def write(out: Path, document: Mapping[str, Any], image: Path | None) -> None:
    """Writes an explanation (`explaining.document`) as a page, or as JSON where the name ends so.

    Args:
        out: the file, `.html` or `.json`.
        document: the explanation.
        image: the file of its picture, if there is one.
    """
    if out.suffix == ".json":
        write_json(out, document)
        return
    picture, size = "", (0, 0)
    if image is not None and document["grid"]:
        picture, size = pictures.thumbnail(image.read_bytes())
    template = templates.load(Path(__file__).parent / TEMPLATE, html=True)
    page = template.render(
        explained=explained.of(document, size),
        prediction=document["prediction"],
        picture=picture,
        macros=explained.MACROS,
        points=explained.points,
    )
    write_text(out, page)
