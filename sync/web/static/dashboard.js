// Keeps a page that asks for it fresh, while somebody looks at it. Without script the page reloads by itself.
"use strict";
(() => {
  const main = document.querySelector("main[data-refresh]");
  if (!main) return;
  const seconds = Number(main.dataset.refresh);
  const shown = document.getElementById("freshness");
  let timer = 0;

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

  const refresh = async () => {
    if (document.hidden || busy()) return;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      if (!fresh) throw new Error("no page");
      keepFocus(() => main.replaceChildren(...fresh.childNodes));
      main.classList.remove("stale");
      if (shown) shown.textContent = `Refreshed at ${new Date().toLocaleTimeString()}, every ${seconds} seconds.`;
    } catch {
      main.classList.add("stale");
      if (shown) shown.textContent = "The function app does not answer: what is shown is old. Trying again.";
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
  start();
})();
