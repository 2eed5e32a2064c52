// What the page asks its server, and the helpers that its other files share.

export const at = (id) => document.getElementById(id);
export const points = (x) => `${x < 0 ? "\u2212" : "+"}${Math.abs(100 * x).toFixed(1)}`;
export const percent = (x) => `${(100 * x).toFixed(1)}\u00a0%`;

// An answer that is none: its status, and the seconds after which to try again, if it says so.
export class Refused extends Error {
  constructor(message, status, again) {
    super(message);
    this.status = status;
    this.again = again;
  }
}

// What `/health` says: labels and limits; null until it has.
export let about = null;

export async function learn() {
  about = await (await fetch("/health")).json();
  at("token-row").hidden = !about.token;
  return about;
}

export const predict = (image, text, signal) => ask("/predict", image, text, signal);
export const explain = (image, text) => ask("/explain", image, text);

// The token stays in its field: it is in memory only, and gone with the page.
async function ask(path, image, text, signal) {
  const body = new FormData();
  if (image) body.append("image", image);
  if (text.trim()) body.append("text", text);
  const headers = at("token").value ? { Authorization: `Bearer ${at("token").value.trim()}` } : {};
  let answer, found;
  try {
    answer = await fetch(path, { method: "POST", body, headers, signal });
    found = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer.", 0, null);
  }
  if (answer.ok) return found;
  throw new Refused(found.detail, answer.status, Number(answer.headers.get("Retry-After")) || null);
}

export function tooLarge(picture) {
  if (!about || picture.size <= about.limits.upload_bytes) return "";
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  return `The picture has ${megabytes(picture.size)}; at most ${megabytes(about.limits.upload_bytes)} are taken.`;
}

// Marks `zone` while files are over it, and gives what was dropped to `take`. A zone in a zone comes first.
export function dropZone(zone, take) {
  const mark = (event, over) => {
    event.preventDefault();
    zone.classList.toggle("over", over);
  };
  for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, (event) => mark(event, true));
  zone.addEventListener("dragleave", (event) => mark(event, false));
  zone.addEventListener("drop", (event) => {
    mark(event, false);
    event.stopPropagation();
    take([...event.dataTransfer.files]);
  });
}
