// Residual quantization in a plane: z is dragged, and each level takes the codeword nearest to what is left.
// `data`: points (N pairs) and titles (N), books (L, K, 2), and `choices`, the movies on which z can be put.
SemanticIdsWidgets.register("residual-quantization", (root, data, ui) => {
  "use strict";
  const { points, titles, books, choices } = data, LEVELS = books.length;
  const INK = "var(--widget-text)", PAPER = "var(--widget-paper)", ACCENT = "var(--widget-accent)";
  const add = ([ax, ay], [bx, by]) => [ax + bx, ay + by];
  const minus = ([ax, ay], [bx, by]) => [ax - bx, ay - by];
  const length = ([x, y]) => Math.hypot(x, y);
  const low = (n) => String(n).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]); // the digits of an index
  const sumOf = (level) => Array.from({ length: level }, (_, l) => `e${low(l + 1)}`).join(" + ");

  // --- The quantizer -------------------------------------------------------------------------------

  function nearest(book, point) {
    const far = book.map((codeword) => length(minus(point, codeword)));
    return far.indexOf(Math.min(...far));
  }

  /** The codes, and what the level before left over: L + 1 residuals, of which the first is z. */
  function quantize(z) {
    const codes = [], residuals = [z], sums = [[0, 0]];
    for (const book of books) {
      const code = nearest(book, residuals.at(-1));
      codes.push(code);
      residuals.push(minus(residuals.at(-1), book[code]));
      sums.push(add(sums.at(-1), book[code]));
    }
    return { codes, residuals, sums };
  }

  /** Of all sums with one codeword of each level, the one nearest to z. */
  function best(z) {
    let found = [{ codes: [], left: z }];
    for (const book of books) {
      found = found.flatMap(({ codes, left }) => book.map((codeword, code) => (
        { codes: [...codes, code], left: minus(left, codeword) })));
    }
    return found.reduce((a, b) => (length(b.left) < length(a.left) ? b : a));
  }

  const codesOf = points.map((point) => quantize(point).codes);

  // --- What is chosen ------------------------------------------------------------------------------

  let z = [...points[choices[0]]], level = 1, alike = false;
  ui.controls("Settings");
  ui.slider({
    label: "Levels", min: 0, max: LEVELS, value: level, onInput: (next) => { level = next; draw(); },
  });
  const movies = ui.select("Put z on", [["", "a place of yours"], ...choices.map((movie) => [movie, titles[movie]])],
    (movie) => { if (movie !== "") { z = [...points[movie]]; draw(); } }, { value: choices[0] });
  ui.checkbox("Same scale at every level", alike, (next) => { alike = next; draw(); });

  // --- The stages ----------------------------------------------------------------------------------

  const WIDTH = 420, HEIGHT = 420, row = ui.columns();
  const frame = [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]];
  const plane = ui.stage(WIDTH, HEIGHT, "The plane of the latents", {
    description: "Movies as dots; z, which can be moved; the sum of the chosen codewords; and the codewords' cells.",
    parent: row,
  });
  const view = ui.stage(WIDTH, HEIGHT, "What one level sees", {
    description: "The residual as an arrow from the origin, and the codewords of this level with their cells.",
    parent: row,
  });
  const spread = Math.max(...points.flat().map(Math.abs)) * 1.06;
  const unit = WIDTH / (2 * spread);
  const place = ([x, y]) => [WIDTH / 2 + x * unit, HEIGHT / 2 - y * unit];
  const back = (x, y) => [(x - WIDTH / 2) / unit, (HEIGHT / 2 - y) / unit];

  const layers = ["cells", "movies", "path"].map((name) => ui.el("g", { class: name }, plane));
  const [cellLayer, movieLayer, pathLayer] = layers;
  const dots = points.map(place).map(([cx, cy]) => (
    ui.el("circle", { cx, cy, style: "r: calc(2.2 * var(--px))" }, movieLayer)));
  const handle = ui.el("g", { class: "z" }, plane);
  const knob = ui.el("g", { class: "widget-pin" }, handle);
  ui.el("circle", { r: 16, fill: "transparent" }, knob); // room for a finger
  ui.el("circle", { r: 7, fill: ACCENT, stroke: PAPER, "stroke-width": 2 }, knob);
  ui.el("text", { x: 11, y: -7, text: "z", class: "widget-halo", style: "font-weight: 600" }, knob);
  ui.drag(handle, {
    at: () => place(z),
    onMove: (x, y) => { z = back(x, y); movies.value = ""; draw(); },
    keys: 5,
    label: "The latent z",
  });
  const legend = ui.legend([]);
  ui.say("");
  const bars = ui.stage(480, 30 + 26 * (LEVELS + 1), "The residual, what is left after each level", { widest: 1.6 });

  // --- Drawing -------------------------------------------------------------------------------------

  const ink = (l) => ui.color([4, 0, 2, 3, 6, 7][l] ?? l); // of a level
  const corners = (shape) => shape.map((corner) => corner.map((x) => x.toFixed(2)).join()).join(" ");
  const ends = ([x1, y1], [x2, y2]) => ({ x1, y1, x2, y2 });
  const dashed = { stroke: INK, "stroke-width": 1.5, "stroke-dasharray": "4 3" }; // what is left
  const cross = (layer, [x, y]) => (
    ui.el("path", { d: "M-5 0H5M0-5V5", stroke: INK, "stroke-width": 2 }, ui.pin(x, y, layer)));

  function drawPlane({ codes, sums }) {
    cellLayer.replaceChildren();
    pathLayer.replaceChildren();
    let area = frame;
    for (let l = 0; l < level; l++) {
      const centres = books[l].map((codeword) => place(add(sums[l], codeword)));
      const shapes = ui.cells(centres, area);
      shapes.forEach((shape, code) => {
        if (!shape.length) return;
        const own = code === codes[l];
        ui.el("polygon", { points: corners(shape), fill: own ? ink(l) : "none", "fill-opacity": 0.13, stroke: ink(l),
          "stroke-width": l === level - 1 ? 1.4 : 0.8, "data-level": l + 1, "data-code": code }, cellLayer);
      });
      area = shapes[codes[l]];
      if (l === level - 1) {
        centres.forEach(([x, y], code) => {
          if (l === 0 || shapes[code].length) {
            ui.el("circle", { r: 3.5, fill: ink(l), stroke: PAPER }, ui.pin(x, y, pathLayer));
          }
        });
      }
    }
    cross(pathLayer, place([0, 0]));
    ui.el("line", { ...ends(place(sums[level]), place(z)), ...dashed }, pathLayer);
    for (let l = 0; l < level; l++) {
      ui.arrow(place(sums[l]), place(sums[l + 1]), pathLayer, { stroke: ink(l), "stroke-width": 2.5 });
      const [x, y] = place(add(sums[l], books[l][codes[l]].map((number) => number / 2)));
      if (l < 2) ui.el("text", { x: 6, y: -6, text: `e${low(l + 1)}`, class: "widget-halo" }, ui.pin(x, y, pathLayer));
    }
    dots.forEach((dot, movie) => {
      const same = level > 0 && codesOf[movie].slice(0, level).every((code, l) => code === codes[l]);
      dot.setAttribute("fill", same ? INK : "var(--widget-edge)");
      dot.setAttribute("fill-opacity", same ? 0.9 : 0.45);
      dot.toggleAttribute("data-same", same);
    });
    const [x, y] = place(z);
    handle.setAttribute("transform", `translate(${x} ${y})`);
  }

  /** The number 1, 2 or 5 times a power of ten that is at most `most`. */
  function round(most) {
    const power = 10 ** Math.floor(Math.log10(most));
    return power * [5, 2, 1].find((times) => times * power <= most);
  }

  function drawView({ codes, residuals }) {
    const l = Math.max(level, 1) - 1, book = books[l], given = residuals[l];
    const reach = (of) => 1.25 * Math.max(...of.flat().map(Math.abs));
    const own = Math.max(reach(book), 1.1 * Math.max(...given.map(Math.abs)));
    const wide = alike ? Math.max(spread, reach(books[0])) : own;
    const put = ([x, y]) => [WIDTH / 2 + (x * WIDTH) / (2 * wide), HEIGHT / 2 - (y * HEIGHT) / (2 * wide)];
    view.replaceChildren();
    const centres = book.map(put);
    ui.cells(centres, frame).forEach((shape, code) => {
      const fill = level > 0 && code === codes[l] ? ink(l) : "none";
      ui.el("polygon", { points: corners(shape), fill, "fill-opacity": 0.13, stroke: ink(l) }, view);
    });
    cross(view, put([0, 0]));
    ui.arrow(put([0, 0]), put(given), view, { stroke: ACCENT, "stroke-width": 2.5 });
    if (level > 0) {
      ui.arrow(put([0, 0]), put(book[codes[l]]), view, { stroke: ink(l), "stroke-width": 2.5 });
      ui.el("line", { ...ends(put(book[codes[l]]), put(given)), ...dashed }, view);
    }
    centres.forEach(([x, y], code) => {
      const spot = ui.pin(x, y, view);
      ui.el("circle", { r: 4, fill: ink(l), stroke: PAPER }, spot);
      ui.el("text", { x: 7, y: 4, text: code, class: "widget-halo" }, spot);
    });
    const what = l ? `the residual of level ${l}` : "z";
    ui.el("text", { x: 12, y: 24, text: `Level ${l + 1} is given ${what}`, class: "widget-halo" }, view);
    const bar = round(wide / 2), long = (bar * WIDTH) / (2 * wide);
    const y = HEIGHT - 14;
    ui.el("line", { x1: 14, x2: 14 + long, y1: y, y2: y, stroke: INK, "stroke-width": 3 }, view);
    ui.el("text", { x: 14, y: HEIGHT - 22, text: `length ${bar}`, class: "widget-halo" }, view);
  }

  function drawBars({ residuals }) {
    bars.replaceChildren();
    ui.el("text", { x: 10, y: 20, text: "Length of the residual: what is left" }, bars);
    const long = ui.scale([0, Math.max(...residuals.map(length), 1e-9)], [0, 340]);
    residuals.forEach((residual, l) => {
      const y = 30 + 26 * l, shown = l <= level;
      ui.el("text", { x: 10, y: y + 14, text: l ? `− e${low(l)}` : "z" }, bars);
      if (!shown) return;
      const n = length(residual), fill = l ? ink(l - 1) : ACCENT;
      ui.el("rect", { x: 62, y: y + 3, width: long(n), height: 16, fill, "data-left": n }, bars);
      ui.el("text", { x: 70 + long(n), y: y + 15, text: n.toFixed(2) }, bars);
    });
  }

  function words({ codes, residuals }) {
    const is = `z is ${length(z).toFixed(2)} long.`;
    if (level === 0) return `No code yet. ${is} All of it is left: z is the residual that level 1 is given.`;
    const same = codesOf.filter((other) => codes.slice(0, level).every((code, l) => code === other[l])).length;
    const left = length(residuals[level]), name = level === 1 ? "Code" : "Codes";
    const share = `${same} of ${points.length} movies ${same === 1 ? "has" : "have"} ${level === 1 ? "it" : "them"}`;
    const more = left > length(residuals[level - 1])
      ? ` That is more than before: no codeword of level ${level} is nearer than the origin.`
      : "";
    const mine = codes.slice(0, level).join("-");
    const start = `${name} ${mine}: ${share}. ${is} ${sumOf(level)} ${level === 1 ? "leaves" : "leave"} a residual of length ${left.toFixed(2)}.${more}`;
    if (level < LEVELS) return start;
    const found = best(z), near = length(found.left), count = books.reduce((n, book) => n * book.length, 1);
    if (near > left - 1e-9) return `${start} None of the ${count} possible sums is nearer.`;
    return `${start} Choosing level by level missed ${found.codes.join("-")}, which leaves ${near.toFixed(2)}.`;
  }

  function draw() {
    const found = quantize(z);
    drawPlane(found);
    drawView(found);
    drawBars(found);
    Object.assign(root.dataset, { z: JSON.stringify(z), codes: found.codes.slice(0, level).join("-"), level });
    ui.say(words(found));
    handle.setAttribute("aria-label", `The latent z, at ${z.map((number) => number.toFixed(1)).join(", ")}`);
    legend.replace([
      { label: "z", color: ACCENT },
      ...books.slice(0, level).map((_, l) => (
        { label: `level ${l + 1}: cells, and e${low(l + 1)} as an arrow`, color: ink(l), shape: "line" })),
      { label: "movie", color: "var(--widget-edge)" },
      ...(level ? [{ label: "movie with the same codes", color: INK }] : []),
    ]);
  }

  draw();
});
