// The page of one model: its backends are asked in the order of their rows, which the buttons move.

import { all } from "./console.js";

function move(button) {
  const row = button.closest("tr");
  const goesDown = button.dataset.move === "1";
  const other = goesDown ? row.nextElementSibling : row.previousElementSibling;
  if (!other) return;
  if (goesDown) other.after(row);
  else other.before(row);
  // At an end one of the two buttons is hidden, and cannot have the focus.
  button.focus();
  if (document.activeElement !== button) all("[data-move]", row).find((each) => each !== button).focus();
}

for (const button of all("[data-move]")) button.addEventListener("click", () => move(button));
