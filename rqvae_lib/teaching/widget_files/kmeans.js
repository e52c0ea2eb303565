// k-means on movies in a plane: the start is drawn codeword by codeword, then Lloyd's algorithm assigns and moves.
// `data`: points (N pairs) and titles (N). All is computed here; a test compares it with rqvae_lib.ops.kmeans.
SemanticIdsWidgets.register("kmeans", (root, data, ui) => {
  "use strict";
  const { points, titles } = data, count = points.length;
  const SEEDS = 30, MOVES = 100;
  const INK = "var(--widget-text)", SOFT = "var(--widget-soft)", PAPER = "var(--widget-paper)";
  const STARTS = [["plus", "k-means++"], ["rows", "random movies"], ["gauss", "random vectors"]];
  const squared = ([ax, ay], [bx, by]) => (ax - bx) ** 2 + (ay - by) ** 2;
  const sum = (numbers) => numbers.reduce((total, x) => total + x, 0);

  // --- The algorithm -------------------------------------------------------------------------------

  const xs = Float64Array.from(points, (point) => point[0]), ys = Float64Array.from(points, (point) => point[1]);
  const mean = [0, 1].map((axis) => sum(points.map((point) => point[axis])) / count);
  const total = sum(points.map((point) => squared(point, mean))); // the inertia of one codeword at the mean

  /** The states of the start: one for each codeword drawn. `weights` says how likely each movie is drawn next. */
  function draws(start, k, seed) {
    const random = ui.random(seed), states = [], codewords = [], taken = new Set();
    let distances = points.map(() => Infinity), weights = points.map(() => 1);
    for (let i = 0; i < k; i++) {
      let row = -1, codeword, probability = null;
      if (start === "gauss") { // two normal numbers, of length about 1, by the method of Box and Muller
        const length = Math.sqrt(-2 * Math.log(1 - random())), angle = 2 * Math.PI * random();
        codeword = [length * Math.cos(angle), length * Math.sin(angle)].map((x) => x / Math.SQRT2);
      } else {
        // The weights lie end to end on a line; whose stretch does a uniform number hit?
        const all = sum(weights), hit = random() * all;
        let end = 0;
        row = weights.findIndex((weight) => (end += weight) > hit);
        if (row < 0) row = count - 1;
        codeword = [...points[row]];
        probability = weights[row] / all;
        taken.add(row);
      }
      codewords.push(codeword);
      const [x, y] = codeword;
      distances = distances.map((old, movie) => Math.min(old, (xs[movie] - x) ** 2 + (ys[movie] - y) ** 2));
      weights = start === "plus" ? distances : points.map((_, movie) => (taken.has(movie) ? 0 : 1));
      states.push({ kind: "draw", codewords: [...codewords], row, probability, weights, inertia: sum(distances) });
    }
    return states;
  }

  function assign(codewords) {
    const codes = new Array(count), distances = new Array(count);
    let inertia = 0;
    for (let movie = 0; movie < count; movie++) {
      let best = 0, least = Infinity;
      for (let code = 0; code < codewords.length; code++) {
        const [x, y] = codewords[code], far = (xs[movie] - x) ** 2 + (ys[movie] - y) ** 2;
        if (far < least) { least = far; best = code; }
      }
      codes[movie] = best;
      distances[movie] = least;
      inertia += least;
    }
    return { codes, distances, inertia };
  }

  function inertiaOf(codewords, codes) {
    let inertia = 0;
    for (let movie = 0; movie < count; movie++) {
      const [x, y] = codewords[codes[movie]];
      inertia += (xs[movie] - x) ** 2 + (ys[movie] - y) ** 2;
    }
    return inertia;
  }

  /** Each codeword moves to the mean of its movies; a dead one to a movie that is far from its codeword, or nowhere. */
  function move(codewords, { codes, distances }, revive) {
    const sums = codewords.map(() => [0, 0, 0]);
    for (let movie = 0; movie < count; movie++) {
      const at = sums[codes[movie]];
      at[0] += xs[movie];
      at[1] += ys[movie];
      at[2] += 1;
    }
    const far = sums.some(([, , n]) => !n) && revive
      ? distances.map((_, movie) => movie).sort((a, b) => distances[b] - distances[a])
      : null;
    return codewords.map((codeword, code) => {
      const [x, y, n] = sums[code];
      if (n) return [x / n, y / n];
      return far ? [...points[far.shift()]] : codeword;
    });
  }

  /** All states of a run, until no movie changes its codeword. */
  function run(start, k, seed, revive) {
    const states = draws(start, k, seed);
    let { codewords } = states[k - 1], found = assign(codewords), changed = count;
    for (let moves = 0; ; moves++) {
      states.push({ kind: "assign", codewords, ...found, changed, moves });
      const before = codewords;
      codewords = move(before, found, revive);
      const rest = Math.max(...codewords.map((codeword, code) => squared(codeword, before[code])));
      if (moves === MOVES || rest === 0) return states;
      const inertia = inertiaOf(codewords, found.codes);
      states.push({ kind: "move", codewords, before, codes: found.codes, inertia, moves });
      const next = assign(codewords);
      changed = 0;
      for (let movie = 0; movie < count; movie++) if (next.codes[movie] !== found.codes[movie]) changed += 1;
      found = next;
    }
  }

  const known = new Map(); // where runs end, for each start and seed
  function ends(k, revive) {
    const key = `${k} ${revive}`;
    if (!known.has(key)) {
      known.set(key, STARTS.map(([start]) => Array.from({ length: SEEDS }, (_, seed) =>
        run(start, k, seed, revive).at(-1).inertia / total)));
    }
    return known.get(key);
  }

  // --- What is chosen ------------------------------------------------------------------------------

  const chosen = { start: "plus", k: 8, seed: 0, revive: true };
  let states = [], inSight = false; // inSight: whether the strip is, or was
  ui.controls("Settings");
  ui.select("Start", STARTS, (start) => again({ start }), { value: chosen.start });
  ui.slider({ label: "Codewords", min: 2, max: 16, value: chosen.k, onInput: (k) => again({ k }) });
  ui.slider({ label: "Seed", min: 0, max: SEEDS - 1, value: chosen.seed, onInput: (seed) => again({ seed }) });
  ui.checkbox("Lloyd moves dead codewords", chosen.revive, (revive) => again({ revive }));
  ui.controls("Steps");
  const player = ui.player({ steps: () => states.length, onStep: show, pause: 600 });

  // --- The stages ----------------------------------------------------------------------------------

  const WIDTH = 480, HEIGHT = 360, row = ui.columns();
  const map = ui.stage(WIDTH, HEIGHT, "Movies and codewords in a plane", {
    description: `${count} movies as dots, and codewords as numbered crosses with the cells of what is nearest to them.`,
    parent: row,
  });
  const lows = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
  const highs = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])));
  const unit = Math.min((WIDTH - 40) / (highs[0] - lows[0]), (HEIGHT - 40) / (highs[1] - lows[1]));
  const place = ([x, y]) => [
    WIDTH / 2 + (x - (lows[0] + highs[0]) / 2) * unit,
    HEIGHT / 2 - (y - (lows[1] + highs[1]) / 2) * unit,
  ];
  const frame = [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]];
  const layers = ["cells", "movies", "trails", "codewords"].map((name) => ui.el("g", { class: name }, map));
  const [cellLayer, movieLayer, trailLayer, codewordLayer] = layers;
  const places = points.map(place);
  const dots = places.map(([cx, cy]) => ui.el("circle", { cx, cy }, movieLayer));

  const pointed = ui.el("text", { x: 10, y: HEIGHT - 12, class: "widget-halo" }, map);

  const chart = ui.stage(360, 270, "Inertia after every step", {
    description: "The inertia as a share of that of a single codeword at the mean, on a logarithmic scale.",
    parent: row,
  });
  const legend = ui.legend([]);
  ui.say("");
  const strip = ui.stage(480, 165, `Where the runs from ${SEEDS} seeds end`, {
    description: "For each way to start, a dot for each seed, further left for a lower inertia at the end.",
    widest: 1.6,
  });
  const details = ui.html("details", {}, ui.body);
  ui.html("summary", { text: "The codewords as a table" }, details);
  const table = ui.html("table", {}, details);

  // --- Drawing -------------------------------------------------------------------------------------

  const percent = (share) => `${(100 * share).toFixed(share < 0.0995 ? 2 : 1)} %`;
  const lost = (inertia) => (inertia / total).toFixed(4);

  function drawMap(state) {
    const { codewords = [], codes, weights } = state;
    const most = weights && Math.max(...weights);
    dots.forEach((dot, movie) => {
      const share = weights ? Math.sqrt(weights[movie] / (most || 1)) : 0; // the area says how likely
      dot.style.r = weights ? `calc(${(0.8 + 5.2 * share).toFixed(2)} * var(--px))` : "calc(2.6 * var(--px))";
      dot.setAttribute("fill", codes ? ui.color(codes[movie]) : "var(--widget-soft)");
      dot.setAttribute("fill-opacity", weights ? "0.45" : "0.85");
      if (codes) dot.dataset.code = codes[movie];
      else delete dot.dataset.code;
      if (weights) dot.dataset.weight = weights[movie];
      else delete dot.dataset.weight;
    });
    const at = codewords.map(place);
    cellLayer.replaceChildren(...(codes ? ui.cells(at, frame) : []).map((shape, code) => ui.el("polygon", {
      points: shape.map((corner) => corner.map((x) => x.toFixed(1)).join()).join(" "),
      fill: ui.color(code), "fill-opacity": 0.1, stroke: "var(--widget-edge)", "stroke-width": 1,
    })));
    trailLayer.replaceChildren(...(state.before || []).map((from, code) => {
      const [[x1, y1], [x2, y2]] = [place(from), at[code]];
      return ui.el("line", { x1, y1, x2, y2, stroke: INK, "stroke-width": 1.5, "stroke-dasharray": "3 3" });
    }));
    const sizes = codewords.map((_, code) => (codes ? codes.filter((other) => other === code).length : null));
    codewordLayer.replaceChildren(...at.map(([x, y], code) => {
      const dead = sizes[code] === 0;
      const mark = ui.pin(x, y, null, { class: dead ? "codeword dead" : "codeword",
        "data-x": codewords[code][0], "data-y": codewords[code][1] });
      if (dead) ui.el("circle", { r: 7, fill: PAPER, stroke: "var(--widget-accent)", "stroke-width": 2.5 }, mark);
      for (const [stroke, width] of [[PAPER, 6], [INK, 3]]) {
        if (!dead) ui.el("path", { d: "M-5-5L5 5M-5 5L5-5", stroke, "stroke-width": width }, mark);
      }
      const text = dead ? `${code} dead` : code;
      ui.el("text", { x: 9, y: -5, text, class: "widget-halo" }, mark);
      return mark.parentNode;
    }));
    return sizes;
  }

  function axis(svg, x, y, ticks) { // the lines behind the inertia
    for (const tick of ticks) {
      ui.el("line", { x1: x(0), x2: x(1), y1: y(tick), y2: y(tick), stroke: "var(--widget-line)" }, svg);
      const place = { x: x(0) - 6, y: y(tick), "text-anchor": "end", "dominant-baseline": "middle" };
      ui.el("text", { ...place, text: tick }, svg);
    }
  }

  function drawChart(step) {
    chart.replaceChildren();
    const shares = states.map((state) => state.inertia / total);
    const low = Math.log(Math.min(...shares) * 0.9), high = Math.log(Math.max(...shares) * 1.1);
    const height = ui.scale([low, high], [235, 38]), y = (share) => height(Math.log(share));
    const across = ui.scale([0, 1], [46, 350]), x = (i) => across((i + 0.5) / states.length);
    const ticks = [5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01].filter((tick) => {
      const at = Math.log(tick);
      return low < at && at < high;
    });
    axis(chart, across, y, ticks);
    ui.el("rect", { x: across(0), y: 30, width: across(chosen.k / states.length) - across(0), height: 212,
      fill: "var(--widget-soft)", "fill-opacity": 0.12 }, chart);
    ui.el("text", { x: 8, y: 20, text: "inertia (1: one codeword, at the mean)" }, chart);
    ui.el("text", { x: across(0.02), y: 260, text: "draws" }, chart);
    ui.el("text", { x: across(0.98), y: 260, text: "Lloyd", "text-anchor": "end" }, chart);
    const line = (from, to, attributes) => ui.el("polyline", {
      points: shares.slice(from, to).map((share, i) => `${x(from + i).toFixed(1)},${y(share).toFixed(1)}`).join(" "),
      fill: "none", ...attributes,
    }, chart);
    line(0, states.length, { stroke: "var(--widget-edge)", "stroke-width": 1 });
    line(0, step, { stroke: ui.color(0), "stroke-width": 2.5 });
    if (!step) return;
    const now = { cx: x(step - 1), cy: y(shares[step - 1]) };
    ui.el("circle", { ...now, style: "r: calc(5 * var(--px))", fill: ui.color(0) }, chart);
  }

  function drawStrip() {
    const found = ends(chosen.k, chosen.revive), flat = found.flat();
    const best = Math.min(...flat), worst = Math.max(...flat, best * 1.01);
    const x = ui.scale([1, worst / best], [20, 460]);
    strip.replaceChildren();
    STARTS.forEach(([start, label], i) => {
      const y = 36 + 46 * i;
      ui.el("line", { x1: 10, x2: 470, y1: y, y2: y, stroke: "var(--widget-line)" }, strip);
      const middle = (sum(found[i]) / SEEDS / best).toFixed(2), what = i ? "" : ` where ${SEEDS} seeds end,`;
      ui.el("text", { x: 10, y: y - 13, text: `${label}:${what} mean ${middle} ×` }, strip);
      found[i].forEach((end, seed) => {
        const own = start === chosen.start && seed === chosen.seed;
        ui.el("circle", {
          cx: x(end / best), cy: y, style: `r: calc(${own ? 7 : 4.5} * var(--px))`, fill: ui.color(own ? 4 : 0),
          "fill-opacity": own ? 1 : 0.35, "data-start": start, "data-seed": seed, "data-end": end,
        }, strip);
      });
    });
    ui.el("text", { x: 10, y: 155, text: "the best end" }, strip);
    ui.el("text", { x: 470, y: 155, text: `${(worst / best).toFixed(2)} × its inertia`, "text-anchor": "end" }, strip);
  }

  function fillTable({ codewords = [] }, sizes) {
    table.replaceChildren();
    const head = ui.html("tr", {}, ui.html("thead", {}, table));
    for (const text of ["Codeword", "Movies", "Closest movie"]) ui.html("th", { scope: "col", text }, head);
    const rows = ui.html("tbody", {}, table);
    codewords.forEach((codeword, code) => {
      const line = ui.html("tr", {}, rows), far = points.map((point) => squared(point, codeword));
      const size = sizes[code] === null ? "not assigned yet" : sizes[code] || "0, dead";
      for (const text of [code, size, titles[far.indexOf(Math.min(...far))]]) ui.html("td", { text }, line);
    });
  }

  function words(state, sizes) {
    const { kind, codewords, inertia } = state, is = `Inertia ${lost(inertia)}.`;
    if (kind === "draw") {
      const which = `Draw ${codewords.length} of ${chosen.k}: codeword ${codewords.length - 1}`;
      if (state.row < 0) return `${which} is a random vector of length about 1. ${is}`;
      const times = state.probability * count;
      const how = chosen.start === "plus" && codewords.length > 1
        ? `a probability of ${percent(state.probability)}, ${times.toFixed(1)} times that of an even draw`
        : `a probability of ${percent(state.probability)}, as every movie that was left`;
      return `${which} is ${titles[state.row]}, drawn with ${how}. ${is}`;
    }
    const dead = sizes.flatMap((size, code) => (size ? [] : [code]));
    const gone = dead.length ? ` Dead: ${dead.join(", ")}.` : "";
    if (kind === "move") return `Move ${state.moves + 1}: each codeword goes to the mean of its movies. ${is}`;
    if (state.moves === 0) return `Assign: each movie goes to the nearest codeword. ${is}${gone}`;
    const how = state.changed === 1 ? "1 movie changes" : `${state.changed} movies change`;
    const still = state.moves === MOVES ? ` Stopped after ${MOVES} moves.` : " Nothing moves any more.";
    const over = state === states.at(-1) ? still : "";
    return `Assign: ${state.changed ? how : "no movie changes"} to another codeword. ${is}${gone}${over}`;
  }

  function show(step) {
    const state = step ? states[step - 1] : {};
    const sizes = drawMap(state);
    drawChart(step);
    fillTable(state, sizes);
    root.dataset.inertia = step ? state.inertia : "";
    root.dataset.kind = state.kind || "begin";
    const begin = `${count} movies and no codeword yet. Step draws the first of ${chosen.k}; Last shows the end.`;
    ui.say(step ? words(state, sizes) : begin);
    const likely = state.weights && chosen.start === "plus" ? ": the larger, the likelier it is drawn next" : "";
    legend.replace([
      state.codes
        ? { label: "movie, in the color of its codeword", color: ui.color(0) }
        : { label: `movie${likely}`, color: SOFT },
      { label: "codeword", color: INK, shape: "cross" },
      ...(state.codes ? [{ label: "dead: no movie is nearest to it", color: "var(--widget-accent)", shape: "ring" }] : []),
    ]);
  }

  function again(changes) {
    Object.assign(chosen, changes);
    states = run(chosen.start, chosen.k, chosen.seed, chosen.revive);
    if (inSight) drawStrip();
    player.stop();
    player.refresh();
    show(player.step);
  }

  map.addEventListener("pointermove", (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    const far = places.map((at) => squared(at, [point.x, point.y]));
    const movie = far.indexOf(Math.min(...far));
    const title = titles[movie].length > 44 ? `${titles[movie].slice(0, 43)}…` : titles[movie];
    pointed.textContent = far[movie] < 200 ? title : "";
  });
  map.addEventListener("pointerleave", () => { pointed.textContent = ""; });

  // All the runs of the strip take a moment: not while the page loads, but once somebody comes to see it.
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    inSight = true;
    drawStrip();
  }).observe(strip);
  again({});
});
