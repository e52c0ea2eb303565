// The search as a picture: the part of the tree of IDs that the beams walked, level by level from left to right.
(() => {
  "use strict";
  const { drawn, number, percent } = liveRecommender;

  const HEIGHT = 480, LABEL = 17; // pixels: of the picture, and of a line of text

  class BeamTree {
    // tell: called with a text about the level that is shown; point: with one about the beam under the pointer.
    constructor(place, { trie, catalogue, tell, point }) {
      Object.assign(this, { place, trie, catalogue, tell, point });
      this.steps = [];
      this.level = 0;
      this.timer = null;
      new ResizeObserver(() => this.draw()).observe(place);
      place.addEventListener("pointerover", ({ target }) => this.#pointAt(target));
    }

    // steps: what `search` found; k: how many of the last beams are recommended.
    set(steps, k) {
      this.stop();
      this.steps = steps;
      this.k = k;
      this.show(steps.length, false);
      this.point("Point at a line to see which movies are below it.");
      this.draw();
    }

    // --- Level by level ---

    show(level, aloud = true) {
      this.level = level;
      if (this.svg) this.#mark();
      this.tell(this.#inWords(level), aloud);
    }

    restart() {
      this.stop();
      this.show(0);
    }

    step() {
      this.stop();
      this.show(this.level < this.steps.length ? this.level + 1 : 1);
    }

    run() {
      this.stop();
      this.show(0);
      this.timer = setInterval(() => {
        this.show(this.level + 1);
        if (this.level === this.steps.length) this.stop();
      }, 900);
    }

    stop() {
      clearInterval(this.timer);
    }

    #inWords(level) {
      if (level === 0) return "At the start there is one beam, the empty ID.";
      const { beams, candidates } = this.steps[level - 1];
      if (!candidates) return `Level ${level} of ${this.steps.length}: no code leads to a movie that may be recommended.`;
      const [one, many] = [["first code", "first codes"], ["pair of codes", "pairs of codes"],
        ["beginning of three codes", "beginnings of three codes"]][level - 1] ?? ["ID", "IDs"];
      const kept = candidates === 1 ? `the only ${one} is kept`
        : `${beams.length < candidates ? `${number(beams.length)} of` : "all"} ${number(candidates)} ${many} are kept`;
      const best = `; the most probable is ${this.#id(level, 0)}, with ${percent(Math.exp(beams[0].total))}`;
      const end = level === this.steps.length && beams.length > this.k ? ` The best ${this.k} are the recommendations.` : "";
      return `Level ${level} of ${this.steps.length}: ${kept}${best}.${end}`;
    }

    #id(level, beam) {
      const codes = [];
      for (let depth = level; depth > 0; depth--) {
        const { code, parent } = this.steps[depth - 1].beams[beam];
        codes.unshift(code);
        beam = parent;
      }
      return codes.join("-");
    }

    // --- Drawing ---

    draw() {
      const width = this.place.clientWidth;
      if (!width || !this.steps.length) return; // in a panel that is not shown
      const labels = width > 560 ? 250 : 30; // pixels for the titles, or for their numbers alone
      const { steps } = this;
      const y = this.#rows();
      const x = (level) => 8 + (level * (width - labels - 8)) / steps.length;
      const reach = this.#reach();
      const lines = [], texts = [];
      steps.forEach(({ beams }, index) => {
        const level = index + 1;
        beams.forEach((beam, place) => {
          const [fromX, fromY] = [x(index), index ? y[index - 1][beam.parent] : HEIGHT / 2];
          const [toX, toY] = [x(level), y[index][place]];
          const middle = (fromX + toX) / 2;
          lines.push(drawn("path", {
            d: `M${fromX.toFixed(1)} ${fromY.toFixed(1)}C${middle.toFixed(1)} ${fromY.toFixed(1)} ${middle.toFixed(1)} ${toY.toFixed(1)} ${toX.toFixed(1)} ${toY.toFixed(1)}`,
            "stroke-width": (0.7 + 7 * Math.sqrt(Math.exp(beam.total))).toFixed(2),
            "data-level": level,
            "data-beam": place,
          }));
          if (level < 3 && labels > 100 && reach[index][place].recommended) {
            texts.push(drawn("text", { x: (toX - 2).toFixed(1), y: (toY - 4).toFixed(1), class: "live-code" }, String(beam.code)));
          }
        });
      });
      steps.at(-1).beams.slice(0, this.k).forEach(({ node }, place) => {
        const name = this.catalogue.names[this.trie.items[node]];
        const text = labels > 100 ? `${place + 1}. ${shortened(name, 30)}` : `${place + 1}`;
        texts.push(drawn("text", { x: width - labels + 6, y: (y.at(-1)[place] + 4).toFixed(1) }, text));
      });
      this.svg = drawn("svg", {
        viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img",
        "aria-label": "The beams of the search as a tree. The text above says how many are kept at each level, and the tab “Why this one?” lists the codes.",
      }, ...lines, ...texts);
      Object.assign(this, { reach, lines, texts });
      this.#mark();
      this.place.replaceChildren(this.svg);
    }

    // The height of each beam, by level and place. Beams that lead on stand at the middle of what they lead to. The
    // others stand below one another in the order of the tree, with room for a title where one is recommended.
    #rows() {
      const { steps } = this;
      const children = steps.map(({ beams }) => beams.map(() => []));
      steps.forEach(({ beams }, level) => {
        if (level) beams.forEach(({ parent }, place) => children[level - 1][parent].push(place));
      });
      const isRecommended = (level, place) => level === steps.length - 1 && place < this.k;
      const ends = steps.flatMap(({ beams }, level) => beams.filter((_, place) => !children[level][place].length && !isRecommended(level, place))).length;
      const best = Math.min(this.k, steps.at(-1).beams.length);
      const gap = Math.max(0, HEIGHT - best * LABEL) / Math.max(1, ends);
      const y = steps.map(() => []);
      let next = 0;
      const put = (level, place) => {
        const below = this.#inOrder(level + 1, children[level][place]);
        if (below.length) {
          const heights = below.map((child) => put(level + 1, child));
          y[level][place] = (heights[0] + heights.at(-1)) / 2;
        } else {
          const height = isRecommended(level, place) ? LABEL : gap;
          y[level][place] = next + height / 2;
          next += height;
        }
        return y[level][place];
      };
      this.#inOrder(0, [...steps[0].beams.keys()]).forEach((place) => put(0, place));
      return y;
    }

    #inOrder(level, places) {
      const node = (place) => this.steps[level].beams[place].node;
      return [...places].sort((a, b) => node(a) - node(b));
    }

    // How far each beam leads, by level and place: the last level of a beam that begins with it. And whether to one
    // that is recommended.
    #reach() {
      const { steps } = this;
      const reach = steps.map(({ beams }, level) => beams.map((_, place) => ({
        level: level + 1, recommended: level === steps.length - 1 && place < this.k,
      })));
      for (let level = steps.length - 1; level > 0; level--) {
        steps[level].beams.forEach(({ parent }, place) => {
          const own = reach[level][place], above = reach[level - 1][parent];
          above.level = Math.max(above.level, own.level);
          above.recommended ||= own.recommended;
        });
      }
      return reach;
    }

    // Show the beams up to a level, and tell those that go on from those that were dropped.
    #mark() {
      for (const line of this.lines) {
        const { level, beam } = line.dataset;
        const { level: end, recommended } = this.reach[level - 1][beam];
        const last = this.level === this.steps.length;
        line.setAttribute("class", Number(level) > this.level ? "live-later" : end < this.level ? "live-dropped"
          : last && recommended ? "live-best" : "live-kept");
      }
      for (const text of this.texts) text.classList.toggle("live-later", this.level < this.steps.length);
    }

    #pointAt({ dataset }) {
      if (!dataset.level) return;
      const level = Number(dataset.level), { node, total } = this.steps[level - 1].beams[dataset.beam];
      const [first, end] = this.trie.leaves(level, node);
      const name = this.catalogue.names[this.catalogue.mostRated(this.trie.items.subarray(first, end))[0]];
      const what = end - first === 1 ? name : `${number(end - first)} movies, such as ${name}`;
      this.point(`${this.#id(level, dataset.beam)}, probability ${percent(Math.exp(total))}: ${what}`);
    }
  }

  const shortened = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

  liveRecommender.BeamTree = BeamTree;
})();
