// What every page shares: menu, theme, dialogs, tabs, copying, toasts. Pages work by plain links and forms below it.

const root = document.documentElement;
export const find = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];

export function make(tag, properties = {}, ...children) {
  const { dataset, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, dataset ?? {});
  element.append(...children);
  return element;
}

export function toast(text, kind = "") {
  const note = make("p", { className: `toast ${kind}`, textContent: text });
  find("#toasts").append(note);
  fade(note);
}

function fade(note) {
  setTimeout(() => note.remove(), note.classList.contains("bad") ? 9000 : 5000);
}

// --- theme ---

const THEMES = ["system", "light", "dark"];

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? "system") + 1) % THEMES.length];
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Then it holds for this page only.
  }
  nameTheme();
}

function nameTheme() {
  const name = find("#theme-name");
  if (name) name.textContent = root.dataset.theme ?? "system";
}

// --- the menu of a phone ---

function setMenu(isOpen) {
  document.body.classList.toggle("menu-open", isOpen);
  find("#menu-button").setAttribute("aria-expanded", String(isOpen));
  find("#main").inert = isOpen;
  if (isOpen) find("#sidebar a").focus();
  else find("#menu-button").focus();
}

function prepareMenu() {
  const button = find("#menu-button");
  if (!button) return;
  button.addEventListener("click", () => setMenu(!document.body.classList.contains("menu-open")));
  find("#shade").addEventListener("click", () => setMenu(false));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && document.body.classList.contains("menu-open")) setMenu(false);
  });
}

// --- dialogs ---

export function open(dialog) {
  dialog.showModal();
  (find("[autofocus]", dialog) ?? find("input:not([type=hidden]), select, textarea, button.primary", dialog))?.focus();
}

function confirmed(form) {
  const dialog = make("dialog", { className: "confirm" });
  const yes = make("button", { type: "button", className: "danger solid", textContent: form.dataset.confirmButton });
  const no = make("button", { type: "button", textContent: "Cancel" });
  const text = make("p", { textContent: form.dataset.confirm, id: "confirm-text" });
  dialog.setAttribute("aria-labelledby", "confirm-text");
  dialog.append(text, make("div", { className: "buttons" }, no, yes));
  document.body.append(dialog);
  dialog.showModal();
  no.focus();
  return new Promise((resolve) => {
    yes.addEventListener("click", () => dialog.close("yes"));
    no.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
  });
}

async function beforeSubmit(event) {
  const form = event.target;
  if (form.dataset.confirm && !form.dataset.confirmed) {
    event.preventDefault();
    if (!(await confirmed(form))) return;
    form.dataset.confirmed = "yes";
    form.requestSubmit();
    return;
  }
  // A second click must not send it twice.
  setTimeout(() => all("button:not([type=button])", form).forEach((button) => (button.disabled = true)));
}

// --- clicks, wherever they are ---

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Without https there is no clipboard for scripts: the text is selected, for Ctrl+C.
    getSelection().selectAllChildren(source);
    toast("Selected: press Ctrl+C to copy.");
    return;
  }
  const label = find("span", button);
  label.textContent = "Copied";
  setTimeout(() => (label.textContent = "Copy"), 2000);
}

export function selectTab(tab) {
  for (const other of all("[role=tab]", tab.parentElement)) {
    const isThis = other === tab;
    other.setAttribute("aria-selected", String(isThis));
    other.tabIndex = isThis ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !isThis;
  }
}

function onClick(event) {
  const target = event.target.closest("[data-opens], [data-closes], [data-copy], [role=tab], #theme-button");
  if (!target) return;
  if (target.dataset.opens) open(document.getElementById(target.dataset.opens));
  else if ("closes" in target.dataset) target.closest("dialog").close();
  else if (target.dataset.copy) copy(target);
  else if (target.id === "theme-button") nextTheme();
  else selectTab(target);
}

function onKey(event) {
  if (!event.target.matches("[role=tab]")) return;
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = all("[role=tab]", event.target.parentElement);
  const next = tabs.at((tabs.indexOf(event.target) + step) % tabs.length);
  selectTab(next);
  next.focus();
}

// A choice may show or hide a part of its form, or stand for several fields: data-sets="role=admin,account=shared".
function onChange(event) {
  const { shows, hides } = event.target.dataset ?? {};
  if (shows) document.getElementById(shows).hidden = false;
  if (hides) document.getElementById(hides).hidden = true;
  for (const pair of event.target.dataset?.sets?.split(",") ?? []) {
    const [name, value] = pair.split("=");
    event.target.form.elements[name].value = value;
  }
}

// --- when the page is there ---

nameTheme();
prepareMenu();
document.addEventListener("click", onClick);
document.addEventListener("keydown", onKey);
document.addEventListener("change", onChange);
document.addEventListener("submit", beforeSubmit);
all("time").forEach((time) => (time.title = new Date(time.dateTime).toLocaleString()));
all("#toasts .toast").forEach(fade);
all("dialog[data-shown]").forEach((dialog) => {
  open(dialog);
  // What was shown once is not made anew by a reload.
  if (dialog.dataset.forget) history.replaceState(null, "", dialog.dataset.forget);
});
const shown = new URL(location.href);
if (shown.searchParams.has("done")) {
  shown.searchParams.delete("done");
  history.replaceState(null, "", shown);
}
