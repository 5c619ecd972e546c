"use strict";
(() => {
  const page = document.documentElement;
  const filter = document.getElementById("only-failures");
  const dialog = document.getElementById("enlarged");
  const shots = [...document.querySelectorAll("a.shot")];
  let shown = 0;
  page.classList.add("scripted");

  // Steps: the filter, the arrow keys, and links that open what they lead to.
  const rows = () => [...document.querySelectorAll(".steps > li")].filter((row) => row.offsetParent !== null);
  const setFilter = (on) => { filter.checked = on; document.body.classList.toggle("only-failures", on); };
  const move = (by) => {
    const all = rows();
    const current = all.findIndex((row) => row.contains(document.activeElement));
    const next = current < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, current + by));
    const summary = all[next] && all[next].querySelector("summary");
    if (summary) { summary.focus(); summary.scrollIntoView({ block: "nearest" }); }
  };
  const linked = () => {
    try { return decodeURIComponent(location.hash.slice(1)); } catch { return ""; }
  };
  const reveal = () => {
    const id = linked();
    const row = id && document.getElementById(id);
    if (!row || !row.matches(".steps > li")) { return; }
    if (row.offsetParent === null) { setFilter(false); }
    row.querySelector("details").open = true;
    row.querySelector("summary").focus();
    row.scrollIntoView();
  };
  if (filter) { filter.addEventListener("change", () => setFilter(filter.checked)); setFilter(filter.checked); }
  window.addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) { reveal(); }
  });

  // Screenshots: a click enlarges, the arrow keys go through all of them.
  const show = (number) => {
    shown = (number + shots.length) % shots.length;
    const image = document.getElementById("picture");
    image.src = shots[shown].querySelector("img").src;
    image.alt = shots[shown].querySelector("img").alt;
    document.getElementById("caption").textContent = `${shots[shown].dataset.caption} (${shown + 1} of ${shots.length})`;
    if (!dialog.open) { dialog.showModal(); }
  };
  shots.forEach((shot, number) => shot.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) { return; }
    event.preventDefault();
    show(number);
  }));
  dialog.addEventListener("click", (event) => { if (event.target === dialog || event.target.id === "picture") { dialog.close(); } });

  // From failure to failure: what the keys have opened, they close again.
  const causes = [...document.querySelectorAll(".steps > li.cause")];
  let at = -1;
  let opened = null;
  const jump = (by) => {
    const next = at + by;
    if (next < 0 || next >= causes.length) { return; }
    at = next;
    const step = causes[at].querySelector("details");
    if (opened && opened !== step) { opened.open = false; }
    if (!step.open) { step.open = true; opened = step; }
    step.querySelector("summary").focus({ preventScroll: true });
    causes[at].scrollIntoView();
    tellWhich();
  };
  const which = document.getElementById("which-failure");
  const buttons = [document.getElementById("previous-failure"), document.getElementById("next-failure")];
  const tellWhich = () => {
    if (!which) { return; }
    which.textContent = at < 0 ? `${causes.length} failures` : `failure ${at + 1} of ${causes.length}`;
    buttons[0].disabled = at <= 0;
    buttons[1].disabled = at === causes.length - 1;
  };
  if (which) { buttons.forEach((button, place) => button.addEventListener("click", () => jump(place ? 1 : -1))); }
  causes.forEach((cause, number) => cause.querySelector("summary").addEventListener("focus", () => { at = number; tellWhich(); }));
  tellWhich();

  // The strip: left and right go from screen to screen, and enter it at its ends where nothing has the focus.
  const walk = (link, by) => {
    const links = [...document.querySelectorAll(".strip a")].filter((one) => one.offsetParent !== null);
    const next = link ? links[links.indexOf(link) + by] : links.at(by > 0 ? 0 : -1);
    if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: "nearest", inline: "nearest" }); }
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("select")) { return; }
    if (document.getElementById("stage").open) { return; }
    const scrolls = event.target.closest("pre, input, select, .others, .areas") !== null;
    const screen = event.target.closest(".strip a");
    const sideways = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (dialog.open) {
      if (sideways) { show(shown + sideways); }
    } else if (sideways && (screen || event.target === document.body)) {
      walk(screen, sideways);
      event.preventDefault();
    } else if (event.key === "j" || event.key === "k") {
      jump(event.key === "j" ? 1 : -1);
    } else if (event.key === "f" && filter) {
      setFilter(!filter.checked);
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !scrolls) {
      move(event.key === "ArrowDown" ? 1 : -1);
      event.preventDefault();
    }
  });

  // Commands to be run again elsewhere. Where a browser lets no page reach the clipboard, the text is at least selected.
  document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    getSelection().selectAllChildren(source);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "copied";
    } catch {
      button.textContent = "selected";
    }
  }));

  // Outputs and consoles are read from their end. Those of closed steps have no height before they are opened.
  const toEnd = (part) => part.querySelectorAll("pre").forEach((pre) => { pre.scrollTop = pre.scrollHeight; });
  document.querySelectorAll(".console, .headline").forEach(toEnd);
  document.querySelectorAll("details").forEach((step) => step.addEventListener("toggle", () => toEnd(step), { once: true }));
  reveal();
  // A browser goes to the fragment by itself too, and takes the focus away when it does: with the first picture of the page.
  window.addEventListener("load", () => requestAnimationFrame(() => setTimeout(() => {
    if (document.activeElement === document.body) { reveal(); }
  })));
})();
