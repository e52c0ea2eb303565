// The way of the gradient back to z, in three loops of residual quantization. The graphs are those of
// gradient_graphs.py: `graphs` by loop and number of levels, `code` by loop, and `size`, that of a drawing.
SemanticIdsWidgets.register("gradients", (root, data, ui) => {
  "use strict";
  const [WIDTH, HEIGHT] = data.size;
  const LOOPS = [
    ["a", "(a) subtract the estimate"],
    ["b", "(b) subtract the codeword"],
    ["c", "(c) one estimate, of the sum"],
  ];
  const LOSSES = [["reconstruction", "of the reconstruction"], ["commitment", "of the commitment"]];
  const sum = (numbers) => numbers.reduce((total, x) => total + x, 0);
  const signed = (n) => (n > 0 ? `+${n}` : n < 0 ? `−${-n}` : "0");

  // --- The steps -----------------------------------------------------------------------------------

  /** Follow the gradient back, one source after the other: what is lit after each step, and in words. */
  function follow(graph, loss) {
    const { nodes, edges, order, sources } = graph, states = [], label = (name) => nodes[name][0];
    const all = edges.map(() => 0), arrived = []; // all: the ways that arrive, added up
    // The last level first, as autograd does.
    for (const source of [...sources[loss]].reverse()) {
      const values = { [source]: 1 }, lit = new Map();
      const keep = (text) => states.push({ values: { ...values }, lit: new Map(lit), text, arrived: sum(arrived) });
      if (loss === "reconstruction") {
        lit.set(edges.findIndex(([start, end]) => start === source && end === "q"), 1);
        keep(`The gradient at q goes to ${label(source)}: +1.`);
      } else keep(`The commitment loss of level ${source.slice(1)} enters at ${label(source)}: +1.`);
      for (const name of order) {
        const value = values[name];
        if (!value || name === "r1" || name === "q") continue;
        const went = [];
        edges.forEach(([start, end, factor], place) => {
          if (end !== name || !factor) return;
          lit.set(place, value * factor);
          values[start] = (values[start] || 0) + value * factor;
          went.push([start, value * factor]);
        });
        const met = went.map(([start]) => start).filter((start) => values[start] === 0);
        const whither = went.map(([start, n]) => `${label(start)}: ${signed(n)}`).join(", and to ");
        const cancel = met.map((start) => ` At ${label(start)}, +1 and −1 cancel.`).join("");
        keep(`From ${label(name)} it goes to ${whither}.${cancel}`);
      }
      if (values.r1) lit.forEach((n, place) => { all[place] += n; });
      arrived.push(values.r1 || 0);
      const last = states.at(-1);
      last.arrived += arrived.at(-1);
      last.text += values.r1 ? " It has arrived at z." : " Nothing arrives at z.";
    }
    const total = sum(arrived), levels = sources.commitment.length;
    const times = total === 1 ? "once" : total === 2 ? "twice" : `${total} times`;
    const text = loss === "reconstruction"
      ? `The gradient of the reconstruction arrives ${times} at z.`
      : `Of ${levels} ${levels === 1 ? "level" : "levels"}, the commitment loss of ${total} arrives at z.`;
    const values = Object.fromEntries(Object.keys(nodes).map((name) => [name, 0]));
    const lit = new Map(all.flatMap((n, place) => (n ? [[place, n]] : [])));
    states.push({ values, lit, text, arrived: total, whole: true });
    return states;
  }

  // --- What is chosen ------------------------------------------------------------------------------

  const chosen = { loop: "a", loss: "reconstruction", levels: Math.min(3, data.graphs.a.length) };
  let graph = null, states = [];
  ui.controls("Settings");
  ui.select("Loop", LOOPS, (loop) => again({ loop }));
  ui.select("Gradient", LOSSES, (loss) => again({ loss }));
  ui.slider({
    label: "Levels", min: 1, max: data.graphs.a.length, value: chosen.levels, onInput: (levels) => again({ levels }),
  });
  ui.controls("Steps");
  const player = ui.player({ steps: () => states.length, onStep: show, pause: 900 });
  const row = ui.columns();
  const stage = ui.stage(WIDTH, HEIGHT, "The loop as a graph", {
    description: "What is computed from what. Solid lines let a gradient pass, dashed ones are detached.",
    parent: row,
  });
  const code = ui.html("pre", {
    class: "widget-code", role: "group", tabindex: 0, "aria-label": "The loop as code",
  }, row);
  ui.legend([
    { label: "gradient", color: ui.color(0), shape: "line" },
    { label: "with its sign turned", color: ui.color(4), shape: "line" },
    { label: "open to a gradient", color: "var(--widget-edge)", shape: "line" },
    { label: "detached", color: "var(--widget-edge)", shape: "dashed" },
  ]);
  ui.say("");

  // --- Drawing -------------------------------------------------------------------------------------

  function show(step) {
    const { nodes, edges } = graph, state = step ? states[step - 1] : { values: {}, lit: new Map(), arrived: 0 };
    stage.replaceChildren();
    const at = (name) => nodes[name].slice(1);
    edges.forEach(([start, end, factor], place) => {
      const [x1, y1] = at(start), [x2, y2] = at(end);
      ui.el("line", { x1, y1, x2, y2, stroke: "var(--widget-edge)", "stroke-width": factor ? 1.5 : 1,
        "stroke-dasharray": factor ? null : "3 4", "stroke-opacity": state.lit.has(place) ? 0 : 1 }, stage);
    });
    state.lit.forEach((n, place) => {
      const [start, end] = edges[place], [x1, y1] = at(end), [x2, y2] = at(start);
      const long = Math.hypot(x2 - x1, y2 - y1), rest = 15 / long; // up to the rim of the circle
      ui.arrow([x1, y1], [x2 - (x2 - x1) * rest, y2 - (y2 - y1) * rest], stage, {
        stroke: ui.color(n > 0 ? 0 : 4), "stroke-width": 3, "data-from": end, "data-to": start, "data-value": n,
      });
    });
    for (const [name, [label, x, y]] of Object.entries(nodes)) {
      const value = state.whole ? null : state.values[name];
      const spot = ui.pin(x, y, stage, { "data-node": name });
      const tint = value > 0 ? ui.color(0) : value < 0 ? ui.color(4) : "var(--widget-edge)";
      ui.el("circle", { r: 13, fill: "var(--widget-paper)", stroke: tint, "stroke-width": value ? 3 : 1.5 }, spot);
      ui.el("text", { y: 4.5, text: label, "text-anchor": "middle" }, spot);
    }
    state.lit.forEach((n, place) => {
      const [start, end] = edges[place].map((name) => nodes[name]);
      const spot = ui.pin((start[1] + end[1]) / 2, (start[2] + end[2]) / 2, stage);
      ui.el("text", { y: 5, text: signed(n), "text-anchor": "middle", class: "widget-halo widget-strong" }, spot);
    });
    const bottom = ui.pin(12, 22, stage);
    ui.el("text", { text: `arrived at z: ${state.arrived}`, class: "widget-halo widget-strong" }, bottom);
    root.dataset.arrived = state.arrived;
    const begin = chosen.loss === "reconstruction"
      ? "The decoder sends a gradient to q, the sum. Step follows it back to z."
      : "Every level has a commitment loss, c. Step follows their gradients back to z.";
    ui.say(step ? state.text : begin);
  }

  function showCode() {
    code.replaceChildren(...data.code[chosen.loop].split("\n").map((line) => {
      const same = LOOPS.every(([loop]) => data.code[loop].split("\n").includes(line));
      return ui.html(same ? "span" : "strong", { text: `${line}\n` });
    }));
  }

  function again(changes) {
    Object.assign(chosen, changes);
    graph = data.graphs[chosen.loop][chosen.levels - 1];
    states = follow(graph, chosen.loss);
    showCode();
    player.go(0);
    player.refresh();
  }

  again({});
});
