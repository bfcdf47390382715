// What every page does by itself: keep up to date, tell what happened, and obey the keyboard.
"use strict";

const ACTIVE_MS = 3000; // somebody looks and moves
const IDLE_MS = 60000; // the tab is hidden, or nobody has touched it for a while
const IDLE_AFTER_MS = 120000;

let lastTouched = Date.now();
let updatedAt = Date.now();
let timer = 0;

const live = () => document.getElementById("live");

// --- Keeping up to date -----------------------------------------------------------------------

function isIdle() {
  return document.hidden || Date.now() - lastTouched > IDLE_AFTER_MS;
}

function poll() {
  clearTimeout(timer);
  const main = live();
  if (main && main.hasAttribute("data-poll") && !main.classList.contains("htmx-request")) {
    htmx.trigger(main, "poll");
  }
  timer = setTimeout(poll, isIdle() ? IDLE_MS : ACTIVE_MS);
}

function touched() {
  const wasIdle = isIdle();
  lastTouched = Date.now();
  if (wasIdle && !document.hidden) poll();
}

for (const kind of ["pointermove", "keydown", "scroll", "focus"]) {
  addEventListener(kind, touched, { passive: true, capture: true });
}
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) touched();
});

function isPoll(event) {
  const context = event.detail && event.detail.ctx;
  const source = context && context.sourceElement;
  return source && (source === live() || source.matches(".tail")); // a log that grows asks too
}

document.addEventListener("htmx:after:swap", () => {
  updatedAt = Date.now();
  document.getElementById("connection").hidden = true;
  showTrouble();
  showUpdated();
  restoreFocus();
});
document.addEventListener("htmx:error", (event) => {
  if (isPoll(event) || !event.detail.ctx) showDisconnected();
  else tell("The server does not answer. Nothing was changed.", "error");
});
document.addEventListener("htmx:response:error", (event) => {
  const { status } = event.detail.ctx.response;
  if (isPoll(event)) {
    if (status >= 500) showDisconnected();
  } else if (status !== 401) {
    tell(event.detail.ctx.text || "That did not work.", "error");
  }
});

function showDisconnected() {
  const bar = document.getElementById("connection");
  bar.querySelector("span").textContent = `${secondsSince(updatedAt)} s ago`;
  bar.hidden = false;
}

function secondsSince(instant) {
  return Math.max(0, Math.round((Date.now() - instant) / 1000));
}

function showUpdated() {
  const place = document.getElementById("updated");
  if (live() && live().hasAttribute("data-poll")) {
    place.textContent = `updated ${secondsSince(updatedAt)} s ago`;
  }
}

// The title and the tab's icon tell of trouble to those who look elsewhere.
function showTrouble() {
  const count = Number((live() && live().dataset.troubleCount) || 0);
  document.title = document.title.replace(/^\(\d+\) /, "");
  if (count) document.title = `(${count}) ${document.title}`;
  const icon = document.querySelector("link[rel=icon]");
  icon.href = count ? icon.dataset.trouble : icon.dataset.well;
}

// --- Telling ----------------------------------------------------------------------------------

function tell(text, kind) {
  const toast = document.createElement("div");
  toast.className = `toast ${kind || ""}`;
  toast.textContent = text;
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), kind === "error" ? 12000 : 6000);
}

// The server's answer to an action names this event in HX-Trigger.
document.addEventListener("told", (event) => {
  tell(event.detail.text, event.detail.kind);
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  poll();
});

// --- Clicks -----------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).showModal();
  const copier = event.target.closest("[data-copies]");
  if (copier) {
    navigator.clipboard
      .writeText(document.getElementById(copier.dataset.copies).textContent)
      .then(() => tell("Copied."), () => tell("The browser does not let us copy.", "error"));
  }
  const closer = event.target.closest("[data-closes]");
  if (closer) closer.closest("dialog").close();
});

// A box that ticks all others of its table; buttons of such a table say how many they act on.
document.addEventListener("change", (event) => {
  const all = event.target.closest("[data-ticks-all]");
  if (all) {
    for (const box of document.querySelectorAll(`input[name="${all.dataset.ticksAll}"]`)) {
      box.checked = all.checked;
    }
  }
  showCounts();
});

function showCounts() {
  for (const button of document.querySelectorAll("button[data-counts]")) {
    const count = document.querySelectorAll(`input[name="${button.dataset.counts}"]:checked`).length;
    button.disabled = count === 0;
    button.textContent = button.dataset.label.replace("#", count);
  }
}

// --- Keys -------------------------------------------------------------------------------------

let focusedCell = null;

function restoreFocus() {
  showCounts();
  const grid = document.querySelector("[role=grid]");
  if (!grid) return;
  const cells = grid.querySelectorAll("[data-cell]");
  const current = focusedCell && document.getElementById(focusedCell);
  for (const cell of cells) cell.tabIndex = -1;
  const first = current || cells[0];
  if (first) first.tabIndex = 0;
}

document.addEventListener("focusin", (event) => {
  const cell = event.target.closest("[data-cell]");
  if (!cell) return;
  focusedCell = cell.id;
  restoreFocus();
});

function moveInGrid(event, cell) {
  const row = cell.closest("tr");
  const inRow = [...row.querySelectorAll("[data-cell]")];
  const column = inRow.indexOf(cell);
  const rows = [...row.parentElement.children];
  const number = rows.indexOf(row);
  const target = {
    ArrowLeft: () => inRow[column - 1],
    ArrowRight: () => inRow[column + 1],
    Home: () => inRow[0],
    End: () => inRow[inRow.length - 1],
    ArrowUp: () => rows[number - 1] && rows[number - 1].querySelectorAll("[data-cell]")[column],
    ArrowDown: () => rows[number + 1] && rows[number + 1].querySelectorAll("[data-cell]")[column],
  }[event.key];
  if (!target) return;
  event.preventDefault();
  const next = target();
  if (next) next.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const cell = event.target.closest && event.target.closest("[data-cell]");
  if (cell) moveInGrid(event, cell);
  if (event.target.matches("input, textarea, select")) return;
  if (event.key === "/") {
    const search = document.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  } else if (event.key === "?") {
    document.getElementById("keys").showModal();
  } else if (event.key === "Escape") {
    const close = document.querySelector("[data-close-drawer]");
    if (close) close.click();
  }
});

// --- Beginning --------------------------------------------------------------------------------

document.addEventListener("DOMContentLoaded", () => {
  showTrouble();
  showUpdated();
  restoreFocus();
  for (const current of document.querySelectorAll("nav [aria-current]")) {
    const row = current.closest("nav"); // on a phone it scrolls, and this may lie aside
    row.scrollLeft = current.offsetLeft - row.offsetLeft - 40;
  }
  const zones = document.getElementById("zones");
  if (zones && Intl.supportedValuesOf) {
    for (const zone of ["UTC", ...Intl.supportedValuesOf("timeZone")]) {
      zones.append(new Option(zone, zone));
    }
  }
  setInterval(showUpdated, 1000);
  if (document.querySelector("[data-retry]")) setTimeout(() => location.reload(), 5000);
  timer = setTimeout(poll, ACTIVE_MS);
});
