"use strict";
(() => {
  const filter = document.getElementById("only-failures");
  document.documentElement.classList.add("scripted");
  const setFilter = (on) => { filter.checked = on; document.body.classList.toggle("only-failures", on); };
  if (filter) { filter.addEventListener("change", () => setFilter(filter.checked)); setFilter(filter.checked); }

  // The arrow keys go from cell to cell, as in a spreadsheet; all tables are one below the other.
  const rows = () => [...document.querySelectorAll(".grid tr")]
    .filter((row) => row.offsetParent !== null)
    .map((row) => [...row.querySelectorAll("td:not(.count)")].map((one) => one.querySelector("a")))
    .filter((links) => links.some(Boolean));
  const move = (down, right) => {
    const all = rows();
    let row = all.findIndex((links) => links.includes(document.activeElement));
    let column = row < 0 ? -1 : all[row].indexOf(document.activeElement);
    if (row < 0) { [row, down, right] = [0, 0, 1]; }
    do {
      row += down;
      column += right;
      if (!all[row] || column < 0 || column >= all[row].length) { return; }
    } while (!all[row][column]);
    all[row][column].focus();
    all[row][column].scrollIntoView({ block: "nearest", inline: "nearest" });
  };
  const steps = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) { return; }
    if (event.key === "f" && filter) {
      setFilter(!filter.checked);
    } else if (event.key in steps && document.querySelector(".grid") && !event.target.closest(".wide[tabindex]:focus")) {
      move(...steps[event.key]);
      event.preventDefault();
    }
  });
})();
