// Which words and which parts of the picture moved the answer that is shown.

import { at, explain, points } from "/server.js";

// Less than this is 0.0 points; of what adds most, less than this share is not worth a colour. As on the
// report's cards (evaluation/explained.py).
const NOTHING = 0.0005, FAINT = 0.05, LEAST_SCALE = 0.02, MOST_FIGURES = 8;

let pair = null, address = null; // the pair of the answer, and its picture

export function forget() {
  pair = null;
  for (const id of ["explain", "explanation", "explain-alert"]) at(id).hidden = true;
  if (address) URL.revokeObjectURL(address);
  address = null;
}

export function offer(image, text) {
  pair = { image, text };
  at("explain").hidden = false;
}

// Colours an element, and says whether it adds enough to be coloured.
function colour(element, value, scale) {
  const shade = Math.abs(value) / scale;
  if (Math.abs(value) < NOTHING || shade < FAINT) return false;
  element.classList.add(value > 0 ? "for" : "against");
  element.style.setProperty("--shade", Math.min(shade, 1).toFixed(3));
  return true;
}

function words(found, scale) {
  const letters = Array.from(found.text), parts = []; // places are those of characters, not of JavaScript's units
  let end = 0;
  for (const word of found.words) {
    parts.push(letters.slice(end, word.start).join(""));
    const mark = document.createElement("mark");
    mark.textContent = word.text;
    parts.push(colour(mark, word.contribution, scale) ? mark : word.text);
    mark.title = `${points(word.contribution)} points`;
    end = word.end;
  }
  at("words").replaceChildren(...parts);
}

function cells(found, scale) {
  const flat = found.grid.flat();
  at("parts").hidden = !flat.length;
  if (!flat.length) return;
  address = URL.createObjectURL(pair.image);
  at("parts-picture").src = address;
  at("cells").style.setProperty("--columns", String(found.grid[0].length));
  at("cells").replaceChildren(...flat.map((value) => {
    const cell = document.createElement("span");
    if (colour(cell, value, scale)) cell.textContent = points(value);
    return cell;
  }));
  at("parts").setAttribute("aria-label",
    `The picture; what its parts add, in points, row by row: ${flat.map(points).join(", ")}`);
}

function figures(found) {
  const parts = found.words.map((word) => [word.text, word.contribution]);
  found.grid.forEach((row, down) => row.forEach((value, right) => {
    parts.push([`picture, row ${down + 1}, column ${right + 1}`, value]);
  }));
  parts.sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
  at("figures").replaceChildren(...parts.slice(0, MOST_FIGURES).map(([name, value]) => {
    const row = document.createElement("tr"), head = document.createElement("th"), figure = document.createElement("td");
    head.scope = "row";
    head.textContent = name;
    figure.textContent = points(value);
    row.append(head, figure);
    return row;
  }));
}

function show(found) {
  const values = [...found.words.map((word) => word.contribution), ...found.grid.flat()];
  const scale = Math.max(LEAST_SCALE, ...values.map(Math.abs));
  at("explanation-title").textContent = `What moved \u201c${found.prediction.label}\u201d`;
  words(found, scale);
  cells(found, scale);
  figures(found);
  at("explanation").hidden = false;
  at("explain").hidden = true;
  at("explanation").focus();
}

async function ask() {
  const asked = pair, button = at("explain"), title = button.textContent;
  at("explain-alert").hidden = true;
  button.disabled = true;
  button.textContent = "Hiding each part in turn \u2026";
  try {
    const found = await explain(asked.image, asked.text);
    if (asked === pair) show(found);
  } catch (error) {
    at("explain-alert").textContent = error.message;
    at("explain-alert").hidden = asked !== pair;
  }
  button.textContent = title;
  button.disabled = false;
}

at("explain").addEventListener("click", ask);
