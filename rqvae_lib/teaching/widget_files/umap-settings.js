// UMAP's settings, chapter 07: the same movies drawn with other settings, and what is true of each map.
SemanticIdsWidgets.register("umap-settings", (root, data, ui) => {
  "use strict";
  const { el, html } = ui;
  const unpack = (text) => new Uint16Array(Uint8Array.from(atob(text), (byte) => byte.charCodeAt(0)).buffer);
  const count = data.titles.length, near = data.nearest;
  const fits = data.fits.map((fit) => ({ ...fit, points: unpack(fit.points) })); // x, y of each movie
  const neighbors = Object.fromEntries(Object.entries(data.neighbors).map(([name, text]) => [name, unpack(text)]));
  const values = (key) => [...new Set(fits.map((fit) => fit[key]))];
  const two = (number) => number.toFixed(2).replace("-", "−");

  let vectors = fits[0].vectors, amount = 15, apart = 0.1, seed = values("seed")[0];
  let movie = data.start, pointed = -1;
  const fitOf = (k, dist) => fits.find((fit) => fit.vectors === vectors && fit.n_neighbors === k && fit.min_dist === dist && fit.seed === seed);

  html("style", { text: `
    [data-widget="umap-settings"] .dots circle { fill: var(--widget-edge); opacity: 0.75; transition: transform 0.6s; }
    [data-widget="umap-settings"] .dots .own { opacity: 1; }
    [data-widget="umap-settings"] .tie { stroke: var(--widget-text); stroke-width: 1; opacity: 0.55; }
    [data-widget="umap-settings"] .mark { fill: none; stroke: var(--widget-text); stroke-width: 1.5; }
    [data-widget="umap-settings"] .here { fill: var(--widget-accent); stroke: var(--widget-text); stroke-width: 1.5; }
    [data-widget="umap-settings"] .marks { animation: widget-umap-marks 0.9s; }
    @keyframes widget-umap-marks { from, 65% { opacity: 0; } to { opacity: 1; } }
    [data-widget="umap-settings"] .pointer { fill: none; stroke: var(--widget-text); stroke-width: 2; }
    [data-widget="umap-settings"] .island { text-anchor: middle; font-size: calc(12 * var(--px)); paint-order: stroke;
      stroke: var(--widget-paper); stroke-width: 3; transition: transform 0.6s; pointer-events: none; }
    [data-widget="umap-settings"] .widget-stage svg { cursor: crosshair; }
    [data-widget="umap-settings"] .grid { display: flex; flex-wrap: wrap; gap: 0.4rem 1.6rem; align-items: end; }
    [data-widget="umap-settings"] .grid caption { caption-side: top; text-align: left; padding: 0 0 0.2rem; color: inherit; font-weight: 600; }
    [data-widget="umap-settings"] .grid td { padding: 0.15rem 0.3rem 0.15rem 0; border: 0; }
    [data-widget="umap-settings"] .grid th { border: 0; padding-right: 0.5rem; }
    [data-widget="umap-settings"] .grid button { font-variant-numeric: tabular-nums; min-width: 3.4rem; }
    [data-widget="umap-settings"] .detail { min-height: 1.5em; }
    [data-widget="umap-settings"] select { width: 15rem; max-width: 100%; }
  ` }, ui.body);

  // --- Controls -----------------------------------------------------------------------------------

  const NAMES = { latents: "latents", shuffled: "shuffled latents, the control" };
  ui.controls();
  ui.select("Maps of", values("vectors").map((name) => [name, NAMES[name] || name]), (value) => { vectors = value; draw(); });
  const order = [...data.titles.keys()].sort((a, b) => data.titles[a].localeCompare(data.titles[b], "en"));
  const search = ui.select("Movie", order.map((i) => [String(i), data.titles[i]]), (value) => { movie = Number(value); draw(); });

  const panel = html("div", { class: "grid" }, ui.body);
  const table = html("table", {}, panel);
  html("caption", { text: "Trustworthiness of each map; press one to see it" }, table);
  const head = html("tr", {}, html("thead", {}, table));
  html("th", { scope: "col", text: "neighbours" }, head);
  for (const dist of values("min_dist")) html("th", { scope: "col", text: `min_dist ${dist}` }, head);
  const body = html("tbody", {}, table);
  const buttons = [];
  for (const k of values("n_neighbors")) {
    const line = html("tr", {}, body);
    html("th", { scope: "row", text: k }, line);
    for (const dist of values("min_dist")) {
      const button = ui.button("", () => { amount = k; apart = dist; draw(); }, { parent: html("td", {}, line), pressed: "false" });
      buttons.push({ button, k, dist });
    }
  }
  const seeds = html("div", { class: "widget-controls", role: "group", "aria-label": "Seed" }, panel);
  const seedButtons = values("seed").map((value) => ui.button(`seed ${value}`, () => { seed = value; draw(); }, { parent: seeds, pressed: "false" }));

  // --- The map ------------------------------------------------------------------------------------

  const { narrow } = ui;
  const width = narrow ? 360 : 740, height = narrow ? 330 : 500, radius = narrow ? 2.1 : 3;
  const svg = ui.stage(width, height, "The map", { widest: 1.15 });
  ui.say(""); // its place is below the map
  const detail = html("p", { class: "detail", "data-part": "detail" }, ui.body);
  ui.legend([
    ...data.colored.map((code, i) => ({ label: `first code ${code}`, color: ui.color(i) })),
    { label: "other first codes", color: "var(--widget-edge)" },
    { label: `the movie's ${near} nearest in truth`, color: "var(--widget-text)", shape: "ring" },
  ]);
  const ties = el("g", { "aria-hidden": "true" }, svg), dots = el("g", { class: "dots", "aria-hidden": "true" }, svg);
  const islands = el("g", { "aria-hidden": "true" }, svg), marks = el("g", { "aria-hidden": "true" }, svg);
  const pointer = el("circle", { class: "pointer", r: radius + 4, visibility: "hidden" }, svg);
  const circles = data.codes.map((code) => {
    const place = data.colored.indexOf(code);
    return el("circle", { r: radius, style: place < 0 ? null : `fill: ${ui.color(place)}` }, dots);
  });
  const labels = data.colored.map((code) => el("text", { class: "island", text: code }, islands));

  // Both axes have the same scale, and the map fills the stage as far as it can.
  let at = () => [0, 0];
  function placed(points) {
    const xs = points.filter((_, i) => i % 2 === 0), ys = points.filter((_, i) => i % 2);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const unit = Math.min((width - 24) / (right - left), (height - 30) / (high - low));
    return (i) => [
      width / 2 + (points[2 * i] - (left + right) / 2) * unit,
      height / 2 - (points[2 * i + 1] - (low + high) / 2) * unit,
    ];
  }

  /** The movies that are nearest to one on a map. */
  function nearestOnMap(points, i) {
    const squared = (j) => (points[2 * i] - points[2 * j]) ** 2 + (points[2 * i + 1] - points[2 * j + 1]) ** 2;
    return [...circles.keys()].filter((j) => j !== i).sort((a, b) => squared(a) - squared(b)).slice(0, near);
  }

  const truly = () => [...neighbors[vectors].subarray(movie * near, (movie + 1) * near)];
  const describe = (i) => `${data.titles[i]}, first code ${data.codes[i]}`;

  function drawMarks() {
    for (const part of [ties, marks]) {
      part.replaceChildren();
      part.classList.remove("marks");
      void part.getBoundingClientRect();
      part.classList.add("marks"); // they fade in when the dots have arrived
    }
    const [x, y] = at(movie);
    for (const other of truly()) {
      const [ox, oy] = at(other);
      el("line", { class: "tie", x1: x, y1: y, x2: ox, y2: oy }, ties);
      el("circle", { class: "mark", cx: ox, cy: oy, r: radius + 2.5, "data-movie": other }, marks);
    }
    el("circle", { class: "here", cx: x, cy: y, r: radius + 3, "data-movie": movie }, marks);
  }

  function point(i) {
    if (i === pointed) return;
    pointed = i;
    pointer.setAttribute("visibility", i < 0 ? "hidden" : "visible");
    if (i < 0) return;
    const [x, y] = at(i);
    pointer.setAttribute("cx", x);
    pointer.setAttribute("cy", y);
    detail.textContent = `Here: ${describe(i)}.`;
  }

  function under(event) {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = -1, least = (narrow ? 16 : 12) ** 2;
    for (let i = 0; i < count; i += 1) {
      const [x, y] = at(i), squared = (x - place.x) ** 2 + (y - place.y) ** 2;
      if (squared < least) { best = i; least = squared; }
    }
    return best;
  }
  svg.addEventListener("pointermove", (event) => point(under(event)));
  svg.addEventListener("pointerleave", () => point(-1));
  svg.addEventListener("click", (event) => {
    const i = under(event);
    if (i < 0) return;
    movie = i;
    draw();
  });

  function words(fit) {
    const onMap = new Set(nearestOnMap(fit.points, movie));
    const kept = truly().filter((i) => onMap.has(i)).length;
    const same = truly().filter((i) => data.codes[i] === data.codes[movie]).length;
    const distances = vectors === "shuffled"
      ? "There are no islands whose distances could be compared."
      : `The distances between the islands are in the order of the true ones with a rank correlation of ${two(fit.order)}.`;
    return `${fit.n_neighbors} neighbours, min_dist ${fit.min_dist}, seed ${fit.seed}: trustworthiness ${fit.trust.toFixed(3)}. ${distances} `
      + `${describe(movie)}: of its ${near} nearest in truth, ${kept} are among its ${near} nearest on this map; ${same} share its first code.`;
  }

  function draw() {
    const fit = fitOf(amount, apart);
    for (const { button, k, dist } of buttons) {
      const its = fitOf(k, dist);
      button.textContent = its.trust.toFixed(3);
      button.setAttribute("aria-label", `${k} neighbours, min_dist ${dist}: trustworthiness ${its.trust.toFixed(3)}`);
      button.setAttribute("aria-pressed", String(its === fit));
    }
    seedButtons.forEach((button, i) => button.setAttribute("aria-pressed", String(values("seed")[i] === seed)));
    search.value = String(movie);
    at = placed(fit.points);
    circles.forEach((circle, i) => {
      const [x, y] = at(i);
      circle.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
      circle.classList.toggle("own", data.codes[i] === data.codes[movie]);
    });
    labels.forEach((label, i) => {
      // In the middle of its movies, and only where they stand together.
      const mine = [...circles.keys()].filter((j) => data.codes[j] === data.colored[i]).map(at);
      const [x, y] = [0, 1].map((axis) => mine.map((place) => place[axis]).sort((a, b) => a - b)[mine.length >> 1]);
      label.style.transform = `translate(${x}px, ${y < 30 ? y + 24 : y - 12}px)`;
      label.setAttribute("visibility", vectors === "shuffled" ? "hidden" : "visible");
    });
    drawMarks();
    pointed = -2;
    point(-1);
    detail.textContent = "Point at a dot to see its movie; click it, or choose one above, to see its neighbours.";
    root.dataset.fit = `${fit.vectors}_${fit.n_neighbors}_${fit.min_dist}_${fit.seed}`;
    ui.say(words(fit));
  }
  draw();
});
