// The playground: a form from what the model can do, an order by a stream of events, pictures as they come.

import { beginFrom, begun, formOf, prepare, sayProblem as sayFileProblem } from "./beginning.js";
import { codeOf } from "./code.js";
import { all, find, make, selectTab, toast } from "./console.js";
import { eventsOf } from "./events.js";
import * as history from "./history.js";
import { dollars, finish, isBusy, nameOf, paintInto, sayProblem, showProgress, slot } from "./results.js";

const { again, base, edit, latest, maxBytes, maxSide, missing, models } = JSON.parse(find("#facts").textContent);
const form = find("#order");
const field = form.elements;
let underWay = null;

const model = () => models[field.model.value];

// --- the form ---

function chips(place, name, values, chosen) {
  const label = (value) => {
    const input = make("input", { type: "radio", name, value, checked: value === chosen });
    return make("label", { className: "chip" }, input, make("span", { textContent: value.replace(/^(\d+)x(\d+)$/, "$1 × $2") }));
  };
  find(place).replaceChildren(...values.map(label));
}

function show(name, isShown) {
  all(`[data-field=${name}]`).forEach((element) => (element.hidden = !isShown));
}

function adapt() {
  const can = model();
  const size = field.size?.value;
  const quality = field.quality?.value;
  chips("#sizes", "size", ["auto", ...can.sizes], can.sizes.includes(size) ? size : "auto");
  chips("#qualities", "quality", ["auto", ...can.qualities], can.qualities.includes(quality) ? quality : "auto");
  show("quality", can.qualities.length > 1);
  show("seed", can.seed);
  show("negative", can.negative);
  show("style", can.styles.length > 0);
  show("transparent", can.transparent);
  show("edits", can.edits);
  show("mask", can.mask);
  show("strength", can.strength);
  if (can.strength) {
    Object.assign(field.strength, { min: can.strength.min, max: can.strength.max });
    field.strength.value = can.strength.usual;
  }
  field.style.replaceChildren(new Option("any", ""), ...can.styles.map((style) => new Option(style)));
  field.n.max = can.n;
  refresh();
}

// What is sent: only what differs from the model's own choice, as a person would write it.
function order() {
  const can = model();
  const wanted = { model: field.model.value, prompt: field.prompt.value };
  if (field.size.value !== "auto") wanted.size = field.size.value;
  if (field.quality.value !== "auto") wanted.quality = field.quality.value;
  if (Number(field.n.value) > 1) wanted.n = Number(field.n.value);
  if (can.seed && field.seed.value) wanted.seed = Number(field.seed.value);
  if (can.negative && field.negative_prompt.value) wanted.negative_prompt = field.negative_prompt.value;
  if (field.style.value) wanted.style = field.style.value;
  if (field.output_format.value) wanted.output_format = field.output_format.value;
  if (can.transparent && field.transparent.checked) wanted.background = "transparent";
  const strength = Number(field.strength.value);
  if (can.strength && begun(can) && strength !== can.strength.usual) wanted.strength = strength;
  return wanted;
}

// As the server chooses: the shape most like the picture's, then about as many pixels as usual.
function sizeOf(wanted) {
  const from = begun(model());
  if (wanted.size || !from) return wanted.size ?? model().size;
  const far = (size, [width, height], power) => {
    const [across, down] = size.split("x").map(Number);
    return Math.abs(Math.log((across / width) * (down / height) ** power));
  };
  const usual = model().size.split("x").map(Number);
  const rank = (size) => Math.round(far(size, [from.width, from.height], -1) * 1000) * 1000 + far(size, usual, 1);
  return model().sizes.toSorted((one, other) => rank(one) - rank(other))[0] ?? model().size;
}

function priceOf(wanted) {
  const prices = model().prices;
  const quality = prices[wanted.quality ?? model().usual] ?? Object.values(prices)[0];
  return (quality[sizeOf(wanted)] ?? 0) * (wanted.n ?? 1);
}

function refresh() {
  const wanted = order();
  const code = codeOf(base, wanted, begun(model()));
  find("#price").textContent = dollars(priceOf(wanted));
  find("#strength-said").textContent = Number(field.strength.value).toFixed(2);
  for (const [name, text] of Object.entries(code)) find(`#as-${name}`).textContent = text;
}

function useAgain(wanted, seed) {
  if (!models[wanted.model]) return toast(`${wanted.model} is not there any more.`, "bad");
  field.model.value = wanted.model;
  adapt();
  for (const name of ["prompt", "n", "negative_prompt", "style", "output_format"]) {
    field[name].value = wanted[name] ?? (name === "n" ? 1 : "");
  }
  field.size.value = wanted.size ?? "auto";
  field.quality.value = wanted.quality ?? "auto";
  field.transparent.checked = wanted.background === "transparent";
  field.seed.value = seed ?? "";
  if (wanted.strength) field.strength.value = wanted.strength;
  refresh();
  goToForm();
}

function goToForm() {
  selectTab(find("#tab-form"));
  field.prompt.focus();
}

// Whether there is a model that can begin from pictures; it is chosen, if the chosen one cannot.
function canBegin() {
  const able = model().edits ? field.model.value : Object.keys(models).find((name) => models[name].edits);
  if (!able) toast("No model here can begin from a picture.", "bad");
  else if (able !== field.model.value) {
    toast(`${field.model.value} cannot begin from a picture: ${able} is chosen.`);
    field.model.value = able;
    adapt();
  }
  return Boolean(able);
}

async function editThis(path, name, prompt) {
  if (!canBegin()) return;
  field.prompt.value ||= prompt;
  goToForm();
  await beginFrom(path, name);
}

