// Many pairs: a CSV with its pictures, one request for each row, the answers as a table and as a CSV.

import { about, at, dropZone, percent, predict, tooLarge } from "/server.js";
import { format, parse } from "/csv.js";

const AT_A_TIME = 6; // a browser has no more connections to a server
const MOST_ROWS = 5000, MOST_BYTES = 20e6;
const FIGURES = ["confidence", "text_contribution", "image_contribution"];
let rows = [], table = "", pictures = new Map(), running = null, heard = 0;
let order = { by: "row", sign: 1 };

function complain(message) {
  at("files-alert").textContent = message;
  at("files-alert").hidden = !message;
}

function say(message) {
  at("rows-heard").textContent = message;
  heard = Date.now();
}

export const isTable = (file) => /\.csv$/i.test(file.name);
const baseName = (path) => path.trim().split(/[\\/]/).pop();

// The CSV and the pictures among `files`; a new CSV replaces the one before.
export async function takeFiles(files) {
  if (running) return complain("Rows are being read: stop first.");
  complain("");
  const tables = files.filter(isTable);
  const others = files.filter((file) => !tables.includes(file) && !file.type.startsWith("image/"));
  try {
    if (tables.length > 1) throw new Error(`${tables.length} CSV files: choose one`);
    if (others.length) throw new Error(`${others[0].name}: neither a CSV nor a picture`);
    for (const file of files.filter((each) => !tables.includes(each))) addPicture(file);
    if (tables.length) {
      rows = await read(tables[0]);
      table = tables[0].name;
      order = { by: "row", sign: 1 };
    }
  } catch (error) {
    complain(error.message);
  }
  if (table) draw();
}

function addPicture(file) {
  const before = pictures.get(file.name);
  if (before) URL.revokeObjectURL(before.address);
  pictures.set(file.name, { file, address: URL.createObjectURL(file) });
}

async function read(file) {
  const where = `${file.name}: `;
  if (file.size > MOST_BYTES) throw new Error(`${where}more than ${MOST_BYTES / 1e6} MB`);
  let records;
  try {
    records = parse(new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer()));
  } catch (error) {
    throw new Error(where + (error instanceof TypeError ? "not UTF-8 text" : error.message));
  }
  const names = (records.shift() || { fields: [] }).fields;
  if (!names.includes("text") && !names.includes("image"))
    throw new Error(`${where}line 1: expected a header with text, image or both, separated by commas`);
  if (names.includes("text_file"))
    throw new Error(`${where}line 1: text_file: a page cannot read files: use predict --csv`);
  if (!records.length) throw new Error(`${where}no rows below the header`);
  if (records.length > MOST_ROWS)
    throw new Error(`${where}${records.length} rows, at most ${MOST_ROWS} are taken: use predict --csv`);
  return records.map((record, place) => {
    const value = (name) => record.fields[names.indexOf(name)] || "";
    const row = { place: place + 1, line: record.line, guid: value("guid") || value("id") };
    Object.assign(row, { text: value("text"), image: value("image"), found: null, problem: "" });
    row.broken = record.fields.length === names.length ? "" : "another number of fields than the header has";
    return row;
  });
}

const pictureOf = (row) => row.image.trim() ? pictures.get(baseName(row.image)) : null;

// What is wrong with a row, as far as it shows here.
function mistake(row) {
  if (row.broken) return row.broken;
  if (!row.image.trim()) return row.text.trim() ? "" : "neither an image nor a text";
  const picture = pictureOf(row);
  return picture ? tooLarge(picture.file) : `${row.image}: no such picture was chosen`;
}

function draw() {
  const chosen = pictures.size === 1 ? "1 picture" : `${pictures.size} pictures`;
  at("files-chosen").textContent = `${table}: ${rows.length} ${rows.length === 1 ? "row" : "rows"}, ${chosen}`;
  for (const row of rows) {
    row.problem = row.found ? "" : mistake(row);
    row.shown = drawRow(row);
  }
  sort();
  at("many").hidden = false;
  count();
}

function drawRow(row) {
  const shown = document.createElement("tr"), both = document.createElement("div");
  const cells = [1, 2, 3, 4].map(() => document.createElement("td"));
  cells[0].textContent = row.place;
  both.className = "both";
  const picture = pictureOf(row);
  if (picture) {
    const image = document.createElement("img");
    Object.assign(image, { alt: row.image, loading: "lazy", decoding: "async", src: picture.address });
    both.append(image);
  }
  const text = document.createElement("span");
  text.textContent = row.text;
  both.append(text);
  cells[1].append(both);
  shown.append(...cells);
  fill(row, shown);
  return shown;
}

function fill(row, shown = row.shown) {
  const [, , answer, sure] = shown.children;
  answer.className = row.found ? "answered" : row.problem ? "refused" : "";
  answer.textContent = row.found ? row.found.label : row.problem;
  answer.colSpan = row.problem ? 2 : 1;
  sure.hidden = Boolean(row.problem);
  sure.textContent = row.found ? percent(row.found.confidence) : "";
}

