// DVC calls vegaEmbed(element, spec). SVG stays sharp; the menu's editor is a website, so it is left out. The
// specs name an older Vega-Lite, which this one reads too, but not without a warning.
window.vegaEmbed = (element, { $schema = "", ...spec }) => vegaEmbed(element, spec, {
  mode: $schema.includes("/vega/") ? "vega" : "vega-lite",
  renderer: "svg",
  actions: { export: true, source: true, compiled: false, editor: false },
  config: { font: "system-ui, sans-serif" },
});
