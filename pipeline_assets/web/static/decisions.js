// Deciding of one item after another by keyboard. The page has cards `[data-item]`, each with an id
// and buttons `[data-key]` of the form `#decide`, whose reason goes with every decision.
"use strict";

let waiting = null; // the button that was pressed before there was a reason
const awaited = new Map(); // by a card's id the request that decides of it, until the page shows it

const items = () => [...document.querySelectorAll("[data-item]")];
const currentItem = () => document.activeElement && document.activeElement.closest("[data-item]");

function moveTo(card) {
  if (!card) return;
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

function neighbour(card, step) {
  const all = items();
  return card ? all[all.indexOf(card) + step] : all[0];
}

// A card that can be decided with this key presses its button; without a reason it asks for one.
function press(card, key) {
  const button = [...card.querySelectorAll("button[data-key]")].find((each) => each.dataset.key === key);
  if (button) button.click();
  return Boolean(button);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  waiting = null;
  if (!button.form || button.form.id !== "decide") return;
  const reason = button.form.elements.reason;
  if (!reason.value.trim()) {
    event.preventDefault();
    waiting = button;
    reason.setCustomValidity("Say why, for those who wonder.");
    reason.reportValidity();
  } else if (decidedBy(button).some(isAwaited)) {
    event.preventDefault(); // its answer comes
  }
});

document.addEventListener("input", (event) => {
  if (event.target.name === "reason") event.target.setCustomValidity("");
});

// The cards that a button decides of: its own, or all that are ticked.
function decidedBy(button) {
  const card = button.closest("[data-item]");
  return card ? [card] : items().filter((each) => each.querySelector("[name=item]:checked"));
}

const isAwaited = (card) => awaited.has(card.id);

function showAwaited() {
  for (const card of items()) {
    if (isAwaited(card)) card.setAttribute("aria-busy", "true");
    else card.removeAttribute("aria-busy");
  }
}

const isDecision = (ctx) => ctx.sourceElement.id === "decide";

// A decided card may leave the list: go on at once. It takes no other decision until the page has
// brought itself up to date, or the request has failed.
document.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
  if (!isDecision(ctx)) return;
  const button = ctx.request.submitter;
  for (const card of decidedBy(button)) awaited.set(card.id, ctx);
  showAwaited();
  const card = button.closest("[data-item]");
  if (!card) return;
  const all = items();
  const at = all.indexOf(card);
  moveTo([...all.slice(at + 1), ...all.slice(0, at).reverse()].find((each) => !isAwaited(each)));
});

document.addEventListener("htmx:after:request", ({ detail: { ctx } }) => {
  if (!isDecision(ctx) || ctx.response.status >= 400) return;
  ctx.isDone = true;
  if (ctx.request.submitter.name === "decision") untick(); // else the next would be about them too
});

// The poll that begins after an answer shows what was decided; one under way may not.
document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
  if (ctx.sourceElement !== live()) return;
  ctx.shows = new Set([...awaited.values()].filter((request) => request.isDone));
});

document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
  for (const [id, request] of awaited) {
    const isOver = request === ctx ? !ctx.isDone : ctx.shows && ctx.shows.has(request);
    if (isOver) awaited.delete(id);
  }
  showAwaited();
});
document.addEventListener("htmx:after:swap", showAwaited);

function untick() {
  for (const box of document.querySelectorAll("[name=item], [data-ticks-all=item]")) {
    box.checked = false;
  }
  showCounts();
}

function pressedInReason(event) {
  if (event.key === "Enter") {
    event.preventDefault(); // else it would press the first button of the page
    if (waiting && waiting.isConnected) waiting.click();
  } else if (event.key === "Escape") {
    moveTo(waiting && waiting.closest("[data-item]"));
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { target, key } = event;
  if (target.name === "reason" && target.form.id === "decide") pressedInReason(event);
  if (target.matches("input:not([type=checkbox]), textarea, select")) return;
  const card = currentItem();
  const arrow = target === card ? { ArrowDown: 1, ArrowUp: -1 }[key] : 0; // elsewhere they scroll
  const step = { j: 1, k: -1 }[key] || arrow;
  if (step) {
    event.preventDefault();
    moveTo(neighbour(card, step));
  } else if (card && key === "x") {
    const box = card.querySelector("input[type=checkbox]");
    if (box) box.click();
  } else if (card && press(card, key)) {
    event.preventDefault();
  }
});
