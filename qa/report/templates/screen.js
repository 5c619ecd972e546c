// Comparisons: a needle over what was seen, the candidates, and the same in large.
(() => {
  const dialog = document.getElementById("stage");
  let home = null;

  const setUpCandidate = (part) => {
    const stage = part.querySelector(".stage");
    const expected = stage.querySelector(".expected");
    const range = part.querySelector(".reveal input[type=range]");
    const difference = part.querySelector(".difference");
    const width = stage.viewBox.baseVal.width;
    const reveal = () => {
      const share = difference.checked ? 100 : Number(range.value);
      expected.setAttribute("width", width * share / 100);
      for (const end of ["x1", "x2"]) { stage.querySelector(".divider").setAttribute(end, width * share / 100); }
      range.setAttribute("aria-valuetext", `${range.value} % expected, the rest as seen`);
      range.disabled = difference.checked;
      stage.classList.toggle("subtract", difference.checked);
    };
    if (!expected) { return; }
    const follow = (event) => {
      const box = stage.getBoundingClientRect();
      range.value = Math.round(100 * (event.clientX - box.left) / box.width);
      reveal();
    };
    range.addEventListener("input", reveal);
    difference.addEventListener("change", reveal);
    stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || difference.checked) { return; }
      stage.setPointerCapture(event.pointerId);
      follow(event);
    });
    stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) { follow(event); } });
    reveal();
  };

  document.querySelectorAll(".compare").forEach((compare) => {
    const candidates = [...compare.querySelectorAll(".candidate")];
    const choose = (number) => candidates.forEach((one, place) => { one.hidden = place !== number; });
    candidates.forEach(setUpCandidate);
    compare.querySelectorAll(".candidates input").forEach((radio, number) => {
      radio.addEventListener("change", () => choose(number));
      if (radio.checked) { choose(number); }
    });
    compare.querySelectorAll(".enlarge").forEach((button) => button.addEventListener("click", () => {
      if (dialog.open) { dialog.close(); return; }
      home = document.createComment("");
      compare.replaceWith(home);
      dialog.append(compare);
      dialog.showModal();
    }));
  });

  dialog.addEventListener("close", () => {
    const compare = dialog.querySelector(".compare");
    home.replaceWith(compare);
    compare.querySelector(".candidate:not([hidden]) .enlarge").focus();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) { dialog.close(); } });
})();
