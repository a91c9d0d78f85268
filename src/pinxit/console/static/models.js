// The page of one model: its backends are asked in the order of their rows, which the buttons move.

import { all, find } from "./console.js";

function move(button) {
  const row = button.closest("tr");
  const other = button.dataset.move === "1" ? row.nextElementSibling : row.previousElementSibling;
  if (!other) return;
  if (button.dataset.move === "1") other.after(row);
  else other.before(row);
  button.focus();
}

for (const button of all("[data-move]", find("#model-settings"))) button.addEventListener("click", () => move(button));
