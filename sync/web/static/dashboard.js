// Keeps a page that asks for it fresh while it is visible, and shows the values of charts. Without script the page reloads.
"use strict";
(() => {
  const main = document.querySelector("main");
  if (!main) return;
  const seconds = Number(main.dataset.refresh || 0);
  const shown = document.getElementById("freshness");
  const patience = 15; // seconds after which what is shown may no longer be true
  const timeout = 8; // seconds for one answer: a frozen host neither answers nor refuses
  let timer = 0;
  let fresh = Date.now();
  const silent = "The function app does not answer."; // why what is shown is old, and what to do
  const elsewhere = "The same without it: python -m sync status, or python -m sync dashboard, where its settings are.";
  let reason = `${silent} ${elsewhere}`;
  const isProblem = main.querySelector("#problem") !== null; // a service did not answer when this page was made

  // Times stand there in UTC, so that a page without script is right; a pointer on them shows the time of the reader.
  const localTimes = () => {
    for (const time of main.querySelectorAll("time[datetime]")) {
      if (!time.title) time.title = new Date(time.dateTime).toLocaleString();
    }
  };

  // Ages and charts are by the clock of the app: where that of this device differs, the reader must know.
  const clocks = () => {
    const time = document.getElementById("data-time");
    if (!time) return;
    const minutes = Math.round(Math.abs(Date.now() - Date.parse(time.dateTime)) / 60000);
    time.parentElement.querySelector(".clocks")?.remove();
    if (minutes < 2) return;
    const note = document.createElement("strong");
    note.className = "clocks";
    note.isOfScript = true;
    note.textContent = ` The clock of this device and that of the app differ by ${minutes} min.`;
    time.parentElement.append(note);
  };

  // Changes only what differs, so that a text selection, the focus, the place on the page and open parts stay.
  const kept = new Set(["open", "title", "tabindex"]);
  // What a node is about: a row that moves takes its ticked box and a selected text along, and none gets those of another.
  const about = (node) => {
    if (node.nodeType !== Node.ELEMENT_NODE) return "";
    if (node.id) return node.id;
    if (node.nodeName === "TR") {
      const box = node.querySelector("input[name=subjects]");
      return box ? box.getAttribute("value") : node.cells[0] ? node.cells[0].textContent.trim() : "";
    }
    if (node.nodeName === "LI") return node.querySelector("time")?.getAttribute("datetime") || "";
    return node.getAttribute("aria-labelledby") || "";
  };
  const same = (one, other) =>
    one.nodeType === other.nodeType && one.nodeName === other.nodeName && about(one) === about(other);
  const attributes = (one, other) => {
    for (const { name } of [...one.attributes]) {
      if (!other.hasAttribute(name) && !kept.has(name)) one.removeAttribute(name);
    }
    for (const { name, value } of [...other.attributes]) {
      if (one.getAttribute(name) !== value && !(name === "open" && one.nodeName === "DETAILS")) one.setAttribute(name, value);
    }
  };
  const update = (one, other) => {
    if (one.isEqualNode(other)) return;
    if (one.nodeType !== Node.ELEMENT_NODE) {
      if (one.nodeValue !== other.nodeValue) one.nodeValue = other.nodeValue;
      return;
    }
    attributes(one, other);
    const theirs = [...other.childNodes];
    const wanted = new Set(theirs.map(about));
    const mine = [...one.childNodes].filter((node) => !node.isOfScript);
    const gone = mine.filter((node) => about(node) && !wanted.has(about(node)));
    for (const node of gone) node.remove();
    const left = mine.filter((node) => !gone.includes(node));
    theirs.forEach((child, place) => {
      let at = place;
      // Of those that are about nothing the next is taken, but never one from beyond a node that is about something.
      while (at < left.length && !same(left[at], child) && (about(child) || !about(left[at]))) at += 1;
      if (at < left.length && same(left[at], child)) {
        if (about(child)) {
          if (at !== place) one.insertBefore(left[at], left[place]);
          left.splice(place, 0, ...left.splice(at, 1));
        } else {
          for (const node of left.splice(place, at - place)) node.remove();
        }
        update(left[place], child);
      } else {
        left.splice(place, 0, one.insertBefore(document.importNode(child, true), left[place] || null));
      }
    });
    for (const node of left.slice(theirs.length)) node.remove();
  };

  // A node that moves loses the focus, and a text in it the selection: both are put back.
  const updateMain = (content) => {
    const selection = getSelection();
    const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
    const selected = selection.isCollapsed ? "" : selection.toString();
    const active = document.activeElement;
    update(main, content);
    if (active && active !== document.activeElement && main.contains(active)) active.focus({ preventScroll: true });
    if (!selected || selection.toString() === selected) return;
    if (!main.contains(anchorNode) || !main.contains(focusNode)) return;
    try {
      selection.setBaseAndExtent(anchorNode, anchorOffset, focusNode, focusOffset);
    } catch {
      selection.removeAllRanges(); // a text became shorter than what was selected of it
    }
    if (selection.toString() !== selected) selection.removeAllRanges(); // never another text than was selected
  };

  // A page that cannot know says so: in the band and in the title, which other tabs show.
  const doubt = () => {
    if (!seconds || document.hidden || Date.now() - fresh < patience * 1000) return;
    const since = new Date(fresh).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const word = `Unknown since ${since}`;
    const band = document.getElementById("band");
    if (band) {
      band.className = "verdict unknown";
      const verdict = document.getElementById("verdict");
      if (verdict.textContent !== word) verdict.textContent = word;
      const note = band.querySelector(".doubt") || document.createElement("p");
      note.className = "doubt";
      note.isOfScript = true;
      if (note.textContent !== reason) note.textContent = reason;
      if (!note.isConnected) verdict.after(note);
    }
    if (!document.title.startsWith("Unknown")) document.title = `${word} · DICOM–FHIR Sync`;
    main.classList.add("stale");
  };

  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, {
        headers: { Accept: "text/html" },
        cache: "no-store",
        redirect: "manual", // no page of ours redirects: it is the way to a sign-in, which a script may not follow
        signal: AbortSignal.timeout(timeout * 1000),
      });
      if (answer.type === "opaqueredirect" || answer.status === 401) {
        old("The function app asks you to sign in again.", "Reload this page.");
        return;
      }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const content = page.querySelector("main");
      const problem = content?.querySelector("#problem");
      if (!content || (!answer.ok && !problem)) throw new Error("no page");
      if (isProblem && answer.ok) {
        location.reload(); // the page that was asked for may be one that never refreshes itself
        return;
      }
      if (!isProblem && problem) {
        old(`The function app answers: ${problem.textContent.trim()}.`, content.querySelector("#to-do")?.textContent);
        return;
      }
      updateMain(content);
      document.title = page.title;
      fresh = Date.now();
      main.querySelector(".doubt")?.remove();
      main.classList.remove("stale");
      charts();
      localTimes();
      clocks();
      if (shown) shown.textContent = `Refreshed at ${new Date().toLocaleTimeString()}, every ${seconds} seconds.`;
    } catch {
      old(silent, elsewhere);
    }
  };

  const old = (why, todo = "") => {
    reason = `${why} ${todo}`.trim();
    main.classList.add("stale");
    if (shown) shown.textContent = `${why} The data shown are old; trying again.`;
    doubt();
  };

  const start = () => {
    clearInterval(timer);
    timer = document.hidden || !seconds ? 0 : setInterval(refresh, seconds * 1000);
  };

  // The values of a chart: under the pointer, and by the arrow keys once the chart has the focus.
  const points = (svg) =>
    JSON.parse(svg.dataset.series).map(([name, runs]) => [name, runs.flatMap(([point, times]) => Array(times).fill(point))]);
  const number = new Intl.NumberFormat([], { maximumSignificantDigits: 4 });
  const charts = () => {
    for (const svg of main.querySelectorAll("svg.chart[data-series]")) {
      const figure = svg.closest("figure");
      if (!figure || figure.querySelector(".values")) continue;
      const values = document.createElement("p");
      values.className = "values";
      values.isOfScript = true;
      values.setAttribute("aria-live", "polite");
      figure.append(values);
      svg.setAttribute("tabindex", "0");
      let place = -1;
      const show = (wanted) => {
        const { start: begin, step, unit } = svg.dataset;
        const series = points(svg);
        const length = Math.max(0, ...series.map(([, all]) => all.length));
        if (!length) return;
        place = Math.min(Math.max(wanted, 0), length - 1);
        const at = new Date((Number(begin) + place * Number(step)) * 1000);
        const said = series.map(([name, all]) => {
          const point = all[place];
          return `${name} ${point === null || point === undefined ? "no data" : number.format(point) + unit}`;
        });
        values.textContent = `${at.toISOString().slice(5, 16).replace("T", " ")} UTC: ${said.join(", ")}`;
      };
      svg.addEventListener("pointermove", (event) => {
        const frame = svg.getBoundingClientRect();
        const length = Math.max(0, ...points(svg).map(([, all]) => all.length));
        show(Math.round(((event.clientX - frame.left) / Math.max(frame.width, 1)) * (length - 1)));
      });
      svg.addEventListener("pointerleave", () => { values.textContent = ""; });
      svg.addEventListener("blur", () => { values.textContent = ""; });
      svg.addEventListener("keydown", (event) => {
        const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6 };
        if (!(event.key in steps)) return;
        event.preventDefault();
        show((place < 0 ? 1e6 : place) + steps[event.key]);
      });
    }
  };

  // One box selects all boxes of its form.
  main.addEventListener("change", (event) => {
    const box = event.target;
    if (box.matches?.("input[data-all]")) {
      for (const choice of box.form.querySelectorAll("input[name=subjects]")) choice.checked = box.checked;
    }
  });

  document.addEventListener("visibilitychange", () => {
    reason = "This page was hidden, and asks again now.";
    if (!document.hidden && seconds) refresh();
    start();
  });
  charts();
  localTimes();
  clocks();
  setInterval(doubt, 1000);
  start();
})();
