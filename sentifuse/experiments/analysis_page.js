"use strict";

// Places of runs on the axis of a column go from 0 to 1, or are null: analysis_page.py computes them.
const { runs, columns } = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const first = columns.findIndex((column, index) => index && column.shown);
const state = {
  x: Math.max(first, 0), y: 0, colour: 0, // indices of columns
  sort: 0, descending: true,
  brushes: new Map(), // column -> [low, high]: the runs between are kept
  picked: new Set([0]),
};
const EDGE = 0.04; // how far a brush may reach beyond the outermost places

const SVG = new Set(["svg", "g", "path", "circle", "rect", "line", "text", "title"]);
function make(tag, attributes = {}, ...children) {
  const made = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made[name] = value;
    else if (value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
// `stage2.lr_clip` as `stage2.` and `lr_clip`.
const halves = (name) => [name.slice(0, name.lastIndexOf(".") + 1), name.slice(name.lastIndexOf(".") + 1)];
// Pixels to the left of an axis for the texts of its ticks.
const room = (ticks) => Math.max(76, 22 + 6.6 * Math.max(...ticks.map(([, text]) => text.length)));
const toned = (place) => place === null ? { "data-tone": "none" } : { "data-tone": "", style: `--place: ${place}` };
const tone = (run) => toned(columns[state.colour].places[run]);
const isKept = (run) => [...state.brushes].every(([column, [low, high]]) => {
  const place = columns[column].places[run];
  return place !== null && low <= place && place <= high;
});
const shown = () => columns.map((_, index) => index).filter((index) => columns[index].shown);
// Params to the left, metrics to the right, and the one that ranks last.
const axes = () => [...shown().filter((index) => index), ...shown().filter((index) => !index)];

// What a brush keeps, in the words of the runs that it keeps.
function inWords(column) {
  const { places, texts, numeric } = columns[column];
  const [low, high] = state.brushes.get(column) ?? [-1, 2];
  const kept = runs.map((_, run) => run).filter((run) => places[run] !== null && low <= places[run] && places[run] <= high);
  const words = [...new Set(kept.sort((a, b) => places[a] - places[b]).map((run) => texts[run] || "-"))];
  if (words.length === 0) return "none";
  return numeric && words.length > 2 ? `${words[0]} to ${words.at(-1)}` : words.join(", ");
}

// Dragging over `area` brushes the columns of `scales`: [column, "x" or "y", pixel of place 0, pixel of place 1].
function brushable(area, svg, scales) {
  area.onpointerdown = (start) => {
    if (start.button) return;
    area.setPointerCapture(start.pointerId);
    const box = svg.getBoundingClientRect();
    const place = (event, [, axis, from, to]) => {
      const pixel = axis === "x" ? event.clientX - box.x : event.clientY - box.y;
      return Math.min(Math.max((pixel - from) / (to - from), -EDGE), 1 + EDGE);
    };
    area.onpointermove = (event) => {
      const far = Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) > 4;
      for (const scale of scales) {
        const ends = [place(start, scale), place(event, scale)].sort((a, b) => a - b);
        if (far) state.brushes.set(scale[0], ends);
        else state.brushes.delete(scale[0]);
      }
      update();
    };
    area.onpointerup = (event) => { area.onpointermove(event); area.onpointermove = null; };
    area.onpointercancel = () => { area.onpointermove = null; };
  };
}

// Up and down cut off the lower and the upper end; with shift they give it back.
function brushByKey(event, column) {
  const [low, high] = state.brushes.get(column) ?? [-EDGE, 1 + EDGE];
  const step = 0.05;
  const up = event.key === "ArrowUp";
  if (event.key === "Escape") state.brushes.delete(column);
  else if (!up && event.key !== "ArrowDown") return;
  else if (up === event.shiftKey) state.brushes.set(column, [low, Math.max(Math.min(high + (up ? step : -step), 1 + EDGE), low)]);
  else state.brushes.set(column, [Math.min(Math.max(low + (up ? step : -step), -EDGE), high), high]);
  event.preventDefault();
  update();
}

function drawLines() {
  const drawn = axes();
  const left = room(columns[drawn[0] ?? 0].ticks), right = 76, top = 52, bottom = 320;
  const width = Math.max(at("lines").clientWidth, left + right + 126 * (drawn.length - 1));
  const x = (rank) => drawn.length > 1 ? left + rank * (width - left - right) / (drawn.length - 1) : width / 2;
  const y = (place) => bottom - place * (bottom - top);
  const lines = make("g");
  const svg = make("svg", { width, height: bottom + 20, role: "group", "aria-label": "parallel coordinates" }, lines);
  for (const run of runs.keys()) {
    const points = drawn.map((column, rank) => [x(rank), columns[column].places[run]]);
    const path = points.flatMap(([end, place], rank) => {
      if (place === null) return [];
      const [start, before] = points[rank - 1] ?? [0, null];
      const middle = (start + end) / 2;
      if (before === null) return [`M${end},${y(place)}`];
      return [`C${middle},${y(before)} ${middle},${y(place)} ${end},${y(place)}`];
    });
    lines.append(make("path", { class: "run", "data-run": run, d: path.join("") || "M0,0", ...tone(run) }, make("title", {}, runs[run].name)));
  }
  drawn.forEach((column, rank) => {
    const { name, ticks } = columns[column];
    const [group, own] = halves(name);
    const area = make("rect", {
      class: "area", "data-axis": column, x: x(rank) - 20, width: 40, y: top - 12, height: bottom - top + 24, tabindex: 0,
      role: "slider", "aria-label": name, "aria-orientation": "vertical", "aria-valuenow": 0,
      onkeydown: (event) => brushByKey(event, column),
    });
    brushable(area, svg, [[column, "y", bottom, top]]);
    svg.append(
      make("text", { x: x(rank), y: 14, "text-anchor": "middle", class: "soft" }, group),
      make("text", { x: x(rank), y: 30, "text-anchor": "middle", class: "name" }, own, make("title", {}, name)),
      make("line", { class: "axis", x1: x(rank), x2: x(rank), y1: top, y2: bottom }),
      ...ticks.map(([place, text]) => make("text", { class: "tick", x: x(rank) - 8, y: y(place) + 4, "text-anchor": "end" }, text)),
      area,
      make("rect", { class: "brush", "data-brush": column, x: x(rank) - 9, width: 18, rx: 3, "data-from": bottom, "data-to": top }),
    );
  });
  at("lines").replaceChildren(svg);
}

let pixels; // of places in the scatter plot: two functions
function drawScatter() {
  const across = columns[state.x], up = columns[state.y];
  const width = at("scatter").clientWidth, left = room(up.ticks), right = width - 22, top = 34, bottom = 320;
  const x = (place) => left + place * (right - left);
  const y = (place) => bottom - place * (bottom - top);
  const svg = make("svg", { width, height: bottom + 62, role: "group", "aria-label": "scatter plot" });
  let free = 0; // texts of ticks below must not overlap
  for (const [place, text] of across.ticks) {
    svg.append(make("line", { class: "rule", x1: x(place), x2: x(place), y1: top, y2: bottom }));
    const half = 3.2 * text.length;
    if (x(place) - half < free) continue;
    free = x(place) + half + 8;
    svg.append(make("text", { class: "tick", x: x(place), y: bottom + 28, "text-anchor": "middle" }, text));
  }
  for (const [place, text] of up.ticks) {
    svg.append(
      make("line", { class: "rule", x1: left, x2: right, y1: y(place), y2: y(place) }),
      make("text", { class: "tick", x: left - 16, y: y(place) + 4, "text-anchor": "end" }, text),
    );
  }
  const area = make("rect", { class: "area", x: left - 14, width: right - left + 28, y: top - 14, height: bottom - top + 28 });
  brushable(area, svg, [[state.x, "x", left, right], [state.y, "y", bottom, top]]);
  svg.append(
    make("text", { class: "name", x: 0, y: 12 }, up.name),
    make("text", { class: "name", x: right, y: bottom + 52, "text-anchor": "end" }, across.name),
    area, make("rect", { class: "brush", rx: 3 }),
  );
  for (const run of runs.keys()) {
    if (across.places[run] === null || up.places[run] === null) continue;
    svg.append(make(
      "circle", { class: "run", "data-run": run, cx: x(across.places[run]), cy: y(up.places[run]), r: 5.5, ...tone(run) },
      make("title", {}, `${runs[run].name}\n${across.name}: ${across.texts[run] || "-"}\n${up.name}: ${up.texts[run]}`),
    ));
  }
  pixels = { x, y };
  at("scatter").replaceChildren(svg);
  at("legend").replaceChildren(...columns[state.colour].ticks.map(([place, text]) => make("span", {}, make("i", { class: "dot", ...toned(place) }), text)));
}

function drawTable() {
  const drawn = shown();
  const head = (name, column) => make(
    "th", { scope: "col", class: column >= 0 && columns[column].numeric && "number",
      "aria-sort": state.sort === column ? (state.descending ? "descending" : "ascending") : "none" },
    make("button", { type: "button", onclick: () => sortBy(column) }, make("small", {}, halves(name)[0]), halves(name)[1]),
  );
  const report = runs.some((run) => run.report.link || run.report.command);
  at("table").tHead.replaceChildren(make(
    "tr", {}, head("experiment", -1), ...(report ? [make("th", { scope: "col" }, "report")] : []),
    ...drawn.map((column) => head(columns[column].name, column)),
  ));
  at("table").tBodies[0].replaceChildren(...ordered().map((run) => make(
    "tr", { class: "run", "data-run": run, ...tone(run) },
    make("th", { scope: "row" }, make("button", { type: "button" }, make("i", { class: "dot" }), runs[run].name),
      ...runs[run].repeats.map((name) => make("span", { class: "range" }, `= ${name}`))),
    ...(report ? [make("td", {}, reportOf(run))] : []),
    ...drawn.map((column) => {
      const { texts, numeric, intervals } = columns[column];
      const range = intervals[run] ? [make("span", { class: "range" }, intervals[run])] : [];
      return make("td", { class: numeric && "number" }, texts[run] || "-", ...range);
    }),
  )));
}

function reportOf(run) {
  const { link, command } = runs[run].report;
  if (link) return make("a", { href: link }, "open");
  return command ? make("a", { href: "#picked", "data-pick": run }, "command") : "-";
}

function ordered() {
  const sign = state.descending ? -1 : 1;
  const { places } = columns[state.sort] ?? {};
  const compare = (a, b) => {
    if (state.sort < 0) return sign * runs[a].name.localeCompare(runs[b].name);
    if (places[a] === null || places[b] === null) return (places[a] === null) - (places[b] === null);
    return sign * (places[a] - places[b]);
  };
  return [...runs.keys()].sort((a, b) => compare(a, b) || a - b);
}

function sortBy(column) {
  state.descending = state.sort === column ? !state.descending : column >= 0 && columns[column].numeric;
  state.sort = column;
  drawTable();
  update();
  [...at("table").querySelectorAll("th")].find((head) => head.ariaSort !== "none")?.firstChild.focus();
}

function drawPicked() {
  const picked = [...state.picked].sort((a, b) => a - b);
  const differs = (texts) => picked.length === 1 || new Set(picked.map((run) => texts[run])).size > 1;
  const row = (name, cells) => make("tr", {}, make("th", { scope: "row" }, halves(name)[0], make("wbr"), halves(name)[1]), ...cells.map((cell) => make("td", {}, cell)));
  if (picked.length === 0) return at("picked").replaceChildren();
  const names = picked.map((run) => make("th", { scope: "col" }, runs[run].name));
  const table = make("table", {},
    make("thead", {}, make("tr", {}, make("td"), ...names)),
    make("tbody", {},
      ...columns.filter(({ texts, shown }) => shown && differs(texts)).map(({ name, texts }) => row(name, picked.map((run) => texts[run] || "-"))),
      row("commit", picked.map((run) => runs[run].commit)),
      row("made", picked.map((run) => runs[run].made || "-")),
    ),
  );
  const reports = picked.map((run) => {
    const { link, command } = runs[run].report;
    return make("p", {}, `Report of ${runs[run].name}: `, command ? make("code", {}, command) : link ? reportOf(run) : "none");
  });
  at("picked").replaceChildren(make("div", { class: "wide" }, table), ...reports);
}

// What the filters and the picks change, without drawing all anew.
function update() {
  const kept = [...runs.keys()].filter(isKept);
  const inside = new Set(kept);
  for (const each of document.querySelectorAll(".run")) {
    const run = Number(each.dataset.run);
    each.classList.toggle("out", !inside.has(run));
    each.classList.toggle("picked", state.picked.has(run));
    if (each.tagName === "TR") each.querySelector("button").ariaPressed = state.picked.has(run);
  }
  // What is drawn last lies on top: the picked ones, then the best.
  const height = (each) => each.classList.contains("out") ? 0 : each.classList.contains("picked") ? 2 : 1;
  [...document.querySelectorAll("svg .run")].sort((a, b) => height(a) - height(b) || b.dataset.run - a.dataset.run)
    .forEach((each) => each.parentNode.append(each));
  for (const brush of document.querySelectorAll("[data-brush]")) {
    const ends = state.brushes.get(Number(brush.dataset.brush));
    const [from, to] = [Number(brush.dataset.from), Number(brush.dataset.to)];
    cover(brush, "y", ends?.map((end) => from + end * (to - from)));
  }
  const sides = [state.x, state.y].map((column) => state.brushes.get(column));
  for (const [side, axis] of [[sides[0], "x"], [sides[1], "y"]]) {
    cover(document.querySelector("#scatter .brush"), axis, sides.some(Boolean) ? (side ?? [-EDGE, 1 + EDGE]).map(pixels[axis]) : undefined);
  }
  for (const area of document.querySelectorAll("[data-axis]")) area.ariaValueText = inWords(Number(area.dataset.axis));
  at("count").textContent = `${kept.length} of ${runs.length} experiments`;
  at("filters").replaceChildren(...[...state.brushes.keys()].map((column) => make(
    "button", { type: "button", title: "keep all again", onclick: () => { state.brushes.delete(column); update(); } },
    `${columns[column].name}: ${inWords(column)} ×`,
  )));
  drawPicked();
}

function cover(brush, axis, ends = [0, 0]) {
  const [low, high] = ends.toSorted((a, b) => a - b);
  brush.setAttribute(axis, low);
  brush.setAttribute(axis === "x" ? "width" : "height", high - low);
}

function drawAll() {
  drawLines();
  drawScatter();
  drawTable();
  update();
}

document.addEventListener("click", ({ target }) => {
  const pick = target.closest("[data-pick]"), run = target.closest("[data-run]");
  if (pick) state.picked.add(Number(pick.dataset.pick));
  else if (run && !target.closest("a")) {
    const index = Number(run.dataset.run);
    if (!state.picked.delete(index)) state.picked.add(index);
  } else return;
  update();
});
for (const name of ["x", "y", "colour"]) {
  at(name).append(...columns.map((column, index) => make("option", { value: index, selected: state[name] === index && "" }, column.name)));
  at(name).onchange = (event) => { state[name] = Number(event.target.value); drawAll(); };
}
at("columns").querySelector("div").append(...columns.map((column) => make("label", {},
  make("input", { type: "checkbox", checked: column.shown && "", onchange: (event) => { column.shown = event.target.checked; drawAll(); } }),
  ` ${column.name}`,
)));
let drawnFor = innerWidth; // the height changes while a phone scrolls
addEventListener("resize", () => {
  if (innerWidth !== drawnFor) drawAll();
  drawnFor = innerWidth;
});
drawAll();
