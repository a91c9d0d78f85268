// The picture that an order begins from: chosen, dropped, pasted, or one that was painted here; checked before it is sent.

import { find } from "./console.js";
import * as mask from "./mask.js";

const KINDS = ["image/png", "image/jpeg", "image/webp"];
const shown = find("#begun-picture");
const form = find("#order");
let limits = { maxBytes: Infinity, maxSide: Infinity };
let file = null;
let name = "";
let turn = 0;

export function sayProblem(text) {
  const place = find("#file-problem");
  place.textContent = text;
  place.hidden = !text;
  if (text) place.scrollIntoView({ block: "nearest" });
}

function changed() {
  find("#begun").hidden = !file;
  find("#drop").hidden = Boolean(file);
  form.dispatchEvent(new Event("input", { bubbles: true }));
}

function clear() {
  if (shown.src) URL.revokeObjectURL(shown.src);
  shown.removeAttribute("src");
  find("#file").value = "";
  file = null;
  changed();
}

function showBrushes(areShown) {
  find("#mask").hidden = find("#brushes").hidden = !areShown;
}

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

async function check(chosen) {
  if (!KINDS.includes(chosen.type)) throw new Error("This is no PNG, JPEG or WebP file.");
  // The form around it takes some room, too.
  if (chosen.size > limits.maxBytes - 8192) {
    throw new Error(`This file has ${megabytes(chosen.size)}; ${megabytes(limits.maxBytes)} can be sent.`);
  }
  try {
    await shown.decode();
  } catch {
    throw new Error("This file could not be read as a picture: it may be damaged.");
  }
  const [width, height] = [shown.naturalWidth, shown.naturalHeight];
  if (Math.max(width, height) > limits.maxSide) {
    throw new Error(`This picture has ${width} × ${height} pixels; ${limits.maxSide} a side is the most.`);
  }
}

// Of several one after the other, the last one counts.
export async function begin(chosen, called = chosen.name) {
  const mine = (turn += 1);
  clear();
  sayProblem("");
  shown.src = URL.createObjectURL(chosen);
  try {
    await check(chosen);
  } catch (error) {
    if (mine !== turn) return;
    clear();
    sayProblem(error.message);
    return;
  }
  if (mine !== turn) return;
  [file, name] = [chosen, called || "picture.png"];
  shown.alt = `The picture to begin from: ${name}`;
  find("#begun-name").textContent = `${shown.naturalWidth} × ${shown.naturalHeight} · ${name}`;
  find("[name=part][value=whole]").checked = true;
  showBrushes(false);
  mask.prepare({ width: shown.naturalWidth, height: shown.naturalHeight });
  changed();
}

export async function beginFrom(path, called) {
  try {
    const response = await fetch(path);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    await begin(await response.blob(), called);
  } catch (error) {
    sayProblem(`The picture could not be loaded: ${error.message}.`);
  }
}

// Null if there is none, or the model cannot use it.
export function begun(can) {
  if (!file || !can.edits) return null;
  const isMasked = can.mask && find("[name=part]:checked").value === "mask";
  return { file, name, width: shown.naturalWidth, height: shown.naturalHeight, isMasked };
}

// What is sent: a form, as the edits route takes it.
export async function formOf(from, fields) {
  const sent = new FormData();
  for (const [field, value] of Object.entries(fields)) sent.set(field, value);
  sent.set("image", from.file, "image");
  if (from.isMasked) sent.set("mask", await mask.fileOf(), "mask.png");
  return sent;
}

const pictureIn = (transfer) => [...(transfer?.files ?? [])][0];
const hasFiles = (event) => event.dataTransfer?.types.includes("Files") && form.checkVisibility();

// `onPicture`: called when one comes from outside the form, by dropping or pasting.
export function prepare(given, onPicture) {
  limits = given;
  find("#file").addEventListener("change", (event) => event.target.files[0] && begin(event.target.files[0]));
  find("#begun-remove").addEventListener("click", () => {
    sayProblem("");
    clear();
    find("#file").focus();
  });
  form.addEventListener("change", (event) => {
    if (event.target.name !== "part") return;
    showBrushes(event.target.value === "mask");
    sayProblem("");
    find("#easel").scrollIntoView({ block: "nearest" });
  });
  const take = (chosen) => chosen && onPicture() && begin(chosen);
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (!hasFiles(event)) return;
    event.preventDefault();
    take(pictureIn(event.dataTransfer));
  });
  document.addEventListener("paste", (event) => {
    const pasted = pictureIn(event.clipboardData);
    // A text that is copied with its picture is pasted as text.
    if (!pasted || event.clipboardData.types.includes("text/plain")) return;
    event.preventDefault();
    take(pasted);
  });
}
