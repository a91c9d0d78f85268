// The lightbox of the gallery and the playground: one picture, large, with all that is known of it.

import { all, find, make } from "./console.js";

const lightbox = find("#lightbox");
const large = find("#large");

export function describe(picture) {
  find("#broken").hidden = true;
  large.hidden = false;
  Object.assign(large, { alt: picture.prompt, width: picture.width, height: picture.height, src: picture.file });
  // Until it is there, the thumbnail stands for it.
  large.style.background = `center / contain no-repeat url("${picture.thumbnail}")`;
  all("[data-say]", lightbox).forEach((place) => (place.textContent = picture[place.dataset.say]));
  for (const link of all("[data-to]", lightbox)) {
    link.href = picture[link.dataset.to];
    link.hidden = !picture[link.dataset.to];
  }
  find("[download]", lightbox).download = picture.name;
  find(".address", lightbox).hidden = !picture.url;
  find(".over-hint", lightbox).hidden = Boolean(picture.url);
  const when = find("time", lightbox);
  when.dateTime = picture.when;
  when.textContent = new Date(picture.when).toLocaleString();
  const facts = find("[data-facts]", lightbox);
  facts.replaceChildren(facts.firstElementChild);
  for (const [name, value] of picture.facts) {
    const className = ["Order", "SHA-256"].includes(name) ? "mono" : "";
    if (value) facts.append(make("div", {}, make("dt", { textContent: name }), make("dd", { textContent: value, className })));
  }
  find(".details", lightbox).scrollTop = 0;
  if (!lightbox.open) lightbox.showModal();
}

// `turn` is told the way: 1 to older pictures, -1 to newer ones.
export function onTurn(turn) {
  find("#back").addEventListener("click", () => turn(-1));
  find("#on").addEventListener("click", () => turn(1));
  lightbox.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && !event.target.matches("pre")) turn(step);
  });
}

large.addEventListener("error", () => {
  large.hidden = true;
  find("#broken").hidden = false;
});
large.addEventListener("load", () => (large.style.background = ""));
lightbox.addEventListener("click", (event) => event.target === lightbox && lightbox.close());
lightbox.addEventListener("close", () => large.removeAttribute("src"));
