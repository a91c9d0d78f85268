// A brush over the picture: where to paint anew. The mask is a PNG as OpenAI reads it, transparent where to paint.

import { find, make } from "./console.js";

// Of the canvas that is brushed on; the mask itself has the picture's size.
const MAX_SIDE = 1024;
const COLOUR = "#f43f5e";
const canvas = find("#mask");
const ring = find("#ring");
const context = canvas.getContext("2d", { willReadFrequently: true });
const buttons = [find("#mask-undo"), find("#mask-clear")];
let picture = { width: 1, height: 1 };
let strokes = [];
let current = null;
let cursor = [0, 0];

const longer = () => Math.max(canvas.width, canvas.height);

// A stroke without points is one that cleared everything.
function draw({ points, width, isEraser }, from = 0) {
  if (!points.length) return context.clearRect(0, 0, canvas.width, canvas.height);
  Object.assign(context, { lineCap: "round", lineJoin: "round", lineWidth: width, strokeStyle: COLOUR });
  context.globalCompositeOperation = isEraser ? "destination-out" : "source-over";
  context.beginPath();
  context.moveTo(...points[from]);
  context.lineTo(points[from][0] + 0.01, points[from][1]);
  for (const point of points.slice(from + 1)) context.lineTo(...point);
  context.stroke();
}

function changed() {
  buttons.forEach((button) => (button.disabled = !strokes.length));
  canvas.dispatchEvent(new Event("input", { bubbles: true }));
}

function redraw() {
  context.clearRect(0, 0, canvas.width, canvas.height);
  strokes.forEach((stroke) => draw(stroke));
  changed();
}

function begin(point) {
  const isEraser = find("[name=tool]:checked").value === "eraser";
  // The eraser is a little wider than the brush, so that no soft edge of a stroke is left.
  const width = (find("#brush-size").value / 100) * longer() * (isEraser ? 1.15 : 1);
  current = { points: [point], width, isEraser };
  strokes.push(current);
  draw(current);
}

function extend(points) {
  const from = current.points.length - 1;
  current.points.push(...points);
  draw(current, from);
}

function end() {
  if (!current) return;
  current = null;
  changed();
}

// --- where the brush is ---

function pointOf(event) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return [((event.clientX - left) / width) * canvas.width, ((event.clientY - top) / height) * canvas.height];
}

function moveRing() {
  const scale = canvas.clientWidth / canvas.width;
  const side = (find("#brush-size").value / 100) * longer() * scale;
  Object.assign(ring.style, {
    width: `${side}px`,
    height: `${side}px`,
    left: `${cursor[0] * scale - side / 2}px`,
    top: `${cursor[1] * scale - side / 2}px`,
  });
  ring.hidden = false;
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button || current) return;
  canvas.setPointerCapture(event.pointerId);
  cursor = pointOf(event);
  begin(cursor);
  moveRing();
});
canvas.addEventListener("pointermove", (event) => {
  cursor = pointOf(event);
  moveRing();
  if (!current || !canvas.hasPointerCapture(event.pointerId)) return;
  const all = event.getCoalescedEvents();
  extend((all.length ? all : [event]).map(pointOf));
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, end);
for (const name of ["pointerleave", "blur"]) canvas.addEventListener(name, () => (ring.hidden = true));
canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && moveRing());
canvas.addEventListener("keydown", (event) => {
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!move && event.key !== " ") return;
  event.preventDefault();
  const step = longer() / 32;
  if (move) cursor = [0, 1].map((axis) => Math.min([canvas.width, canvas.height][axis], Math.max(0, cursor[axis] + move[axis] * step)));
  else {
    begin(cursor);
    end();
  }
  moveRing();
});
find("#brush-size").addEventListener("input", () => ring.hidden || moveRing());
find("#mask-undo").addEventListener("click", () => {
  strokes.pop();
  redraw();
});
find("#mask-clear").addEventListener("click", () => {
  strokes.push({ points: [] });
  redraw();
});

// --- for the order ---

// An empty mask for a picture of this size.
export function prepare({ width, height }) {
  picture = { width, height };
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  Object.assign(canvas, { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) });
  cursor = [canvas.width / 2, canvas.height / 2];
  strokes = [];
  redraw();
}

function isPainted() {
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value, place) => place % 4 === 3 && value > 64);
}

export async function fileOf() {
  if (!isPainted()) throw new Error("Brush over what is to change, or choose the whole picture.");
  const whole = make("canvas", picture);
  const paper = whole.getContext("2d");
  paper.fillRect(0, 0, picture.width, picture.height);
  paper.globalCompositeOperation = "destination-out";
  paper.drawImage(canvas, 0, 0, picture.width, picture.height);
  const file = await new Promise((resolve) => whole.toBlob(resolve, "image/png"));
  if (!file) throw new Error("This browser could not make the mask: the picture is too large for it.");
  return file;
}
