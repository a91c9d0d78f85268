// Pictures as they come: a place for each, its bar while it is painted, and what is known of it at the end.

import { find, make } from "./console.js";

export const dollars = (micros) => (micros ? `$${(micros / 1e6).toFixed(6).replace(/(\.\d\d\d*?)0+$/, "$1")}` : "free");

export function slot(prompt, size) {
  const [width, height] = size.split("x").map(Number);
  const picture = make("img", { alt: "", width, height, hidden: true });
  const bar = make("progress", { max: 1, value: 0, ariaLabel: "Painting" });
  const frame = make("div", { className: "frame" }, picture, bar);
  frame.style.aspectRatio = `${width} / ${height}`;
  const facts = make("span", { className: "muted", textContent: "waiting …" });
  const caption = make("figcaption", {}, make("span", { className: "prompt", textContent: prompt, title: prompt }), facts);
  const figure = make("figure", { className: "result busy" }, frame, caption);
  return { figure, picture, bar, caption, facts, prompt };
}

export const isBusy = ({ figure }) => figure.classList.contains("busy");

export function paintInto(place, event) {
  place.picture.src = `data:image/${event.output_format};base64,${event.b64_json}`;
  place.picture.hidden = false;
  place.picture.alt = place.prompt;
}

// `progress`: the last event of it, if there was one. Where nobody knows steps, the bar goes by the usual time.
export function showProgress(places, progress, seconds, usual) {
  const { steps = 1, done = [], queue_position: before = 0 } = progress ?? {};
  const share = done.reduce((sum, each) => sum + each, 0) / (steps * places.length);
  const expected = steps > 1 && share > 0.1 ? seconds / share : usual;
  const time = `${seconds.toFixed(1)} s${seconds < expected ? ` of about ${expected.toFixed(expected < 10 ? 1 : 0)} s` : ""}`;
  places.forEach((place, index) => {
    if (!isBusy(place)) return;
    const step = done[index] ?? 0;
    place.bar.value = steps > 1 ? step / steps : Math.min(0.97, before ? 0 : seconds / expected);
    if (before && !share) place.facts.textContent = `waiting, ${before} before it · ${seconds.toFixed(1)} s`;
    else place.facts.textContent = steps > 1 ? `step ${step} of ${steps} · ${time}` : time;
  });
}

// `actions`: name of a button → what it does.
export function finish(place, event, facts, actions) {
  paintInto(place, event);
  place.figure.classList.remove("busy");
  place.bar.remove();
  place.facts.textContent = facts.filter(Boolean).join(" · ");
  if (event.far) place.caption.append(make("span", { className: "muted far", textContent: event.far }));
  // The address as this page sees the server: it may be known by another name outside.
  const { pathname, search } = new URL(event.url, location.href);
  const download = make("a", { className: "button small ghost", textContent: "Download", href: pathname + search });
  download.download = nameOf(place.prompt, event);
  const buttons = Object.entries(actions).map(([textContent, act]) => {
    const button = make("button", { type: "button", className: "small ghost", textContent });
    button.addEventListener("click", act);
    return button;
  });
  place.caption.append(make("span", { className: "buttons" }, ...buttons, download));
}

export function nameOf(prompt, event) {
  const words = prompt.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 40).replace(/^-|-$/g, "") || "picture";
  return `${words}-${event.seed ?? event.id.slice(-6)}.${event.output_format}`;
}

export function sayProblem(text) {
  const place = find("#problem");
  place.textContent = text;
  place.hidden = !text;
  if (text) place.scrollIntoView({ block: "nearest" });
}