const KEYS = {
  row: (row) => row.place,
  text: (row) => row.text.toLowerCase(),
  answer: (row) => row.found ? row.found.label : null,
  confidence: (row) => row.found ? row.found.confidence : null,
};

// Rows without an answer come last, whichever way the others go.
function sort() {
  const key = KEYS[order.by];
  const compare = (a, b) => typeof a === "string" ? a.localeCompare(b) : a - b;
  rows.sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    if (a === null || b === null) return (a === null) - (b === null) || one.place - other.place;
    return order.sign * compare(a, b) || one.place - other.place;
  });
  at("rows").replaceChildren(...rows.map((row) => row.shown));
  for (const button of document.querySelectorAll("[data-sort]")) {
    const here = button.dataset.sort === order.by;
    if (here) button.parentNode.ariaSort = order.sign > 0 ? "ascending" : "descending";
    else button.parentNode.removeAttribute("aria-sort");
  }
}

function sortBy(button) {
  const by = button.dataset.sort;
  order = { by, sign: order.by === by ? -order.sign : 1 };
  sort();
  say(`Sorted by ${button.textContent.toLowerCase()}, ${order.sign > 0 ? "ascending" : "descending"}.`);
}

function count() {
  const answered = rows.filter((row) => row.found).length;
  const refused = rows.filter((row) => row.problem).length;
  const told = `${answered} of ${rows.length} rows read` + (refused ? `, ${refused} refused` : "");
  at("progress").max = rows.length;
  at("progress").value = answered + refused;
  at("counted").textContent = told;
  at("start").hidden = Boolean(running) || answered === rows.length;
  const done = answered + refused === rows.length;
  at("start").textContent = done ? "Try the refused again" : answered ? "Go on" : "Read all rows";
  at("stop").hidden = !running;
  at("forget").hidden = Boolean(running);
  at("download").hidden = !(answered || refused);
  return told;
}

async function start() {
  complain("");
  running = new AbortController();
  const left = rows.filter((row) => !row.found);
  for (const row of left) {
    row.problem = "";
    fill(row);
  }
  say(`${count()}. Reading.`);
  at("stop").focus();
  const queue = left[Symbol.iterator]();
  const work = async () => { for (const row of queue) if (!await readRow(row)) break; };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  const stopped = running.signal.aborted, focused = document.activeElement === at("stop");
  running = null;
  say(`${count()}. ${stopped ? "Stopped." : "Done."}`);
  if (focused) at(at("download").hidden ? "forget" : "download").focus();
}

// Whether to go on: not after a stop, nor where no other row would be read either.
async function readRow(row) {
  row.problem = mistake(row);
  while (!row.problem && !row.found) {
    if (running.signal.aborted) return false;
    try {
      row.found = await predict(pictureOf(row)?.file, row.text, running.signal);
    } catch (error) {
      if (error.name === "AbortError") return false;
      if (error.status === 503) {
        await new Promise((done) => setTimeout(done, 1000 * (error.again || 1)));
        continue;
      }
      if ([0, 401].includes(error.status)) {
        complain(error.message);
        running.abort();
        return false;
      }
      row.problem = error.message;
    }
  }
  fill(row);
  const told = count();
  if (Date.now() - heard > 5000) say(told);
  return !running.signal.aborted;
}

// The columns of `predict --csv --out`.
function download() {
  const names = [...about.labels.map((label) => `p_${label}`), ...FIGURES];
  const lines = [...rows].sort((a, b) => a.place - b.place).map((row) => {
    const found = row.found;
    const figures = found && [
      ...about.labels.map((label) => found.probabilities[label]), ...FIGURES.map((name) => found[name]),
    ];
    const empty = names.map(() => "");
    return [row.line, row.guid, found ? found.label : "", ...(figures || empty), found ? "" : row.problem];
  });
  const content = format([["line", "guid", "tag", ...names, "problem"], ...lines]);
  const address = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
  const link = document.createElement("a");
  Object.assign(link, { href: address, download: `${table.replace(/\.csv$/i, "")}-answers.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function forget() {
  for (const { address } of pictures.values()) URL.revokeObjectURL(address);
  rows = [];
  table = "";
  pictures = new Map();
  at("rows").replaceChildren();
  at("many").hidden = true;
  complain("");
  at("files").focus();
}

export function setUp() {
  at("files").addEventListener("change", () => {
    const files = [...at("files").files];
    at("files").value = "";
    takeFiles(files);
  });
  dropZone(at("files-drop"), takeFiles);
  at("start").addEventListener("click", start);
  at("stop").addEventListener("click", () => running.abort());
  at("download").addEventListener("click", download);
  at("forget").addEventListener("click", forget);
  for (const button of document.querySelectorAll("[data-sort]"))
    button.addEventListener("click", () => sortBy(button));
}
