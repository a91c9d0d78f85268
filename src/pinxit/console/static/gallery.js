// The gallery: further pictures as one scrolls, and a lightbox. Without it there are links to the same.

import { all, find, make, toast } from "./console.js";
import { describe, onTurn } from "./picture.js";

const gallery = find("#gallery");
const onward = find("#onward");
const lightbox = find("#lightbox");
const form = find("#delete");
// So many pictures share a grid, which is emptied while it is far out of sight: a page of 100 000 stays as quick as one
// of 500.
const IN_A_GRID = 240;
const folded = new Map();
let shown = null;
let isLoading = false;

// --- further pictures ---

function tileOf(picture) {
  const tile = find("#tile").content.firstElementChild.cloneNode(true);
  const image = find("img", tile);
  tile.href = picture.page;
  tile.dataset.rows = picture.rows;
  tile.dataset.picture = JSON.stringify(picture);
  find(".over", tile).textContent = picture.prompt;
  Object.assign(image, { alt: picture.prompt, width: picture.width, height: picture.height });
  image.src = picture.thumbnail; // last: `loading` is to be known by then
  return tile;
}

function append(pictures) {
  for (const picture of pictures) {
    let grid = gallery.lastElementChild;
    if (!grid || grid.childElementCount >= IN_A_GRID) {
      gallery.append((grid = make("div", { className: "masonry" })));
      folder.observe(grid);
    }
    grid.append(tileOf(picture));
  }
}

function fold(grid) {
  grid.style.height = `${grid.offsetHeight}px`;
  folded.set(grid, [...grid.children]);
  grid.replaceChildren();
}

function unfold(grid) {
  if (!folded.has(grid)) return;
  grid.append(...folded.get(grid));
  grid.style.height = "";
  folded.delete(grid);
}

const folder = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) unfold(target);
      else if (target.nextElementSibling && !folded.has(target) && !target.contains(shown)) fold(target);
    }
  },
  { rootMargin: "3000px" },
);

async function answerOf(path, options) {
  const response = await fetch(path, { headers: { accept: "application/json" }, ...options });
  const answer = response.status === 204 ? null : await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}

function say(text) {
  find("#progress").textContent = text;
}

// One look may find nothing and still not be at the end: then the next follows at once.
async function load() {
  if (isLoading || !onward.dataset.onward) return;
  isLoading = true;
  onward.classList.add("busy");
  try {
    const answer = await answerOf(`/console/gallery/pictures?${onward.dataset.onward}`);
    append(answer.pictures);
    onward.dataset.onward = answer.onward;
    onward.hidden = !answer.onward;
    find("#more").href = `/console/gallery?${answer.onward}`;
    const isSearch = answer.onward.split("&").length > 1;
    say(isSearch ? `Looked back to ${new Date(answer.reached).toLocaleString()}` : "");
    find("#nothing").hidden = gallery.childElementCount > 0 || Boolean(answer.onward);
  } catch (error) {
    say(`Further pictures could not be loaded: ${error.message}`);
    find("#more").textContent = "Try again";
    return;
  } finally {
    isLoading = false;
    onward.classList.remove("busy");
  }
  // The watcher tells changes only: while the end stays in sight, it has to look anew.
  watcher.unobserve(onward);
  watcher.observe(onward);
}

const watcher = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && load(), {
  rootMargin: "1200px",
});

// --- the lightbox ---

const tiles = () => all(".tile", gallery);

function neighbour(step) {
  const next = step > 0 ? shown.nextElementSibling : shown.previousElementSibling;
  if (next) return next;
  const grid = step > 0 ? shown.parentElement.nextElementSibling : shown.parentElement.previousElementSibling;
  if (grid) unfold(grid);
  return step > 0 ? grid?.firstElementChild : grid?.lastElementChild;
}

function show(tile) {
  shown = tile;
  const picture = JSON.parse(tile.dataset.picture);
  describe(picture);
  form.action = `${picture.page}/delete`;
  find("#back").disabled = !neighbour(-1);
  find("#on").disabled = !neighbour(1);
  if (!neighbour(1)) load().then(() => shown && (find("#on").disabled = !neighbour(1)));
}

function turn(step) {
  const next = neighbour(step);
  if (next) show(next);
}

async function remove() {
  const tile = shown;
  try {
    await answerOf(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
  } catch (error) {
    toast(error.message, "bad");
    find("#delete-button").disabled = false;
    return;
  }
  find("#delete-button").disabled = false;
  const next = neighbour(1) ?? neighbour(-1);
  const grid = tile.parentElement;
  tile.remove();
  if (!grid.childElementCount) grid.remove();
  toast("The picture is deleted.");
  if (next && lightbox.open) show(next);
  else lightbox.close();
  if (!gallery.childElementCount && !onward.dataset.onward) location.reload();
}

gallery.addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (!tile || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(tile);
});
// `error` does not bubble.
gallery.addEventListener("error", (event) => event.target.closest(".tile")?.classList.add("broken"), true);
onTurn(turn);
lightbox.addEventListener("close", () => {
  const tile = shown;
  shown = null;
  (tile?.isConnected ? tile : tiles()[0])?.focus();
});
// The question was asked (see console.js): now it is sent from here, so that nobody loses their place.
form.addEventListener("submit", (event) => {
  if (!form.dataset.confirmed) return;
  event.preventDefault();
  event.stopPropagation();
  delete form.dataset.confirmed;
  remove();
});
find("#more").addEventListener("click", (event) => {
  event.preventDefault();
  find("#more").textContent = "Show more";
  load();
});
for (const select of all("#filters select")) select.addEventListener("change", () => select.form.requestSubmit());
all(".masonry", gallery).forEach((grid) => folder.observe(grid));
if (onward.dataset.onward) watcher.observe(onward);
