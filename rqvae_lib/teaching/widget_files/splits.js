// The splits of chapter 01: where training ends for whom, and how much of it is from after a target.
SemanticIdsWidgets.register("splits", (root, data, ui) => {
  "use strict";
  const { el, html } = ui;
  const number = (n) => n.toLocaleString("en-US");
  const when = (seconds) => new Date((data.start + seconds) * 1000);
  const day = (seconds) => when(seconds).toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
  const clock = (seconds) => when(seconds).toISOString().slice(11, 19);
  const share = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`;

  const TITLES = { "last-ten": "last ten", timestamp: "one moment for everybody (timestamp)" };

  let split = data.splits[0], person = 0, index = 0;
  const mine = () => split.people[person];
  const ratings = () => data.people[person];
  const target = () => mine().targets[index];

  html("style", { text: `
    [data-widget="splits"] .known { fill: var(--widget-color-0); opacity: 0.75; }
    [data-widget="splits"] .leak { stroke: var(--widget-color-4); stroke-width: 1; }
    [data-widget="splits"] .axis { stroke: var(--widget-edge); }
    [data-widget="splits"] .cut { stroke: var(--widget-text); stroke-dasharray: 5 4; }
    [data-widget="splits"] .now { stroke: var(--widget-accent); stroke-width: 2; }
    [data-widget="splits"] :is(.small, .lane text) { font-size: calc(12 * var(--px)); fill: var(--widget-soft); }
    [data-widget="splits"] .lane { cursor: pointer; }
    [data-widget="splits"] .lane.chosen text { fill: var(--widget-text); font-weight: 600; }
    [data-widget="splits"] .lane .ground { fill: transparent; stroke: var(--widget-line); }
    [data-widget="splits"] .lane.chosen .ground { stroke: var(--widget-text); }
    [data-widget="splits"] .training { --ink: var(--widget-color-0); }
    [data-widget="splits"] .validation { --ink: var(--widget-color-2); }
    [data-widget="splits"] .test { --ink: var(--widget-color-3); }
    [data-widget="splits"] .tick { stroke: var(--ink); stroke-width: 2.5; }
    [data-widget="splits"] .cell rect { stroke: var(--ink); fill: var(--widget-paper); stroke-width: 2; }
    [data-widget="splits"] .cell.training rect { fill: var(--ink); }
    [data-widget="splits"] .cell.past:not(.training) rect { fill: var(--ink); fill-opacity: 0.4; }
    [data-widget="splits"] .cell.to-come rect { stroke-dasharray: 3 3; }
    [data-widget="splits"] .cell.target rect { stroke: var(--widget-accent); stroke-width: 4; }
    [data-widget="splits"] .cell { cursor: pointer; }
    [data-widget="splits"] .cell text { text-anchor: middle; }
    [data-widget="splits"] .cell.training text { fill: var(--widget-paper); }
    [data-widget="splits"] .cell:focus-visible { outline: 3px solid var(--widget-accent); outline-offset: 1px; }
    [data-widget="splits"] .cell:focus:not(:focus-visible) { outline: none; }
    [data-widget="splits"] :is(.cell:focus-visible, .cell.chosen) rect { stroke: var(--widget-text); stroke-width: 4; }
    [data-widget="splits"] .cell.target:is(.chosen, :focus-visible) rect { stroke: var(--widget-accent); }
    [data-widget="splits"] .lane text { paint-order: stroke; stroke: var(--widget-paper); stroke-width: 3; }
    [data-widget="splits"] .tie { stroke: var(--widget-text); stroke-width: 2; fill: none; }
    [data-widget="splits"] .detail { min-height: 2.9em; }
    [data-widget="splits"] .leak-mark { background: repeating-linear-gradient(135deg, var(--widget-color-4) 0 2px, transparent 2px 4px);
      border: 1px solid var(--widget-color-4); border-radius: 0; }
  ` }, ui.body);

  // --- Controls -----------------------------------------------------------------------------------

  ui.controls();
  ui.select("Split", data.splits.map(({ name }, i) => [String(i), TITLES[name] || name]), (value) => {
    split = data.splits[Number(value)];
    restart();
  });
  const choice = ui.select("Person", data.people.map(({ label }, i) => [String(i), label]), (value) => {
    person = Number(value);
    restart();
  });
  ui.controls("Targets");
  const slider = ui.slider({
    label: "Target", min: 1, max: 1, value: 1,
    format: (value) => (mine().targets.length ? `${value} of ${mine().targets.length}` : "none"),
    onInput: (value) => { index = value - 1; draw(); },
  });
  const step = (by) => () => {
    const next = index + by;
    if (next < 0 || next >= mine().targets.length) return;
    index = next;
    slider.set(next + 1);
    draw();
  };
  const previous = ui.button("Previous target", step(-1)), next = ui.button("Next target", step(1));

  function restart() {
    // The last target: in the test part, if there is one.
    index = Math.max(0, mine().targets.length - 1);
    slider.input.max = Math.max(1, mine().targets.length);
    slider.input.disabled = mine().targets.length < 2;
    slider.set(index + 1);
    choice.value = String(person);
    draw();
  }

  // --- The years ----------------------------------------------------------------------------------

  const { narrow } = ui;
  const width = narrow ? 360 : 740, high = narrow ? 96 : 120, lane = 26, top = 22;
  const lanes = top + high + 22;
  const years = ui.stage(width, lanes + data.people.length * lane + 8, "All ratings of the training part by month, and the shown people", { widest: 1.15 });
  const months = Math.max(...data.splits.map((some) => some.months.length));
  const x = ui.scale([0, months * data.month], [10, width - 10]);
  const tallest = Math.max(...data.splits.flatMap((some) => some.months));
  const y = ui.scale([0, Math.sqrt(tallest)], [top + high, top]);
  const hatch = `${root.id}-hatch`;

  /** Bars from one moment to another: whole months, and the two cut ones as wide as they are. */
  function bars(from, to) {
    return split.months.map((count, month) => {
      const start = Math.max(from, month * data.month), end = Math.min(to, (month + 1) * data.month);
      return count && end > start ? `M${x(start).toFixed(2)},${y(0)} V${y(Math.sqrt(count)).toFixed(2)} H${x(end).toFixed(2)} V${y(0)} Z` : "";
    }).join("");
  }

  const PARTS = { t: "training", v: "validation", x: "test" };

  function drawYears() {
    years.replaceChildren();
    const pattern = el("pattern", { id: hatch, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, el("defs", {}, years));
    el("rect", { width: 2.4, height: 5, fill: ui.color(4) }, pattern);
    const end = months * data.month;
    const moment = target() ? ratings().times[target().place] : end;
    el("path", { class: "known", d: bars(0, moment) }, years);
    if (target() && target().later) el("path", { class: "leak", fill: `url(#${hatch})`, d: bars(moment, end) }, years);
    el("line", { class: "axis", x1: x(0), x2: x(end), y1: y(0), y2: y(0) }, years);
    for (let year = 1996; year <= 2016; year += narrow ? 5 : 2) {
      const place = x(Date.UTC(year, 0, 1) / 1000 - data.start);
      el("line", { class: "axis", x1: place, x2: place, y1: y(0), y2: y(0) + 4 }, years);
      el("text", { x: place, y: y(0) + 17, class: "small", "text-anchor": "middle", text: year }, years);
    }
    el("text", { x: x(0), y: 14, class: "small", text: "ratings that training has, by month (square-root scale)" }, years);
    split.cuts.forEach((cut, i) => {
      el("line", { class: "cut", x1: x(cut), x2: x(cut), y1: top, y2: lanes + data.people.length * lane }, years);
      el("text", {
        x: x(cut) + (i ? 3 : -3), y: top + 24, class: "small", "text-anchor": i ? "start" : "end",
        text: i ? "test" : narrow ? "training ends" : "training ends, validation begins",
      }, years);
    });
    const names = data.people.map((shown, row) => drawLane(shown, row));
    if (target()) {
      el("line", { class: "now", x1: x(moment), x2: x(moment), y1: top - 6, y2: lanes + data.people.length * lane }, years);
      const middle = x(moment) > width / 2;
      el("text", { x: x(moment) + (middle ? -4 : 4), y: top + 6, "text-anchor": middle ? "end" : "start", text: "the target", style: "fill: var(--widget-accent)" }, years);
    }
    years.append(...names); // above the lines
  }

  function drawLane(shown, row) {
    const at = lanes + row * lane;
    const group = el("g", { class: `lane${row === person ? " chosen" : ""}` }, years);
    el("rect", { class: "ground", x: 4, y: at, width: width - 8, height: lane - 4, rx: 3 }, group);
    // A sitting is a point on this scale: one tick for each pixel and part.
    const drawn = new Set();
    shown.times.forEach((time, i) => {
      const part = PARTS[split.people[row].parts[i]];
      const place = Math.round(x(time));
      if (!part || drawn.has(`${place} ${part}`)) return;
      drawn.add(`${place} ${part}`);
      const shift = { training: 0, validation: 1, test: 2 }[part];
      el("line", { class: `tick ${part}`, x1: place, x2: place, y1: at + 2 + shift * 6, y2: at + 8 + shift * 6 }, group);
    });
    const late = x(shown.times[0]) > width / 2;
    const label = el("g", { class: group.getAttribute("class") });
    el("text", { x: late ? 12 : width - 12, y: at + 15.5, "text-anchor": late ? "start" : "end", text: shown.label }, label);
    for (const part of [group, label]) part.addEventListener("click", () => { person = row; restart(); });
    return label;
  }

  // --- The person's ratings in their order --------------------------------------------------------

  ui.legend([
    { label: "training", color: ui.color(0), shape: "square" },
    { label: "validation", color: ui.color(2), shape: "square" },
    { label: "test", color: ui.color(3), shape: "square" },
    { label: "training from after the target", color: ui.color(4), shape: "square leak-mark" },
    { label: "same second", color: "var(--widget-text)", shape: "line" },
  ]);
  const size = narrow ? 27 : 30, gap = 12;
  const order = ui.stage(width, 92, "The ratings of the chosen person around the target, in order", {
    description: "Arrow keys walk from rating to rating; the line below says which movie each is.",
    widest: 1.15,
  });
  const detail = html("p", { class: "detail", "data-part": "detail" }, ui.body);

  function role(place) {
    const part = PARTS[mine().parts[place]];
    if (!target() || part === "training") return part;
    return `${part} ${place < target().place ? "past" : place === target().place ? "target" : "to-come"}`;
  }

  function explain(place) {
    const { titles, times } = ratings();
    const same = [place - 1, place + 1].filter((other) => times[other] === times[place]);
    const part = PARTS[mine().parts[place]];
    const meaning = !target() ? "" : place === target().place ? ", the target"
      : place > target().place ? ", not known yet" : part === "training" ? ", in the history" : ", in the history though held out from training";
    return `${place + 1}. ${titles[place]}, rated on ${day(times[place])} at ${clock(times[place])}: ${part} part${meaning}.`
      + (same.length ? ` ${ratings().titles[same[0]]} has the same second: only the file says which came first.` : "");
  }

  function choose(place, focus) {
    for (const group of order.querySelectorAll(".cell")) {
      const on = Number(group.dataset.place) === place;
      group.classList.toggle("chosen", on);
      group.setAttribute("tabindex", on ? 0 : -1);
      if (!on) continue;
      detail.textContent = explain(place);
      if (focus) group.focus({ preventScroll: true });
    }
  }

  order.addEventListener("keydown", (event) => {
    const group = event.target.closest(".cell"), by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!group || !by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (order.querySelector(`.cell[data-place="${Number(group.dataset.place) + by}"]`)) choose(Number(group.dataset.place) + by, true);
  });

  function drawOrder() {
    order.replaceChildren();
    const { times } = ratings(), all = times.length;
    const middle = target() ? target().place : all - 1;
    const pauses = (place) => place > 0 && times[place] - times[place - 1] >= 3600; // another sitting
    // A window around the target: two thirds of it lie before, as long as there is something.
    let first = middle, last = middle, used = size;
    const room = width - 14;
    const grow = (limit, by) => {
      for (;;) {
        const place = by < 0 ? first - 1 : last + 1;
        const more = size + (pauses(by < 0 ? first : place) ? gap : 0);
        if (place < 0 || place >= all || used + more > limit) return;
        used += more;
        if (by < 0) first = place; else last = place;
      }
    };
    grow((2 * room) / 3, -1);
    grow(room, 1);
    grow(room, -1);
    const places = [];
    let at = 8;
    for (let place = first; place <= last; place += 1) {
      const pause = place > first && pauses(place);
      if (pause) at += gap;
      places.push([place, at, pause]);
      at += size;
    }
    const hidden = all - places.length;
    el("text", { x: 8, y: 14, class: "small", text: `${number(all)} ratings${hidden ? `, ${number(places.length)} of them shown` : ""}${narrow ? "" : "; gaps are pauses of an hour or more"}` }, order);
    for (const [place, left, pause] of places) {
      const group = el("g", { class: `cell ${role(place)}`, tabindex: -1, role: "img", "aria-label": explain(place), "data-place": place }, order);
      el("rect", { x: left + 1.5, y: 28, width: size - 5, height: 28, rx: 3 }, group);
      if (target() && place === target().place) el("text", { x: left + size / 2 - 1, y: 47, text: "?" }, group);
      if (pause) el("line", { class: "axis", x1: left - gap / 2, x2: left - gap / 2, y1: 30, y2: 54, "stroke-dasharray": "2 3" }, order);
      if (place > first && times[place] === times[place - 1]) {
        el("path", { class: "tie", d: `M${left - size / 2 - 1},60 v5 h${size} v-5` }, order);
      }
      group.addEventListener("pointerenter", () => choose(place));
      group.addEventListener("click", () => choose(place));
      group.addEventListener("focus", () => { if (!group.classList.contains("chosen")) choose(place); });
    }
    const [start] = places[0], [end] = places[places.length - 1];
    el("text", { x: 8, y: 84, class: "small", text: day(times[start]) }, order);
    el("text", { x: width - 8, y: 84, class: "small", "text-anchor": "end", text: day(times[end]) }, order);
    choose(target() ? target().place : end);
  }

  // --- What leaks ---------------------------------------------------------------------------------

  function words() {
    const trained = [...mine().parts].filter((part) => part === "t").length;
    if (!target()) {
      return `No target: this split leaves all ${number(trained)} ratings of this person in training${split.cuts.length ? ", since all are from before the cut" : ""}.`;
    }
    const { later, movie, not_yet: unborn, place } = target();
    const part = PARTS[mine().parts[place]];
    let text = `A ${part} target of ${day(ratings().times[place])}, with ${number(place)} ratings before it, ${number(Math.min(place, trained))} of them in training. `;
    if (!later) {
      const cut = split.cuts[0];
      return `${text}Training ended on ${day(cut)}, ${((ratings().times[place] - cut) / (12 * data.month)).toFixed(1)} years before: none of its ${number(split.training)} ratings is from after the target.`;
    }
    text += `Of the ${number(split.training)} ratings in training, ${number(later)} (${share(later, split.training)}) are from after it, all by other people. `;
    text += movie[0] + movie[1]
      ? `The target's own movie: ${number(movie[0] + movie[1])} ratings in training, ${number(movie[1])} of them later.`
      : "The target's own movie is not in training.";
    if (unborn.length) {
      text += ` Training also has movies that nobody had rated by then: ${unborn.map(([title, times]) => `${title}, ${number(times)} ratings`).join("; ")}.`;
    }
    return text;
  }

  function draw() {
    previous.setAttribute("aria-disabled", String(index <= 0));
    next.setAttribute("aria-disabled", String(index >= mine().targets.length - 1));
    drawYears();
    drawOrder();
    ui.say(words());
  }
  restart();
});
