// What all widgets of widgets.py share: controls, a stage to draw on, a player, and a line that says what is shown.
// It touches nothing outside the widgets' own elements and asks for nothing from the network.
//
//   SemanticIdsWidgets.register("name", (root, data, ui) => { … });
//
// builds every widget of that name on the page: `root` is its element, `data` what Python passed, and `ui` makes the
// parts below. A part is added where it is made, so the order of the calls is the order on the page.
(() => {
  "use strict";
  if (window.SemanticIdsWidgets) return; // an earlier widget of this page brought it
  const SVG = "http://www.w3.org/2000/svg";
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  function fill(element, attributes, parent) {
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") element.textContent = value;
      else if (value === true) element.setAttribute(name, "");
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
    }
    if (parent) parent.append(element);
    return element;
  }
  /** Make an SVG element; `text` among its attributes is what stands in it. */
  const el = (tag, attributes = {}, parent = null) => fill(document.createElementNS(SVG, tag), attributes, parent);
  /** The same for an HTML element. */
  const html = (tag, attributes = {}, parent = null) => fill(document.createElement(tag), attributes, parent);

  // Or the browser would set the controls on the way back to the page, and tell the widget nothing.
  const FORGET = { autocomplete: "off" };

  /** A straight line from one interval to another, and `invert` for the way back. */
  function scale([from, to], [start, end]) {
    const slope = (end - start) / (to - from || 1);
    return Object.assign((x) => start + (x - from) * slope, { invert: (y) => from + (y - start) / slope });
  }

  /** A generator of numbers from 0 to 1 that the seed determines (mulberry32). */
  function random(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = state;
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }

  /**
   * The Voronoi cells of points within a convex area: for each point the polygon of all places that are nearest to it,
   * as a list of corners, empty where no place of the area is.
   */
  function cells(points, area) {
    return points.map(([px, py], own) => {
      let shape = area;
      for (const [other, [qx, qy]] of points.entries()) {
        if (other === own || shape.length === 0) continue;
        if (px === qx && py === qy) { if (other < own) shape = []; continue; } // the first of equal points has the cell
        // Cut along the line halfway: what is on the own side stays.
        const [nx, ny] = [qx - px, qy - py], half = (qx * qx + qy * qy - px * px - py * py) / 2;
        const beyond = ([x, y]) => x * nx + y * ny - half;
        shape = shape.flatMap((here, i) => {
          const next = shape[(i + 1) % shape.length], a = beyond(here), b = beyond(next), t = a / (a - b);
          const crossing = [here[0] + t * (next[0] - here[0]), here[1] + t * (next[1] - here[1])];
          return [...(a <= 0 ? [here] : []), ...(a < 0 !== b < 0 && a !== 0 && b !== 0 ? [crossing] : [])];
        });
      }
      return shape;
    });
  }

  const color = (i) => `var(--widget-color-${((i % 8) + 8) % 8})`;

  const NARROW = 560; // pixels: with less, a widget draws as for a phone

  /** The parts for one widget; `again` builds it anew. */
  function toolkit(root, again) {
    const body = root.querySelector(":scope > .widget-body");
    let bar = null, status = null, made = 0, narrow = null;
    const id = (part) => `${root.id}-${part}-${(made += 1)}`; // the same at every visit

    /** Begin a row of controls; those made next stand in it. */
    function controls(label = "Controls") {
      bar = html("div", { class: "widget-controls", role: "group", "aria-label": label }, body);
      return bar;
    }
    const place = (parent) => parent || bar || controls();

    function button(label, onClick, { parent, pressed, title } = {}) {
      const made = html("button", { type: "button", text: label, title, "aria-pressed": pressed }, place(parent));
      made.addEventListener("click", () => onClick(made));
      return made;
    }

    /** Returns its `input`, its `value`, and `set(value)`, which does not call `onInput`. */
    function slider({ label, min, max, step = 1, value, format = String, onInput = () => {}, parent }) {
      const name = id("slider"), box = html("div", { class: "widget-slider" }, place(parent));
      html("label", { for: name, text: label }, box);
      const input = html("input", { type: "range", id: name, min, max, step, value, ...FORGET }, box);
      const output = html("output", { for: name, "aria-hidden": "true" }, box);
      const show = () => {
        output.textContent = format(Number(input.value));
        input.setAttribute("aria-valuetext", output.textContent);
      };
      input.addEventListener("input", () => { show(); onInput(Number(input.value)); });
      show();
      return {
        input,
        get value() { return Number(input.value); },
        set(next) { input.value = next; show(); },
      };
    }

    /** `options` are texts, or pairs of a value and a text. `onChange` gets the value. */
    function select(label, options, onChange, { value, parent } = {}) {
      const name = id("select"), box = html("div", {}, place(parent));
      html("label", { for: name, text: label }, box);
      const made = html("select", { id: name, ...FORGET }, box);
      for (const option of options) {
        const [key, text] = Array.isArray(option) ? option : [option, option];
        html("option", { value: key, text }, made);
      }
      if (value !== undefined) made.value = value;
      made.addEventListener("change", () => onChange(made.value));
      return made;
    }

    function checkbox(label, checked, onChange, { parent } = {}) {
      const box = html("label", { class: "widget-checkbox" }, place(parent));
      const made = html("input", { type: "checkbox", checked, ...FORGET }, box);
      box.append(label);
      made.addEventListener("change", () => onChange(made.checked));
      return made;
    }

    /** An SVG of that many units, as wide as the column. Texts in it keep their size; `--px` is a pixel. */
    function stage(width, height, label, { description, widest = 1.5, parent } = {}) {
      const box = html("div", { class: "widget-stage" }, parent || body);
      const attributes = { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label };
      const svg = el("svg", attributes, box);
      svg.style.maxWidth = `${width * widest}px`;
      if (description) {
        const name = id("description");
        html("p", { id: name, class: "widget-hidden", text: description }, box);
        svg.setAttribute("aria-describedby", name);
      }
      const measure = () => { if (svg.clientWidth) svg.style.setProperty("--zoom", width / svg.clientWidth); };
      new ResizeObserver(measure).observe(svg);
      measure();
      return svg;
    }

    /** A group at a place of a stage whose content is measured in pixels of the screen, however wide the stage is. */
    function pin(x, y, parent, attributes = {}) {
      const outer = el("g", { transform: `translate(${x} ${y})`, ...attributes }, parent);
      return el("g", { class: "widget-pin" }, outer);
    }

    /** An arrow on a stage; `attributes` are those of its line. */
    function arrow([x1, y1], [x2, y2], parent, attributes = {}) {
      const group = el("g", {}, parent), ink = attributes.stroke || "var(--widget-text)";
      if (x1 === x2 && y1 === y2) return group;
      el("line", { x1, y1, x2, y2, stroke: ink, "stroke-width": 2, ...attributes }, group);
      const turn = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
      el("path", { d: "M0 0L-9 4.5L-9-4.5Z", fill: ink, transform: `rotate(${turn})` }, pin(x2, y2, group));
      return group;
    }

    /**
     * Let an element of a stage be moved by the pointer and the arrow keys (with Shift five times as far).
     * `at()` says where it is, `onMove(x, y)` moves it, in units of the stage; `keys` is the step of an arrow key.
     */
    function drag(element, { at, onMove, keys = 10, label = "Movable point", surface = null, onEnd = () => {} }) {
      const svg = element.ownerSVGElement, area = surface || element;
      fill(element, { tabindex: 0, role: "application", "aria-roledescription": "movable point", "aria-label": label });
      element.classList.add("widget-movable");
      const view = svg.viewBox.baseVal;
      const limit = (value, size) => Math.min(size, Math.max(0, value));
      const move = (x, y) => onMove(limit(x, view.width), limit(y, view.height));
      const place = (event) => {
        const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
        return [point.x, point.y];
      };
      let grabbed = null; // how far from the middle of the element it was taken
      area.style.touchAction = "none";
      area.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        const [x, y] = place(event), [px, py] = at();
        grabbed = surface ? [0, 0] : [px - x, py - y];
        area.setPointerCapture(event.pointerId);
        element.focus({ preventScroll: true });
        if (surface) move(x, y);
        event.preventDefault();
      });
      area.addEventListener("pointermove", (event) => {
        if (!grabbed) return;
        const [x, y] = place(event);
        move(x + grabbed[0], y + grabbed[1]);
      });
      const leave = () => { if (grabbed) { grabbed = null; onEnd(); } };
      area.addEventListener("pointerup", leave);
      area.addEventListener("pointercancel", leave);
      element.addEventListener("keydown", (event) => {
        const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
        if (!(event.key in ways) || event.ctrlKey || event.metaKey || event.altKey) return;
        const [dx, dy] = ways[event.key], [x, y] = at(), far = keys * (event.shiftKey ? 5 : 1);
        move(x + dx * far, y + dy * far);
        onEnd();
        event.preventDefault();
      });
      return element;
    }

    /**
     * First, Back, Step, Run and Last over states 0 to `steps` (a number, or a function that returns it).
     * `onStep(step)` shows a state. Returns `step`, `go(step)`, `stop()`, and `refresh()` after `steps` has changed.
     * For readers who asked for less motion, Run goes to the last state at once.
     */
    function player({ steps, onStep, start = 0, pause = 700, label = "Steps", parent, name = "step" }) {
      const group = html("div", { class: "widget-player", role: "group", "aria-label": label }, place(parent));
      const last = () => (typeof steps === "function" ? steps() : steps);
      let step = start, timer = null;
      const show = () => {
        count.textContent = `${name} ${step} of ${last()}`;
        // Not `disabled`: whoever pressed Enter on such a button would lose the place on the page.
        for (const [made, end] of [[first, 0], [back, 0], [forward, last()], [final, last()]]) {
          made.setAttribute("aria-disabled", String(step === end));
        }
        run.textContent = timer ? "Pause" : "Run";
        if (status) status.setAttribute("aria-live", timer ? "off" : "polite");
      };
      function stop() {
        clearInterval(timer);
        timer = null;
        show();
      }
      function go(next) {
        step = Math.min(last(), Math.max(0, next));
        if (timer && step === last()) stop();
        show();
        onStep(step);
      }
      const by = (next) => () => { if (timer) stop(); if (next() !== step) go(next()); };
      const one = (add) => by(() => Math.min(last(), Math.max(0, step + add)));
      const first = button("First", by(() => 0), { parent: group });
      const back = button("Back", one(-1), { parent: group });
      const forward = button("Step", one(1), { parent: group });
      const run = button("Run", () => {
        if (timer) return stop();
        if (still()) return go(last());
        const from = step >= last() ? 0 : step + 1;
        timer = setInterval(() => (group.isConnected ? go(step + 1) : stop()), pause);
        return go(from);
      }, { parent: group });
      const final = button("Last", by(last), { parent: group });
      const count = html("span", { class: "widget-count" }, group);
      group.addEventListener("keydown", (event) => {
        const moves = { ArrowLeft: back, ArrowRight: forward, Home: first, End: final };
        if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
        moves[event.key].click();
        event.preventDefault();
      });
      show();
      return {
        get step() { return step; },
        go(next) { if (timer) stop(); go(next); },
        refresh() { step = Math.min(step, last()); show(); },
        stop,
      };
    }

    /** Write what is shown now; it is also said to readers who do not see it. */
    function say(text) {
      if (!status) status = html("p", { class: "widget-status", role: "status" }, body);
      if (status.textContent !== text) status.textContent = text;
    }

    /** What colors and shapes mean: entries { label, color, shape }; a shape is one of shared.css, such as "dot". */
    function legend(entries, parent = null) {
      const list = html("ul", { class: "widget-legend" }, parent || body);
      const replace = (items) => list.replaceChildren(...items.map(({ label, color: ink, shape = "dot" }) => {
        const item = html("li"), mark = html("span", { class: `widget-mark widget-${shape}` }, item);
        mark.style.setProperty("--ink", ink);
        item.append(label);
        return item;
      }));
      replace(entries);
      return Object.assign(list, { replace });
    }

    /** A row of stages, which stand one below the other where there is no room: the `parent` of each. */
    const columns = () => html("div", { class: "widget-columns" }, body);

    /** Whether there is little room. A widget that asks is built anew, from its start, when that changes. */
    function isNarrow() {
      if (narrow !== null) return narrow;
      narrow = body.clientWidth < NARROW;
      new ResizeObserver((_, observer) => {
        if (!body.clientWidth || body.clientWidth < NARROW === narrow) return; // no width: hidden, or on paper
        observer.disconnect();
        again();
      }).observe(body);
      return narrow;
    }

    return {
      get narrow() { return isNarrow(); },
      body, el, html, scale, random, cells, color, controls, button, slider, select, checkbox, columns, stage, pin,
      arrow, drag, player, say, legend,
    };
  }

  function mount(root, build) {
    if (root.dataset.ready) return;
    const body = root.querySelector(":scope > .widget-body");
    const again = () => {
      body.replaceChildren();
      build(root, JSON.parse(root.querySelector(":scope > [data-part=data]").textContent), toolkit(root, again));
    };
    try {
      again();
    } catch (error) { // the still figure stays
      body.replaceChildren();
      throw error;
    }
    // In a notebook, single keys are commands of the page around: x cuts the cell, and the widget with it.
    root.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
    });
    root.dataset.ready = "1";
  }

  window.SemanticIdsWidgets = {
    register(name, build) {
      const own = document.currentScript && document.currentScript.closest(".widget");
      const all = new Set([own, ...document.querySelectorAll(".widget")]);
      for (const root of all) if (root && root.dataset.widget === name) mount(root, build);
    },
  };
})();
