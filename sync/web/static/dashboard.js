// Keeps a page that asks for it fresh, while somebody looks at it. Without script the page reloads by itself.
"use strict";
(() => {
  const main = document.querySelector("main[data-refresh]");
  if (!main) return;
  const seconds = Number(main.dataset.refresh);
  const shown = document.getElementById("freshness");
  const patience = 15; // seconds after which what is shown may no longer be true
  const timeout = 8; // seconds for one answer: a frozen host neither answers nor refuses
  let timer = 0;
  let fresh = Date.now();

  const busy = () => {
    const active = document.activeElement;
    return active && main.contains(active) && ["INPUT", "TEXTAREA", "SELECT"].includes(active.tagName);
  };

  const keepFocus = (replace) => {
    const active = document.activeElement;
    const id = active && main.contains(active) ? active.id : "";
    const open = [...main.querySelectorAll("details[open]")].map((each) => each.id);
    replace();
    open.forEach((each) => document.getElementById(each)?.setAttribute("open", ""));
    if (id) document.getElementById(id)?.focus({ preventScroll: true });
  };

  // A page that cannot know says so: in the band and in the title, which other tabs show.
  const doubt = () => {
    if (document.hidden || Date.now() - fresh < patience * 1000) return;
    const since = new Date(fresh).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const word = `Unknown since ${since}`;
    const band = document.getElementById("band");
    if (band) {
      band.className = "verdict unknown";
      document.getElementById("verdict").textContent = word;
    }
    if (!document.title.startsWith("Unknown")) document.title = `${word} · DICOM–FHIR Sync`;
    main.classList.add("stale");
  };

  const refresh = async () => {
    if (document.hidden || busy()) return;
    try {
      const answer = await fetch(location.href, {
        headers: { Accept: "text/html" },
        cache: "no-store",
        signal: AbortSignal.timeout(timeout * 1000),
      });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const content = page.querySelector("main");
      if (!content) throw new Error("no page");
      keepFocus(() => main.replaceChildren(...content.childNodes));
      document.title = page.title;
      fresh = Date.now();
      main.classList.remove("stale");
      if (shown) shown.textContent = `Refreshed at ${new Date().toLocaleTimeString()}, every ${seconds} seconds.`;
    } catch {
      main.classList.add("stale");
      if (shown) shown.textContent = "The function app does not answer. The data shown are old; trying again.";
      doubt();
    }
  };

  const start = () => {
    clearInterval(timer);
    timer = document.hidden ? 0 : setInterval(refresh, seconds * 1000);
  };

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
    start();
  });
  setInterval(doubt, 1000);
  start();
})();
