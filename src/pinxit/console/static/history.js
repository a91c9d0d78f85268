// The latest pictures, small: one is looked at large by a click, and the strip grows as pictures are made.

import { find, make, toast } from "./console.js";
import { describe, onTurn } from "./picture.js";

let pictures = [];
let shown = -1;

export const shownPicture = () => pictures[shown];

function show(index) {
  shown = index;
  describe(pictures[index]);
  find("#back").disabled = index === 0;
  find("#on").disabled = index === pictures.length - 1;
}

function thumb(picture, index) {
  const image = make("img", { alt: picture.prompt, width: picture.width, height: picture.height });
  image.src = picture.thumbnail;
  const link = make("a", { className: "thumb", href: picture.page, title: picture.prompt }, image);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(index);
  });
  return link;
}

export function fill(latest) {
  pictures = latest;
  find("#strip").replaceChildren(...pictures.map(thumb));
  find("#history").hidden = !pictures.length;
}

export async function renew() {
  try {
    const response = await fetch("/console/playground/latest", { headers: { accept: "application/json" } });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error.message);
    if (!find("#lightbox").open) fill(answer.pictures);
  } catch (error) {
    toast(`The latest pictures could not be loaded: ${error.message}`, "bad");
  }
}

onTurn((step) => pictures[shown + step] && show(shown + step));
