// Who types a cron expression means it: its radio button is chosen along.
"use strict";

document.addEventListener("input", (event) => {
  const field = event.target.closest("[data-selects]");
  if (field) document.getElementById(field.dataset.selects).checked = true;
});
