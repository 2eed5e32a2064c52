"""A page for `dvc plots` that needs no network: Vega's libraries stand in it, not on a CDN.

DVC puts the plots into the file that `plots.html_template` names: it replaces `{plot_divs}`, `{refresh_tag}`
and `{scripts}` (dvc_render/html.py). The last would be the tags that load Vega from the CDN: it is left out.
"""

import re
from importlib.metadata import version
from pathlib import Path

from sentifuse.errors import UserError
from sentifuse.runtime.files import sha256, write_text

# Beside the project's plot templates. DVC's config names it relative to `.dvc`.
TEMPLATE = "plots/offline.html"

_PAGE = """\
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>sentifuse: plots</title>
<style>
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; background: #fff; color: #222;
       font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; font-weight: 600; }
main { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; }
/* DVC styles the boxes of images in place: black borders, all revisions in one line. */
main > div { max-width: 100%; box-sizing: border-box; padding: 1rem; overflow-x: auto; border-radius: 0.5rem;
             border: 1px solid #ddd !important; white-space: normal !important; }
main > div > div { border: 0 !important; }
main p { margin: 0 0 0.25rem; font-size: 0.8125rem; }
main > div > p { font-weight: 600; }
main img { display: block; max-height: 24rem; margin: 0 auto; }
.vega-bindings { font-size: 0.8125rem; }
</style>
<script>
{bundle}
</script>
</head>
<body>
<h1>sentifuse: plots</h1>
<main>
{plot_divs}
</main>
</body>
</html>
"""

# DVC calls vegaEmbed(element, spec). SVG stays sharp; the menu's editor is a website, so it goes. The specs
# name an older Vega-Lite, which this one reads too, but not without a warning.
_EMBED = """\
window.vegaEmbed = (element, { $schema = "", ...spec }) => vegaEmbed(element, spec, {
  mode: $schema.includes("/vega/") ? "vega" : "vega-lite",
  renderer: "svg",
  actions: { export: true, source: true, compiled: false, editor: false },
  config: { font: "system-ui, sans-serif" },
});
"""


def install(folder: Path) -> Path:
    """Writes the page into `.dvc` of the repository around `folder` and names it in `.dvc/config.local`.

    Git ignores both files: a clone without them draws its plots with DVC's own page.

    Returns:
        Path of the page. It is not written again while neither it nor `vl-convert-python` has changed.

    Raises:
        UserError: `folder` is in no DVC repository, or `plots.html_template` names another page.
    """
    from dvc.config import Config
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

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
    vega = f"vl-convert-python {version('vl-convert-python')}"
    mark = (
        f"<!DOCTYPE html>\n<!-- page {sha256((_PAGE + _EMBED).encode())[:16]}, Vega of {vega} -->\n"
    )
    if not _starts_with(page, mark):
        write_text(page, mark + _PAGE.replace("{bundle}", _bundle()))
    if "html_template" not in config["plots"]:
        with config.edit("local") as local:
            local.setdefault("plots", {})["html_template"] = TEMPLATE
    return page


def _starts_with(page: Path, mark: str) -> bool:
    if not page.exists():
        return False
    with page.open(encoding="utf-8") as file:
        return file.read(len(mark)) == mark


def _bundle() -> str:
    """Vega, Vega-Lite and `_EMBED` as JavaScript that may stand in a `<script>` element."""
    import vl_convert

    return escape(vl_convert.javascript_bundle(_EMBED))


def escape(script: str) -> str:
    r"""`script` without the character sequences that HTML reads in a `<script>` element: `<` becomes `\x3C`.

    Right within string literals, template literals and regular expressions, where libraries have them.
    Source: HTML standard, 4.12.1.3, "Restrictions for contents of script elements".
    """
    return re.sub(r"<(?=!--|script|/script)", r"\\x3C", script, flags=re.IGNORECASE)
