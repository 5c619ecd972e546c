// Films: each picture is drawn over those before it, from the last whole one on.
(() => {
  const section = document.getElementById("film");
  if (!section) { return; }
  const choice = document.getElementById("film-choice");
  const views = [...section.querySelectorAll(".film-view")];
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  const players = views.map((view) => {
    const frames = [...view.querySelectorAll(".frames li")].map((item) => item.dataset);
    const sources = [...view.querySelectorAll(".frames img")].map((image) => image.src);
    const canvas = view.querySelector("canvas");
    const range = view.querySelector(".scrub input");
    const play = view.querySelector(".play");
    const moment = view.querySelector(".moment");
    const then = view.querySelector(".then");
    const consoles = [...view.querySelectorAll(".consoles li")].map((item) => item.textContent);
    const context = canvas.getContext("2d");
    let images = null;
    let drawn = -1;
    let timer = 0;

    const load = () => {
      images ??= Promise.all(sources.map((source) => {
        const image = new Image();
        image.src = source;
        return image.decode().then(() => image, () => null);
      }));
      return images;
    };
    const isWhole = (frame) => frame.x === "0" && frame.y === "0" && frame.w === frame.sw && frame.h === frame.sh;
    const draw = (loaded, number) => {
      let from = drawn >= 0 && drawn <= number ? drawn + 1 : 0;
      for (let place = number; place >= from; place -= 1) { if (isWhole(frames[place])) { from = place; } }
      for (let place = from; place <= number; place += 1) {
        const frame = frames[place];
        if (String(canvas.width) !== frame.sw || String(canvas.height) !== frame.sh) {
          canvas.width = Number(frame.sw);
          canvas.height = Number(frame.sh);
        }
        if (loaded[place]) { context.drawImage(loaded[place], Number(frame.x), Number(frame.y), Number(frame.w), Number(frame.h)); }
      }
      drawn = number;
    };
    const tell = (frame, number) => {
      const link = document.createElement(frame.anchor ? "a" : "span");
      if (frame.anchor) { link.href = `#${frame.anchor}`; }
      link.textContent = frame.step || "before the first step";
      const word = document.createElement("span");
      word.className = `word ${frame.tone}`;
      word.textContent = frame.word;
      const note = frame.note ? ` (${frame.note})` : "";
      moment.replaceChildren(`${frame.at} · `, link, word, note);
      if (then) { then.textContent = consoles[frame.console]; then.scrollTop = then.scrollHeight; }
      range.setAttribute("aria-valuetext", `${frame.at}, picture ${number + 1} of ${frames.length}, ${link.textContent}${note}`);
    };
    const show = async (number) => {
      range.value = number;
      tell(frames[number], number);
      const loaded = await load();
      if (Number(range.value) === number) { draw(loaded, number); view.dataset.shown = number; }
    };
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      play.textContent = "play";
      play.setAttribute("aria-pressed", "false");
    };
    const step = (by) => show(Math.min(frames.length - 1, Math.max(0, Number(range.value) + by)));
    range.addEventListener("input", () => { stop(); show(Number(range.value)); });
    view.querySelector(".before").addEventListener("click", () => { stop(); step(-1); });
    view.querySelector(".after").addEventListener("click", () => { stop(); step(1); });
    play.addEventListener("click", () => {
      if (timer) { stop(); return; }
      if (Number(range.value) === frames.length - 1) { show(0); }
      play.textContent = "pause";
      play.setAttribute("aria-pressed", "true");
      timer = setInterval(() => {
        if (Number(range.value) === frames.length - 1) { stop(); } else { step(1); }
      }, still.matches ? 1000 : 250);
    });
    return { show, stop, range, last: frames.length - 1 };
  });

  const choose = (number) => {
    views.forEach((view, place) => { view.hidden = place !== number; });
    players.forEach((player, place) => { if (place !== number) { player.stop(); } });
    if (choice) { choice.value = number + 1; }
    const player = players[number];
    player.show(Number(player.range.value));
  };
  if (choice) { choice.addEventListener("change", () => choose(Number(choice.value) - 1)); }
  document.querySelectorAll("a.to-film").forEach((link) => link.addEventListener("click", (event) => {
    event.preventDefault();
    const number = Number(link.dataset.film) - 1;
    players[number].stop();
    players[number].range.value = link.dataset.moment;
    choose(number);
    section.scrollIntoView({ block: "start" });
    players[number].range.focus({ preventScroll: true });
  }));

  const first = document.querySelector(".headline a.to-film");
  players.forEach((player) => { player.range.value = player.last; });
  if (first) { players[Number(first.dataset.film) - 1].range.value = first.dataset.moment; }
  choose(first ? Number(first.dataset.film) - 1 : 0);
})();
