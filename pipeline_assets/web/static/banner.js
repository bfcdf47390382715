// The freshness banner for pages of any site:
//   <script defer src="https://host/static/banner.js" data-brand="acme" data-page="ad_performance"
//           data-token="pa_…"></script>
// shows the page's readiness right after itself and keeps it up to date. The token is readable by
// everybody who can read the page: make one with the role embed, which reads readiness alone.
// Without data-brand the answer is across all brands.
"use strict";

(() => {
  const script = document.currentScript;
  const BUSY_MS = 10_000; // it is being refreshed, or the server is away
  const CALM_MS = 60_000;
  const LONGEST_MS = 300_000;

  const CSS = `
    :host { display: block; font: 15px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; color-scheme: light dark; }
    p { margin: 0 0 .5rem; padding: .55rem .8rem; border-radius: 8px; border-left: 4px solid; overflow-wrap: anywhere; color: #1c2126; }
    .ok { background: #e3f4ef; border-color: #00735c; } .info { background: #e4f0fa; border-color: #0a5fa5; }
    .warning { background: #fdf1d6; border-color: #8a5a00; } .error { background: #fde8de; border-color: #a8390a; }
    @media (prefers-color-scheme: dark) {
      p { color: #e6eaee; }
      .ok { background: #123229; border-color: #4fd0ae; } .info { background: #14293b; border-color: #6db8f2; }
      .warning { background: #38290a; border-color: #f0bd55; } .error { background: #40200f; border-color: #ff9a6b; }
    }`;
  const KINDS = new Set(["ok", "info", "warning", "error"]);

  const { brand, page, token } = script.dataset;
  const ofBrand = brand ? `brands/${encodeURIComponent(brand)}/` : "";
  const address = new URL(
    `../api/v1/${ofBrand}readiness/${encodeURIComponent(page || "")}`, script.src,
  );

  const host = document.createElement("div");
  host.setAttribute("role", "status");
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS);
  root.adoptedStyleSheets = [sheet];
  script.after(host);

  let shown = "";
  let answeredAt = null;
  let failures = 0;
  let timer = 0;

  // Lines are plain text from the server and stay text here. What has not changed is left alone, so
  // that a screen reader says each thing once.
  function show(lines) {
    const now = JSON.stringify(lines);
    if (now === shown) return;
    shown = now;
    root.replaceChildren(
      ...lines.map(({ kind, text }) => {
        const line = document.createElement("p");
        line.className = KINDS.has(kind) ? kind : "info";
        line.dir = "auto";
        line.textContent = text;
        return line;
      }),
    );
  }

  async function ask() {
    const answer = await fetch(address, {
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      credentials: "omit",
      cache: "no-cache", // the browser asks with the tag of what it has
      signal: AbortSignal.timeout(10_000),
    });
    if (answer.ok) return answer.json();
    const refusal = await answer.json().catch(() => null);
    const { message, advice } = (refusal && refusal.error) || {};
    throw new Error(message ? `${message} ${advice || ""}`.trim() : `It answered ${answer.status}.`);
  }

  async function poll() {
    clearTimeout(timer);
    let wait;
    try {
      const readiness = await ask();
      const known = readiness.datasets || readiness.brands.flatMap((each) => each.datasets);
      answeredAt = new Date();
      failures = 0;
      show(readiness.lines);
      host.dataset.answer = readiness.answer;
      wait = known.some((each) => each.is_refreshing) ? BUSY_MS : CALM_MS;
    } catch (error) {
      const isRefused = !(error instanceof TypeError || error instanceof DOMException);
      const reason = isRefused ? error.message : "The server cannot be reached.";
      const since = answeredAt ? ` since ${answeredAt.toLocaleTimeString()}` : "";
      show([{ kind: "warning", text: `Freshness unknown${since}: ${reason}` }]);
      host.dataset.answer = "unknown";
      wait = Math.min(BUSY_MS * 2 ** failures++, LONGEST_MS);
    }
    // A tab that nobody sees asks when it is looked at again.
    if (!document.hidden) timer = setTimeout(poll, wait * (0.9 + Math.random() / 5));
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) poll();
  });
  poll();
})();
