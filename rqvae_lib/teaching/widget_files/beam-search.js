// The beam search of chapter 09, step by step: the tree that it grows, and the cache that follows its beams.
// The search runs here, on the log-probabilities that Python passed for each prefix that it may read.
SemanticIdsWidgets.register("beam-search", (root, data, ui) => {
  "use strict";
  const { el, html } = ui;
  const depths = data.sizes.length; // the codes of an ID
  const RIVALS = 3; // the best codes that were not kept, drawn at each level
  const name = (prefix) => prefix.join("-");
  const percent = (logP) => {
    const p = 100 * Math.exp(logP);
    if (p < 0.001) return "less than 0.001 %";
    return `${p < 0.1 ? p.toFixed(3) : p < 10 ? p.toFixed(2) : p.toFixed(1)} %`;
  };
  const nats = (logP) => logP.toFixed(3).replace("-", "−");
  const plural = (count, noun, many = `${noun}s`) => `${count.toLocaleString("en-US")} ${count === 1 ? noun : many}`;

  // --- The search ---------------------------------------------------------------------------------

  /** Each level of a search: the beams it starts from, all continuations, the kept ones, and what was not offered. */
  function search(beams) {
    let kept = [{ prefix: [], score: 0, parent: null }];
    const levels = [];
    for (let depth = 0; depth < depths; depth += 1) {
      const longer = [], rated = [], nowhere = [];
      kept.forEach((beam, parent) => {
        const after = data.prefixes[name(beam.prefix)];
        const grow = (code, logP, more) => ({ prefix: [...beam.prefix, code], score: beam.score + logP, logP, parent, ...more });
        after.codes.forEach((code, i) => {
          (after.rated[i] ? rated : longer).push(grow(code, after.log_p[i], { below: after.below[i] }));
        });
        after.forbidden.forEach(([code, logP]) => nowhere.push(grow(code, logP, { below: 0 })));
      });
      for (const list of [longer, rated, nowhere]) list.sort((a, b) => b.score - a.score);
      const from = kept;
      kept = longer.slice(0, beams);
      const offered = longer.length + rated.length;
      levels.push({ from, longer, kept, rated, nowhere, offered, possible: from.length * data.sizes[depth] });
    }
    return levels;
  }

  let beams = Math.min(3, data.widest), levels = search(beams), step = 0, chosen = null;

  // --- Controls -----------------------------------------------------------------------------------

  ui.controls();
  ui.slider({
    label: "Beams", min: 1, max: data.widest, value: beams,
    onInput(value) { beams = value; levels = search(beams); chosen = null; draw(); },
  });
  // Two states a level: the codes are scored, then the best are kept. State 0 is the history alone.
  ui.player({ steps: 2 * depths, pause: 1600, onStep(next) { step = next; chosen = null; draw(); } });
  ui.legend([
    { label: "beam, kept", color: ui.color(0) },
    { label: "scored, not kept", color: "var(--widget-edge)", shape: "ring" },
    { label: "kept, dropped one code later", color: ui.color(0), shape: "ring" },
    { label: "only rated movies below, left out", color: ui.color(1), shape: "ring" },
    { label: "no ID begins so, never a choice", color: ui.color(4), shape: "cross" },
  ]);

  // --- The tree -----------------------------------------------------------------------------------

  const { narrow } = ui;
  const width = narrow ? 360 : 740, row = narrow ? 36 : 30, top = 28;
  const rows = data.widest + RIVALS + 2;
  const tree = ui.stage(width, top + rows * row + 6, "The part of the tree that the search has grown", {
    description: "Arrow keys walk from code to code; the line below says what each leads to.",
    widest: 1.15,
  });
  const ink = html("style", { text: `
    [data-widget="beam-search"] .node rect { fill: var(--widget-paper); stroke: var(--widget-edge); }
    [data-widget="beam-search"] .node text { text-anchor: middle; font-size: calc(12.5 * var(--px)); }
    [data-widget="beam-search"] .node .score { font-size: calc(11 * var(--px)); fill: var(--widget-soft); }
    [data-widget="beam-search"] .kept rect { stroke: var(--widget-color-0); stroke-width: 2.5; }
    [data-widget="beam-search"] .kept text:not(.score) { font-weight: 600; }
    [data-widget="beam-search"] .dead rect, [data-widget="beam-search"] .gone rect { stroke-dasharray: 3 3; stroke-width: 1; }
    [data-widget="beam-search"] .dead text, [data-widget="beam-search"] .gone text { fill: var(--widget-soft); }
    [data-widget="beam-search"] .gone rect { stroke: var(--widget-color-0); }
    [data-widget="beam-search"] .rated rect { stroke: var(--widget-color-1); stroke-dasharray: 6 3; stroke-width: 1.5; }
    [data-widget="beam-search"] .nowhere rect { stroke: var(--widget-color-4); stroke-dasharray: 2 2; stroke-width: 1.5; }
    [data-widget="beam-search"] .node { cursor: pointer; }
    [data-widget="beam-search"] .node:focus-visible { outline: 3px solid var(--widget-accent); outline-offset: 1px; }
    [data-widget="beam-search"] .node:focus:not(:focus-visible) { outline: none; }
    [data-widget="beam-search"] :is(.node:focus-visible, .node.chosen) rect { stroke-width: 3.5; stroke: var(--widget-accent); }
    [data-widget="beam-search"] .edge { fill: none; stroke: var(--widget-line); stroke-width: 1.2; }
    [data-widget="beam-search"] .edge.on { stroke: var(--widget-color-0); stroke-width: 2.5; }
    [data-widget="beam-search"] .edge.not { stroke-dasharray: 3 3; }
    [data-widget="beam-search"] .strike { fill: none; stroke: var(--widget-color-4); stroke-width: 2; }
    [data-widget="beam-search"] .head { fill: var(--widget-soft); text-anchor: middle; font-size: calc(12 * var(--px)); }
    [data-widget="beam-search"] .row-label { fill: var(--widget-soft); font-size: calc(12 * var(--px)); }
    [data-widget="beam-search"] .cell rect { fill: var(--widget-paper); stroke: var(--widget-edge); }
    [data-widget="beam-search"] .cell text { text-anchor: middle; font-size: calc(12 * var(--px)); }
    [data-widget="beam-search"] .cell.new rect { stroke-width: 3; stroke: var(--widget-accent); }
    [data-widget="beam-search"] .copy { fill: none; stroke-width: 2.5; }
    [data-widget="beam-search"] .history rect { fill: var(--widget-line); stroke: var(--widget-edge); }
    [data-widget="beam-search"] .free { opacity: 0.45; }
    [data-widget="beam-search"] .detail { min-height: 2.9em; }
    [data-widget="beam-search"] .found-items td:nth-child(n+2) { white-space: nowrap; font-variant-numeric: tabular-nums; }
  ` }, ui.body);
  ink.dataset.part = "ink";
  ui.say(""); // its place is below the tree
  const detail = html("p", { class: "detail", "data-part": "detail" }, ui.body);
  const columns = ui.scale([0, depths], [narrow ? 26 : 46, width - (narrow ? 38 : 74)]);
  const boxWidth = narrow ? 58 : 104, boxHeight = narrow ? 31 : 22;
  const rowAt = (index) => top + (index + 0.5) * row;

  /** What is drawn at a level: its nodes, in the order of the rows. */
  function nodesOf(depth) {
    const { longer, kept, rated, nowhere } = levels[depth];
    const decided = step >= 2 * depth + 2;
    const moreDecided = step >= 2 * depth + 4; // the next level has chosen
    const alive = new Set(depth + 1 < depths && moreDecided ? levels[depth + 1].kept.map((beam) => beam.parent) : kept.keys());
    const nodes = longer.slice(0, beams + RIVALS).map((beam, index) => ({
      ...beam,
      kind: index >= kept.length ? (decided ? "dead" : "open") : !decided ? "open" : alive.has(index) ? "kept" : "gone",
    }));
    // The most probable of those that the search was not offered.
    if (rated.length) nodes.push({ ...rated[0], kind: "rated" });
    if (nowhere.length) nodes.push({ ...nowhere[0], kind: "nowhere" });
    return nodes;
  }

  const KINDS = {
    open: "scored", kept: "kept", dead: "not kept", gone: "kept at first, then dropped: none of its continuations was kept",
    rated: "only rated movies below, left out", nowhere: "no ID begins so, never a choice",
  };

  function explain(node) {
    const lead = `${name(node.prefix)} (${KINDS[node.kind]}): log p = ${nats(node.score - node.logP)} ${nats(node.logP).replace("−", "− ")} = ${nats(node.score)}, which is ${percent(node.score)}.`;
    if (node.kind === "nowhere") {
      return `${lead} The model gives the code ${node.prefix.at(-1)} a probability of ${percent(node.logP)} here, but no movie has such an ID.`;
    }
    const titles = data.titles[name(node.prefix)] || [];
    const rest = node.below - titles.length;
    return `${lead} Below it: ${titles.join("; ")}${rest > 0 ? `; and ${rest} more` : ""}.`;
  }

  function choose(key, focus) {
    chosen = key;
    for (const group of tree.querySelectorAll(".node")) {
      const on = group.dataset.prefix === key;
      group.classList.toggle("chosen", on);
      group.setAttribute("tabindex", on ? 0 : -1);
      if (!on) continue;
      detail.textContent = group.getAttribute("aria-label");
      if (focus) group.focus({ preventScroll: true });
    }
  }

  function walk(event) {
    const group = event.target.closest(".node");
    const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] || [];
    if (!group || across === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const column = Number(group.dataset.depth) + across, line = Number(group.dataset.row) + down;
    const there = [...tree.querySelectorAll(`.node[data-depth="${column}"]`)];
    if (!there.length) return;
    const next = there[Math.min(there.length - 1, Math.max(0, line))];
    choose(next.dataset.prefix, true);
  }
  tree.addEventListener("keydown", walk);

  function drawTree() {
    tree.replaceChildren();
    const edges = el("g", {}, tree), nodes = el("g", {}, tree);
    const titles = ["history", ...data.sizes.map((_, level) => (narrow ? `code ${level + 1}` : `${level === depths - 1 ? "last" : ["first", "second", "third"][level] || `${level + 1}th`} code`))];
    titles.forEach((text, depth) => el("text", { x: columns(depth), y: 17, class: "head", text }, tree));
    const middle = rowAt((data.widest - 1) / 2);
    el("circle", { cx: columns(0), cy: middle, r: 6, fill: ui.color(0) }, nodes);
    const shown = Math.ceil(step / 2);
    for (let depth = 0; depth < shown; depth += 1) {
      nodesOf(depth).forEach((node, index) => {
        const x = columns(depth + 1), y = rowAt(index);
        const startX = depth ? columns(depth) + boxWidth / 2 : columns(0) + 6;
        const startY = depth ? rowAt(node.parent) : middle;
        const bend = (x - boxWidth / 2 - startX) / 2, end = x - boxWidth / 2;
        const kind = node.kind === "kept" ? " on" : node.kind === "open" ? "" : " not";
        el("path", { class: `edge${kind}`, d: `M${startX},${startY} C${startX + bend},${startY} ${end - bend},${y} ${end},${y}` }, edges);
        const group = el("g", {
          class: `node ${node.kind}`, tabindex: -1, role: "img", "aria-label": explain(node),
          "data-prefix": name(node.prefix), "data-depth": depth, "data-row": index, "data-kind": node.kind,
        }, nodes);
        const box = { x: x - boxWidth / 2, y: y - boxHeight / 2, width: boxWidth, height: boxHeight, rx: 5 };
        el("rect", box, group);
        const code = String(node.prefix.at(-1));
        if (narrow) {
          el("text", { x, y: y - 2, text: code }, group);
          el("text", { x, y: y + 11, class: "score", text: nats(node.score) }, group);
        } else {
          el("text", { x: x - 22, y: y + 4.5, text: code }, group);
          el("text", { x: x + 24, y: y + 4.5, class: "score", text: nats(node.score) }, group);
        }
        if (node.kind === "nowhere") {
          const edge = box.x + (narrow ? 8 : 10), arm = narrow ? 3 : 4;
          const cross = `M${edge - arm},${y - arm} l${2 * arm},${2 * arm} m${-2 * arm},0 l${2 * arm},${-2 * arm}`;
          el("path", { class: "strike", d: cross }, group);
        }
        const key = name(node.prefix);
        group.addEventListener("pointerenter", () => choose(key));
        group.addEventListener("click", () => choose(key));
        group.addEventListener("focus", () => { if (chosen !== key) choose(key); });
      });
    }
    const first = tree.querySelector(`.node[data-depth="${shown - 1}"]`);
    if (first) first.setAttribute("tabindex", 0); // one stop of the Tab key; the arrows lead on
    detail.textContent = shown ? "Point at a code, or walk there with the arrow keys, to see what it leads to." : "";
  }

  // --- The cache ----------------------------------------------------------------------------------

  html("p", { class: "widget-title", text: "What the cache holds" }, ui.body);
  const cacheRow = 26, cell = narrow ? 34 : 52, left = narrow ? 44 : 60, gap = narrow ? 48 : 150;
  const cache = ui.stage(width, 66 + data.widest * cacheRow, "The rows of the cache before and after this step", { widest: 1.15 });
  const cacheText = html("p", { "data-part": "cache" }, ui.body);

  function cacheRows(levelBeams, x, previous) {
    levelBeams.forEach((beam, index) => {
      const y = 58 + index * cacheRow;
      const parent = previous ? beam.parent : null;
      const group = el("g", { class: "row", "data-row": index, "data-parent": parent }, cache);
      el("text", { x: x - 8, y: y + 13, class: "row-label", "text-anchor": "end", text: narrow ? String(index + 1) : `row ${index + 1}` }, group);
      if (!beam.prefix.length) el("text", { x, y: y + 13, class: "row-label", text: "no token of its own" }, group);
      beam.prefix.forEach((code, place) => {
        const isNew = previous && place === beam.prefix.length - 1;
        const box = el("g", { class: `cell${isNew ? " new" : ""}` }, group);
        el("rect", { x: x + place * cell, y, width: cell - 4, height: cacheRow - 7, rx: 3 }, box);
        el("text", { x: x + place * cell + (cell - 4) / 2, y: y + 13.5, text: code }, box);
      });
    });
  }

  function drawCache() {
    cache.replaceChildren();
    const level = Math.max(0, Math.floor(step / 2) - 1); // the last one that was decided
    const copied = step >= 2 && step % 2 === 0 && level < depths - 1;
    const shared = el("g", { class: "history" }, cache);
    el("rect", { x: 8, y: 6, width: width - 16, height: 24, rx: 4 }, shared);
    el("text", { x: width / 2, y: 22.5, "text-anchor": "middle", text: `history: ${data.history_tokens} tokens, read once, shared by all beams` }, shared);
    const before = copied ? levels[level].from : step < 2 ? levels[0].from : levels[Math.min(level, depths - 2)].kept;
    if (!copied) {
      cacheRows(before, left, null);
      cacheText.textContent = step === 2 * depths
        ? "Nothing follows the last code, so it is not read: the cache stays as it was."
        : step === 0 ? "The history is read: its keys and values are all that the cache holds."
          : "Scoring codes changes nothing in the cache.";
      return;
    }
    const after = levels[level].kept, right = left + (depths - 2) * cell + gap + (narrow ? 16 : 60);
    el("text", { x: left, y: 48, class: "row-label", text: "before" }, cache);
    el("text", { x: right, y: 48, class: "row-label", text: "after" }, cache);
    cacheRows(before, left, null);
    cacheRows(after, right, true);
    const used = new Set(after.map((beam) => beam.parent));
    const start = left + Math.max(before[0].prefix.length * cell, before[0].prefix.length ? 0 : narrow ? 92 : 130) + 2;
    after.forEach((beam, index) => {
      const y1 = 68 + beam.parent * cacheRow, y2 = 68 + index * cacheRow, end = right - (narrow ? 18 : 48);
      const bend = (end - start) / 2;
      el("path", {
        class: "copy", stroke: ui.color(beam.parent), "data-from": beam.parent, "data-to": index,
        d: `M${start},${y1} C${start + bend},${y1} ${end - bend},${y2} ${end},${y2}`,
      }, cache);
    });
    cache.querySelectorAll(".row:not([data-parent])").forEach((group, index) => { if (!used.has(index)) group.classList.add("free"); });
    const dropped = [...before.keys()].filter((index) => !used.has(index)).map((index) => index + 1);
    const copies = after.map((beam, index) => `${index + 1} from ${beam.parent + 1}`).join(", ");
    cacheText.textContent = `Copied: row ${copies}. Then each row reads one token, its new code (outlined). `
      + (dropped.length ? `Nobody copies row ${dropped.join(" or ")}: ${dropped.length === 1 ? "its prefix has" : "their prefixes have"} died.` : "Every row is copied at least once.");
  }

  // --- What is said, and the result ---------------------------------------------------------------

  const found = html("div", { "data-part": "found" }, ui.body);

  function drawFound() {
    found.replaceChildren();
    if (step < 2 * depths) return;
    const { kept } = levels[depths - 1];
    const table = html("table", { class: "found-items" }, found);
    const head = html("tr", {}, html("thead", {}, table));
    for (const text of ["found", "ID", "log p", "p"]) html("th", { scope: "col", text }, head);
    const rows = html("tbody", {}, table);
    for (const beam of kept) {
      const line = html("tr", { "data-id": name(beam.prefix) }, rows);
      html("td", { text: data.titles[name(beam.prefix)][0] }, line);
      html("td", { text: name(beam.prefix) }, line);
      html("td", { text: nats(beam.score) }, line);
      html("td", { text: percent(beam.score) }, line);
    }
    const { title, id, log_p: logP, rank_of_first_code: rank } = data.best;
    const hit = kept.some((beam) => name(beam.prefix) === name(id));
    html("p", {
      text: hit ? `The first is the most probable movie of all.`
        : `The most probable movie of all is not among them: ${title}, ${name(id)}, with ${percent(logP)}. `
          + `Its first code, ${id[0]}, is number ${rank} at the first level, and ${plural(beams, "beam")} dropped it there.`,
    }, found);
  }

  function words() {
    if (step === 0) {
      const recent = data.history.slice(-3).join(", ");
      return `The history: ${plural(data.history.length, "movie")}, the last of them ${recent}. Press Step to score the first codes.`;
    }
    const depth = Math.ceil(step / 2) - 1, { from, longer, kept, rated, nowhere, offered, possible } = levels[depth];
    if (step % 2) {
      let text = `Code ${depth + 1}. ${plural(from.length, "prefix", "prefixes")} could be continued by ${plural(possible, "code")}; `
        + `${offered.toLocaleString("en-US")} of these ${offered === 1 ? "leads" : "lead"} to a movie.`;
      if (nowhere.length) {
        const lost = from.reduce((sum, beam) => sum + Math.exp(beam.score) * data.prefixes[name(beam.prefix)].lost, 0)
          / from.reduce((sum, beam) => sum + Math.exp(beam.score), 0);
        const worst = nowhere[0];
        text += ` The others get ${(100 * lost).toFixed(1)} % of ${from.length === 1 ? "its" : "their"} probability, but the search may not choose them. The best of them, `
          + `${name(worst.prefix)}, would have ${percent(worst.score)}, since after ${name(worst.prefix.slice(0, -1)) || "the history"} `
          + `the model gives the code ${worst.prefix.at(-1)} a probability of ${percent(worst.logP)}.`;
      }
      if (rated.length) text += ` ${plural(rated.length, "code")} lead${rated.length === 1 ? "s" : ""} only to movies already rated.`;
      return text;
    }
    const died = from.filter((_, index) => !kept.some((beam) => beam.parent === index)).map((beam) => name(beam.prefix));
    if (depth === depths - 1) return `The IDs are complete: ${plural(kept.length, "movie")}, the most probable first.`;
    return `The ${kept.length === 1 ? "best is" : `${kept.length} best are`} kept, of ${plural(longer.length, "continuation")}: ${kept.map((beam) => name(beam.prefix)).join(", ")}.`
      + (died.length && depth ? ` ${died.join(" and ")} ${died.length === 1 ? "dies" : "die"}: no continuation was good enough.` : "");
  }

  function draw() {
    drawTree();
    drawCache();
    drawFound();
    ui.say(words());
  }
  draw();
});
