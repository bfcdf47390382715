// Deciding of one item after another by keyboard. The page has cards `[data-item]`, each with an id
// and buttons `[data-key]` of the form `#decide`, whose reason goes with every decision.
"use strict";

let waiting = null; // the button that was pressed before there was a reason
let nextItem = null; // the id of the card that comes after the one just decided
let isOfTicked = false; // whether the decision just made is about all that are ticked

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
  waiting = nextItem = null;
  isOfTicked = false;
  if (!button.form || button.form.id !== "decide") return;
  const reason = button.form.elements.reason;
  if (!reason.value.trim()) {
    event.preventDefault();
    waiting = button;
    reason.setCustomValidity("Say why, for those who wonder.");
    reason.reportValidity();
    return;
  }
  const card = button.closest("[data-item]");
  const next = card && (neighbour(card, 1) || neighbour(card, -1));
  nextItem = next ? next.id : null;
  isOfTicked = button.name === "decision";
});

document.addEventListener("input", (event) => {
  if (event.target.name === "reason") event.target.setCustomValidity("");
});

// The decided card may leave the list when the page brings itself up to date: go on before.
document.addEventListener("told", () => {
  if (nextItem) moveTo(document.getElementById(nextItem));
  if (isOfTicked) untick(); // else the next decision would be about them too
  nextItem = null;
  isOfTicked = false;
});

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
