// One pair: the form, and what the model says of it.

import { forget, offer } from "/explain.js";
import { at, dropZone, learn, percent, points, predict, tooLarge } from "/server.js";
import { isTable, setUp, takeFiles } from "/table.js";

let file = null, address = null;

function ready() {
  at("go").disabled = !file && !at("text").value.trim();
}

function complain(message) {
  at("alert").textContent = message || "";
  at("alert").hidden = !message;
}

function choose(chosen) {
  const large = chosen ? tooLarge(chosen) : "";
  complain(large);
  file = large ? null : chosen;
  if (address) URL.revokeObjectURL(address);
  address = file ? URL.createObjectURL(file) : null;
  if (address) at("preview").src = address; else at("preview").removeAttribute("src");
  at("preview").hidden = !file;
  at("hint").hidden = Boolean(file);
  at("drop").classList.toggle("filled", Boolean(file));
  at("name").textContent = file ? file.name : "No picture";
  at("clear").hidden = !file;
  ready();
}

// A picture is one half of a pair; a CSV, or several files, are many pairs.
function dropped(files) {
  if (files.length > 1 || files.some(isTable)) takeFiles(files);
  else choose(files[0] || null);
}

function item(name, figure) {
  const entry = document.createElement("li"), row = document.createElement("div");
  row.className = "row";
  for (const [text, kind] of [[name, "name"], [figure, "figure"]]) {
    const cell = document.createElement("span");
    cell.className = kind;
    cell.textContent = text;
    row.append(cell);
  }
  const track = document.createElement("div"), bar = document.createElement("div");
  track.className = "track";
  track.setAttribute("aria-hidden", "true");
  bar.className = "bar";
  track.append(bar);
  entry.append(row, track);
  return [entry, bar];
}

function spoke(found) {
  if (found.used.length === 1) return `Only the ${found.used[0]} spoke.`;
  const text = found.text_contribution, image = found.image_contribution;
  const loud = Math.abs(text) >= Math.abs(image) ? "text" : "image";
  const other = loud === "text" ? "image" : "text";
  const agree = (text >= 0) === (image >= 0);
  return `The ${loud} spoke louder, ` +
    (agree ? `and the ${other} agreed.` : `and the ${other} spoke the other way.`);
}

function show(found) {
  at("verdict").textContent = `${found.label}, ${percent(found.confidence)}`;
  at("spoke").textContent = spoke(found);
  at("probabilities").replaceChildren(...Object.entries(found.probabilities).map(([label, share]) => {
    const [entry, bar] = item(label, percent(share));
    entry.classList.toggle("best", label === found.label);
    bar.style.width = `${100 * share}%`;
    return entry;
  }));
  at("signed-title").textContent = `What each added to \u201c${found.label}\u201d`;
  at("contributions").replaceChildren(...["text", "image"].map((name) => {
    const value = found[`${name}_contribution`], given = found.used.includes(name);
    const [entry, bar] = item(name, given ? `${points(value)} points` : "silent");
    bar.classList.toggle("against", value < 0);
    bar.style.left = `${50 + 50 * Math.min(value, 0)}%`;
    bar.style.width = `${50 * Math.abs(value)}%`;
    return entry;
  }));
  at("note").textContent =
    `Without seeing anything the model says ${percent(found.base)}; the contributions lead from there ` +
    `to ${percent(found.confidence)} (Shapley values).`;
  at("heard").textContent = `${at("verdict").textContent}. ${at("spoke").textContent}`;
  at("empty").hidden = true;
  at("result").hidden = false;
  at("result-section").scrollIntoView({ block: "nearest" });
}

async function ask(event) {
  event.preventDefault();
  if (at("go").disabled) return;
  complain("");
  at("go").disabled = true;
  at("go").textContent = "Reading \u2026";
  at("result").classList.add("busy");
  forget();
  const pair = [file, at("text").value];
  try {
    show(await predict(...pair));
    offer(...pair);
  } catch (error) {
    complain(error.message);
  }
  at("result").classList.remove("busy");
  at("go").textContent = "Read the sentiment";
  ready();
}

at("image").addEventListener("change", () => { choose(at("image").files[0] || null); at("image").value = ""; });
at("clear").addEventListener("click", () => { choose(null); at("image").focus(); });
at("text").addEventListener("input", ready);
at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
});
at("form").addEventListener("submit", ask);
dropZone(at("drop"), dropped);
dropZone(document.body, dropped);
setUp();
learn().then((about) => { at("text").maxLength = about.limits.text_characters; }).catch(() => {});
ready();
