"""A page for `dvc plots` that needs no network: it holds Vega's libraries, which DVC's own loads from a CDN.

DVC puts the plots into the file that `plots.html_template` names: it replaces `{plot_divs}`, `{refresh_tag}`
and `{scripts}` (dvc_render/html.py). The last would be the tags that load Vega from the CDN: it is left out.
"""

import re
from pathlib import Path

import vl_convert
from dvc.config import Config
from dvc.exceptions import NotDvcRepoError
from dvc.repo import Repo
from jinja2 import Template

from sentifuse.errors import UserError
from sentifuse.runtime.files import write_text

# Beside the project's plot templates. DVC's config names it relative to `.dvc`.
TEMPLATE = "plots/offline.html"

_PAGE = Path(__file__).with_name("offline_plots.html.j2")
_EMBED = Path(__file__).with_name("offline_plots.js")


def install(folder: Path) -> Path:
    """Writes the page into `.dvc` of the repository around `folder` and names it in `.dvc/config.local`.

    Git ignores both files: a clone without them draws its plots with DVC's own page. Returns its path.

    Raises:
        UserError: `folder` is in no DVC repository, or `plots.html_template` names another page.
    """
    try:
        dvc_folder = Path(Repo.find_dvc_dir(str(folder)))
    except NotDvcRepoError:
        raise UserError(f"{folder}: not in a DVC repository; run this in one") from None
    config = Config(str(dvc_folder))
    chosen = config["plots"].get("html_template", TEMPLATE)
    if chosen != TEMPLATE:
        raise UserError(
            f"plots.html_template: {chosen}, expected it unset; to replace that page, first run "
            "`dvc config --unset plots.html_template`, with --local, --global or --system where it is set"
        )
    page = dvc_folder / TEMPLATE
    source = _PAGE.read_text(encoding="utf-8")
    write_text(page, Template(source, keep_trailing_newline=True).render(bundle=_bundle()))
    if "html_template" not in config["plots"]:
        with config.edit("local") as local:
            local.setdefault("plots", {})["html_template"] = TEMPLATE
    return page


def _bundle() -> str:
    """Vega, Vega-Lite and the function that DVC calls, as text that may stand in a `<script>` element."""
    return escape(vl_convert.javascript_bundle(_EMBED.read_text(encoding="utf-8")))


def escape(script: str) -> str:
    r"""`script` without the character sequences that HTML reads in a `<script>` element: `<` becomes `\x3C`.

    That means the same in string literals, template literals and regular expressions of JavaScript.
    Source: HTML standard, 4.12.1.3, "Restrictions for contents of script elements".
    """
    return re.sub(r"<(?=!--|script|/script)", r"\\x3C", script, flags=re.IGNORECASE)