// --- the order ---

async function refusalOf(response) {
  try {
    return (await response.json()).error;
  } catch {
    return { message: `The server answered ${response.status}.` };
  }
}

// Of an order that was refused or failed; `param` is what was wrong with it.
class Refused extends Error {
  constructor({ message, param }) {
    super(message);
    this.param = param;
  }
}

async function send(wanted, from, id, signal) {
  const fields = { ...wanted, stream: true, ...(model().streaming ? { partial_images: 3 } : {}) };
  const headers = { "accept": "text/event-stream", "x-csrf-token": find("meta[name=csrf]").content, "x-pinxit-generation": id };
  if (!from) headers["content-type"] = "application/json";
  const body = from ? await formOf(from, fields) : JSON.stringify(fields);
  const path = `/console/playground/${from ? "edits" : "generations"}`;
  const response = await fetch(path, { method: "POST", signal, headers, body });
  if (!response.ok) throw new Refused(await refusalOf(response));
  return response;
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `gen_${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

async function paint() {
  const wanted = order();
  const from = begun(model());
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const usual = (model().seconds ?? 5) * Math.max(1, (wanted.n ?? 1) / 2);
  const price = priceOf(wanted) / (wanted.n ?? 1);
  const places = Array.from({ length: wanted.n ?? 1 }, () => slot(wanted.prompt, sizeOf(wanted)));
  const here = { id: newId(), socket: new AbortController(), givingUp: null, progress: null };
  underWay = here;
  sayProblem("");
  sayFileProblem("");
  find("#results").prepend(...places.map((place) => place.figure));
  find("#empty").hidden = true;
  if (matchMedia("(max-width: 56rem)").matches) places[0].figure.scrollIntoView({ block: "center" });
  setBusy(true);
  const clock = setInterval(() => showProgress(places, here.progress, seconds(), usual), 100);
  let painted = 0;
  try {
    for await (const event of eventsOf(await send(wanted, from, here.id, here.socket.signal))) {
      if (event.error) throw new Refused(event.error);
      const place = places[event.image_index ?? 0];
      if (event.type === "pinxit.progress") {
        here.progress = event;
        showProgress(places, event, seconds(), usual);
      } else if (event.type.endsWith(".completed")) {
        const facts = [wanted.model, event.seed !== null && `seed ${event.seed}`, `${seconds().toFixed(1)} s`, dollars(price)];
        const name = nameOf(wanted.prompt, event);
        const actions = { "Use again": () => useAgain(wanted, event.seed) };
        if (Object.values(models).some((can) => can.edits)) {
          actions.Edit = () => editThis(`/console/gallery/${event.id}/file`, name, wanted.prompt);
        }
        finish(place, event, facts, actions);
        painted += 1;
      } else paintInto(place, event);
    }
    if (painted < places.length) throw new Error(`${places.length - painted} of ${places.length} pictures could not be painted.`);
    find("#said").textContent = painted === 1 ? "The picture is painted." : `${painted} pictures are painted.`;
  } catch (error) {
    const said = await here.givingUp;
    if (said) toast(said);
    else if (from && (error.param ?? "image").match(/^(image|mask|strength)/)) sayFileProblem(error.message);
    else sayProblem(error.message);
  } finally {
    clearInterval(clock);
    places.filter(isBusy).forEach(({ figure }) => figure.remove());
    find("#empty").hidden = find("#results").childElementCount > 0;
    setBusy(false);
  }
  if (painted) await history.renew();
}

// On the server: to hang up would do, but only the server can say that nothing was painted. What to say; empty if it was too late.
async function giveUp({ id, socket }) {
  try {
    const response = await fetch(`/console/playground/generations/${id}/cancel`, {
      method: "POST",
      headers: { accept: "application/json" },
      body: new URLSearchParams({ csrf: find("meta[name=csrf]").content }),
    });
    if (response.ok) return (await response.json()).status === "cancelled" ? "Cancelled. Nothing was charged." : "";
  } catch {
    // Then to hang up has to do.
  }
  socket.abort();
  return "Cancelled.";
}

function cancel() {
  find("#stop").disabled = true;
  find("#stop").textContent = "Cancelling …";
  underWay.givingUp = giveUp(underWay);
}

function setBusy(isBusy) {
  find("#paint").disabled = isBusy;
  find("#stop").disabled = false;
  find("#stop").textContent = "Cancel";
  find("#stop").hidden = !isBusy;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  event.stopPropagation();
  if (!find("#paint").disabled) paint();
});
form.addEventListener("input", (event) => (event.target === field.model ? adapt() : refresh()));
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && form.checkVisibility()) form.requestSubmit();
});
find("#stop").addEventListener("click", cancel);
find("#dice").addEventListener("click", () => {
  field.seed.value = crypto.getRandomValues(new Uint32Array(1))[0];
  refresh();
});
// In the lightbox, links to this page need no other page.
find("#lightbox").addEventListener("click", (event) => {
  const to = event.target.closest("[data-to]")?.dataset.to;
  const picture = history.shownPicture();
  if (!["again", "edit"].includes(to) || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  find("#lightbox").close();
  if (to === "again") useAgain(picture.settings, picture.settings.seed);
  else editThis(picture.file, picture.name, picture.prompt);
});
prepare({ maxBytes, maxSide }, canBegin);
adapt();
history.fill(latest);
if (missing) toast("The picture is not there any more.", "bad");
if (again) useAgain(again, again.seed);
if (edit) editThis(edit.file, edit.name, edit.prompt);
