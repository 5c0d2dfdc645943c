// What every page does: dialogs, menus, toasts, ticking times, and the live socket where the page has one.
import { startLive } from "./live.js";

const dialog = document.getElementById("dialog");
const toasts = document.getElementById("toasts");

document.documentElement.classList.add("js");

function toast(words, tone = "good") {
  const note = document.createElement("div");
  note.className = "toast";
  const dot = document.createElement("span");
  dot.className = `dot ${tone}`;
  note.append(dot, words);
  toasts.append(note);
  forget(note);
}

function forget(note) {
  setTimeout(() => note.remove(), 7000);
}

for (const note of toasts.children) forget(note);

// ── dialogs: whatever htmx puts into #dialog is shown; nothing in it is changed by the live socket ──
// The focus begins at the first field, and goes back to what opened the dialog: of a menu, which has closed, to its button.
const FIRST = "[autofocus], select, input:not([type=hidden]), textarea";
let opener = null;

document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (detail.target !== dialog || dialog.open) return;
  opener = detail.requestConfig?.elt;
  dialog.showModal();
  dialog.querySelector(FIRST)?.focus();
});
dialog.addEventListener("close", () => {
  dialog.replaceChildren();
  if (document.activeElement === document.body) (opener?.closest("details")?.querySelector("summary") ?? opener)?.focus();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});

document.addEventListener("berth:done", ({ detail }) => {
  dialog.close();
  toast(detail.words);
  live?.catchUp();
});
document.addEventListener("htmx:responseError", ({ detail }) => {
  const status = detail.xhr.status;
  const trouble = detail.xhr.getResponseHeader("Berth-Trouble");
  if (trouble) toast(trouble, "bad");
  else if (status === 403) toast("You may not do this any more. Reload the page.", "bad");
  else if (status === 404) toast("It is not there any more. Reload the page.", "bad");
  else toast(`The panel answered ${status}. Its log says why; nothing was changed.`, "bad");
});
document.addEventListener("htmx:sendError", () => toast("The panel cannot be reached. Nothing was changed.", "bad"));

// ── a narrow screen's navigation begins at the page that is open ──
document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// ── the second click of a double click asks for nothing: neither the same again nor what has just come under the pointer ──
document.addEventListener(
  "click",
  (event) => {
    if (event.detail < 2 || !event.target.closest("button")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  },
  true,
);

// ── menus close on a click elsewhere and on Escape ──
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target) || event.target.closest(".item")) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details.menu[open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// ── "Load a model" leads to the panel where the page has it ──
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-focus]");
  const panel = link && document.getElementById(link.dataset.focus);
  const field = panel?.querySelector("select, input:not([type=hidden])");
  if (!field) return;
  event.preventDefault();
  panel.scrollIntoView({ block: "nearest" });
  field.focus();
});

// ── times that tick; the server's text stands until then ──
function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (number) => String(number).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  return hours ? `${hours}:${pad(minutes)}:${pad(rest)}` : `${minutes}:${pad(rest)}`;
}

function tick() {
  const now = Date.now();
  for (const element of document.querySelectorAll("[data-until], [data-since]")) {
    const { until, since } = element.dataset;
    const words = clock((until ? Date.parse(until) - now : now - Date.parse(since)) / 1000);
    if (element.textContent !== words) element.textContent = words;
  }
}
setInterval(tick, 1000);
tick();

// ── what a load would take and leave is reckoned anew once operations have changed it; what is chosen stays as it is ──
const CALM = 500;
let calm = 0;

function chosen(form) {
  const fields = new URLSearchParams(new FormData(form));
  fields.delete("csrfmiddlewaretoken");
  return fields.toString();
}

async function reckonAnew() {
  const form = document.querySelector("#load-panel form");
  if (!form?.querySelector(".fit")) return;
  const asked = chosen(form);
  const address = form.querySelector(".fields").getAttribute("hx-get");
  const answer = await fetch(`${address}?${asked}`, { headers: { "HX-Request": "true", "HX-Target": "load-panel" } });
  const fresh = new DOMParser().parseFromString(answer.ok ? await answer.text() : "", "text/html");
  if (chosen(form) !== asked) return; // by then it is another load
  for (const part of [".fit", ".reckoning"]) {
    const [old, now] = [form.querySelector(part), fresh.querySelector(part)];
    if (!old || !now || old.contains(document.activeElement)) continue;
    old.replaceWith(now);
    htmx.process(now);
  }
}

const live = startLive({
  afterChange(topics) {
    tick();
    if (!topics.includes("operation")) return;
    clearTimeout(calm);
    calm = setTimeout(() => reckonAnew().catch(() => {}), CALM); // the live socket says that the panel is away
  },
});
