// The playground: a form from what the model can do, an order by a stream of events, pictures as they come.

import { all, find, make, toast } from "./console.js";

const { again, base, models } = JSON.parse(find("#facts").textContent);
const form = find("#order");
const field = form.elements;
const KEY = "<API_KEY>";
let underWay = null;

const dollars = (micros) => (micros ? `$${(micros / 1e6).toFixed(6).replace(/(\.\d\d\d*?)0+$/, "$1")}` : "free");
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
  return wanted;
}

function priceOf(wanted) {
  const prices = model().prices;
  const quality = prices[wanted.quality ?? model().usual] ?? Object.values(prices)[0];
  return (quality[wanted.size ?? model().size] ?? 0) * (wanted.n ?? 1);
}

function refresh() {
  const wanted = order();
  const text = JSON.stringify(wanted, null, 2);
  find("#price").textContent = dollars(priceOf(wanted));
  find("#as-json").textContent = text;
  const quoted = JSON.stringify(wanted).replaceAll("'", "'\\''");
  find("#as-curl").textContent =
    `curl ${base}/v1/images/generations \\\n  -H "Authorization: Bearer ${KEY}" \\\n` +
    `  -H "Content-Type: application/json" \\\n  -d '${quoted}'`;
  // OpenAI's client knows the first of these; the rest goes beside them.
  const known = ["model", "prompt", "n", "size", "quality", "style", "output_format", "background"];
  const line = ([name, value]) => `${name}=${JSON.stringify(value)}`;
  const extra = Object.entries(wanted).filter(([name]) => !known.includes(name));
  const lines = Object.entries(wanted).filter(([name]) => known.includes(name)).map(line);
  if (extra.length) lines.push(`extra_body=${JSON.stringify(Object.fromEntries(extra))}`);
  find("#as-python").textContent =
    `from openai import OpenAI\n\nclient = OpenAI(base_url="${base}/v1", api_key="${KEY}")\n` +
    `answer = client.images.generate(\n    ${lines.join(",\n    ")},\n)\nprint(answer.data[0].url)`;
  find("#as-javascript").textContent =
    `const answer = await fetch("${base}/v1/images/generations", {\n  method: "POST",\n` +
    `  headers: { "Authorization": "Bearer ${KEY}", "Content-Type": "application/json" },\n` +
    `  body: JSON.stringify(${text.replaceAll("\n", "\n  ")}),\n});\nconsole.log((await answer.json()).data[0].url);`;
}

// --- a stream of server-sent events, read by fetch: EventSource cannot send a body ---

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((each) => each.startsWith("data: "));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

// --- pictures ---

function slot(wanted) {
  const [width, height] = (wanted.size ?? model().size).split("x").map(Number);
  const picture = make("img", { alt: "", width, height, hidden: true });
  const frame = make("div", { className: "frame" }, picture, make("progress", { max: 1, value: 0, ariaLabel: "Painting" }));
  frame.style.aspectRatio = `${width} / ${height}`;
  const caption = make("figcaption", {}, make("span", { className: "prompt", textContent: wanted.prompt, title: wanted.prompt }));
  const facts = make("span", { className: "muted", textContent: "waiting …" });
  caption.append(facts);
  const figure = make("figure", { className: "result busy" }, frame, caption);
  return { figure, frame, picture, caption, facts };
}

function paintInto(place, event, wanted) {
  const type = `image/${event.output_format}`;
  place.picture.src = `data:${type};base64,${event.b64_json}`;
  place.picture.hidden = false;
  place.picture.alt = wanted.prompt;
}

function finish(place, event, wanted, seconds, price) {
  paintInto(place, event, wanted);
  place.figure.classList.remove("busy");
  find("progress", place.frame)?.remove();
  place.facts.textContent = `${wanted.model} · seed ${event.seed} · ${seconds.toFixed(1)} s · ${dollars(price)}`;
  // The address as this page sees the server: it may be known by another name outside.
  const { pathname, search } = new URL(event.url, location.href);
  const again = make("button", { type: "button", className: "small ghost", textContent: "Use these settings" });
  again.addEventListener("click", () => useAgain(wanted, event.seed));
  const name = `${wanted.prompt.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 40) || "picture"}-${event.seed}`;
  const download = make("a", { className: "button small ghost", textContent: "Download", href: pathname + search });
  download.download = `${name}.${event.output_format}`;
  place.caption.append(make("span", { className: "buttons" }, download, again));
}

function useAgain(wanted, seed) {
  field.model.value = wanted.model;
  adapt();
  for (const name of ["prompt", "n", "negative_prompt", "style", "output_format"]) {
    field[name].value = wanted[name] ?? (name === "n" ? 1 : "");
  }
  field.size.value = wanted.size ?? "auto";
  field.quality.value = wanted.quality ?? "auto";
  field.transparent.checked = wanted.background === "transparent";
  field.seed.value = seed;
  refresh();
  field.prompt.focus();
}

// --- the order ---

async function refusalOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

async function paint() {
  const wanted = order();
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  const expected = (model().seconds ?? 5) * Math.max(1, (wanted.n ?? 1) / 2);
  const price = priceOf(wanted) / (wanted.n ?? 1);
  const places = Array.from({ length: wanted.n ?? 1 }, () => slot(wanted));
  find("#results").prepend(...places.map((place) => place.figure));
  find("#latest.empty")?.remove();
  if (matchMedia("(max-width: 56rem)").matches) places[0].figure.scrollIntoView({ block: "center" });
  setBusy(true);
  const clock = setInterval(() => {
    for (const { figure, frame, facts } of places) {
      if (!figure.classList.contains("busy")) continue;
      find("progress", frame).value = Math.min(0.97, seconds() / expected);
      const rest = seconds() < expected ? `, about ${expected.toFixed(expected < 2 ? 1 : 0)} s in all` : "";
      facts.textContent = seconds().toFixed(1) + " s" + rest;
    }
  }, 100);
  underWay = new AbortController();
  let painted = 0;
  try {
    const response = await fetch("/console/playground/generations", {
      method: "POST",
      signal: underWay.signal,
      headers: {
        "accept": "text/event-stream",
        "content-type": "application/json",
        "x-csrf-token": find("meta[name=csrf]").content,
      },
      body: JSON.stringify({ ...wanted, stream: true, ...(model().streaming ? { partial_images: 3 } : {}) }),
    });
    if (!response.ok) throw new Error(await refusalOf(response));
    for await (const event of eventsOf(response)) {
      if (event.error) throw new Error(event.error.message);
      const place = places[event.image_index ?? 0];
      if (event.type.endsWith(".completed")) {
        finish(place, event, wanted, seconds(), price);
        painted += 1;
      } else paintInto(place, event, wanted);
    }
    find("#said").textContent = painted === 1 ? "The picture is painted." : `${painted} pictures are painted.`;
  } catch (error) {
    if (error.name !== "AbortError") toast(error.message, "bad");
    find("#said").textContent = error.name === "AbortError" ? "Stopped." : error.message;
  } finally {
    clearInterval(clock);
    places.filter(({ figure }) => figure.classList.contains("busy")).forEach(({ figure }) => figure.remove());
    setBusy(false);
  }
}

function setBusy(isBusy) {
  find("#paint").disabled = isBusy;
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
find("#stop").addEventListener("click", () => underWay?.abort());
find("#dice").addEventListener("click", () => {
  field.seed.value = crypto.getRandomValues(new Uint32Array(1))[0];
  refresh();
});
adapt();
if (again && models[again.model]) useAgain(again, again.seed);
