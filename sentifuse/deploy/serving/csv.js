// CSV as RFC 4180 has it (https://datatracker.ietf.org/doc/html/rfc4180), and as Python's `csv` reads it.

// A text -> its records that are not blank, as { line, fields }: the line in which each ends, from 1.
export function parse(text) {
  const records = [];
  let fields = [], field = "", quoted = false, line = 1, opened = 0;
  const endField = () => { fields.push(field); field = ""; };
  const endRecord = () => {
    endField();
    if (fields.length > 1 || fields[0]) records.push({ line, fields });
    fields = [];
  };
  for (let place = text.charCodeAt(0) === 0xfeff ? 1 : 0; place < text.length; place++) {
    const letter = text[place], newLine = letter === "\n" || (letter === "\r" && text[place + 1] !== "\n");
    if (quoted && letter === '"') {
      if (text[place + 1] === '"') { field += '"'; place++; } else quoted = false;
    } else if (quoted) field += letter;
    else if (letter === '"' && !field) { quoted = true; opened = line; }
    else if (letter === ",") endField();
    else if (newLine) endRecord();
    else if (letter !== "\r") field += letter;
    if (newLine) line++;
  }
  if (quoted) throw new Error(`line ${opened}: a quote is opened and never closed`);
  if (field || fields.length) endRecord();
  return records;
}

// Rows of cells -> a CSV. A number stays one. Another text that a spreadsheet would run as a formula gets an
// apostrophe in front (https://owasp.org/www-community/attacks/CSV_Injection).
export function format(rows) {
  return rows.map((cells) => `${cells.map(cell).join(",")}\n`).join("");
}

function cell(value) {
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : value.toFixed(6);
  const runs = /^[=+\-@\t\r\n]/.test(value) && !/^[+-]?\d+(\.\d+)?$/.test(value);
  const safe = runs ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
