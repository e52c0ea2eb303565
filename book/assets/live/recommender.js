// The recommender on the page: settings, a history, ten recommendations, and how they came about. The interface
// is book/_ext/live_recommender.html. Nothing is asked of the network, and nothing is kept.
(() => {
  "use strict";
  const { element, percent } = liveRecommender;

  const EXAMPLE = ["Toy Story (1995)", "Toy Story 2 (1999)"]; // the history at the start
  const K = 10;
  const LABELS = { "rq-transformer": "RQ-Transformer", "decoder-only": "decoder-only" };

  function start(root, { catalogue, trie, models }) {
    const part = (name) => root.querySelector(`[data-part="${name}"]`);
    const example = EXAMPLE.map((name) => catalogue.names.indexOf(name));
    let history = [...example], excluded = [];
    let steps = [], explained = 0; // the recommendation that is explained, from 0

    const showTab = liveRecommender.tabs(root.querySelector("[role=tablist]"));
    const tree = new liveRecommender.BeamTree(part("tree"), {
      trie,
      catalogue,
      tell: (text, aloud) => {
        part("told").setAttribute("aria-live", aloud ? "polite" : "off");
        part("told").textContent = text;
      },
      point: (text) => (part("pointed").textContent = text),
    });

    // --- Recommending ---

    function options() {
      const genre = Number(part("genre").value);
      return {
        forbidden: [...history, ...excluded],
        allowed: genre < 0 ? undefined : (item) => catalogue.hasGenre(item, genre),
        beams: Number(part("beams").value),
        temperature: Number(part("temperature").value),
      };
    }

    function update() {
      const model = models[part("model").value];
      const began = performance.now();
      steps = liveRecommender.search(model, history, options());
      const found = liveRecommender.recommended(model, steps.at(-1), K);
      const milliseconds = Math.max(1, Math.round(performance.now() - began));
      const read = model.config.max_items - 1;
      const limit = history.length > read ? ` The model reads the last ${read} movies that you rated.` : "";
      part("degrees").textContent = Number(part("temperature").value).toFixed(1);
      part("history").replaceChildren(...history.map(rated));
      part("next").replaceChildren(...found.map(recommendation));
      showExcluded();
      part("status").textContent = found.length
        ? `Computed in your browser in ${milliseconds} ms. First: ${catalogue.names[found[0].item]}.${limit}`
        : "Nothing is left to recommend: choose another genre, or show what is hidden.";
      part("clear").disabled = !history.length;
      tree.set(steps, K);
      explainNumber(Math.min(explained, found.length - 1));
    }

    function explainNumber(rank) {
      explained = Math.max(0, rank);
      if (rank >= 0) liveRecommender.explain(part("why"), steps, rank, { trie, catalogue });
      else part("why").replaceChildren(element("p", {}, "Nothing is recommended."));
    }

    // --- The two lists. What was clicked goes, so the focus moves to what takes its place. ---

    function rated(item, index) {
      const name = catalogue.names[item];
      return element("li", {},
        element("span", {}, element("span", { class: "live-name" }, name), " ", element("code", {}, catalogue.id(item).join("-"))),
        button("Remove", `Remove ${name}`, () => {
          history.splice(index, 1);
          update();
          focusOn("history", index, 0, part("add"));
        }));
    }

    function recommendation({ item, logProbability }, rank) {
      const name = catalogue.names[item];
      const bar = element("span", { class: "live-bar", "aria-hidden": "true" });
      bar.style.width = `${(6 * Math.sqrt(Math.exp(logProbability))).toFixed(2)}em`;
      return element("li", {},
        element("span", { class: "live-name" }, name),
        element("span", { class: "live-chance" }, percent(Math.exp(logProbability)), bar),
        element("code", {}, catalogue.id(item).join("-")),
        element("span", { class: "live-actions" },
          button("Add", `Add ${name} to what you rated`, () => {
            history.push(item);
            update();
            focusOn("next", rank, 0, part("add"));
          }),
          button("Hide", `Hide ${name}`, () => {
            excluded.push(item);
            update();
            focusOn("next", rank, 1, part("add"));
          }),
          button("Why?", `Why? ${name}`, () => {
            explainNumber(rank);
            showTab(1, true);
          })));
    }

    function showExcluded() {
      part("hidden").hidden = !excluded.length;
      part("hidden").replaceChildren("Hidden: ", ...excluded.flatMap((item, index) => [
        `${catalogue.names[item]} `,
        button("Show", `Show ${catalogue.names[item]} again`, () => {
          excluded.splice(index, 1);
          update();
          part("add").focus();
        }),
        " ",
      ]));
    }

    function button(text, label, onclick) {
      return element("button", { type: "button", class: "live-link", "aria-label": label, onclick }, text);
    }

    function focusOn(list, row, place, otherwise) {
      const rows = part(list).children;
      const left = rows[Math.min(row, rows.length - 1)];
      (left ? left.querySelectorAll("button")[place] : otherwise).focus();
    }

    // --- A movie's family ---

    function visit(item) {
      liveRecommender.showFamily(part("family"), item, catalogue, (other) => {
        visit(other);
        part("look").focus();
      });
    }

    // --- Start ---

    for (const name of Object.keys(models)) part("model").append(element("option", { value: name }, LABELS[name]));
    catalogue.genres.forEach((name, genre) => part("genre").append(element("option", { value: genre }, name)));
    for (const name of ["model", "genre", "beams"]) part(name).addEventListener("change", update);
    part("temperature").addEventListener("input", update);
    part("clear").onclick = () => { history = []; update(); part("add").focus(); };
    part("example").onclick = () => { history = [...example]; excluded = []; update(); };
    for (const name of ["restart", "step", "run"]) part(name).onclick = () => tree[name]();
    liveRecommender.titleSearch(part("add"), catalogue, (item) => {
      history = [...history.filter((other) => other !== item), item];
      excluded = excluded.filter((other) => other !== item);
      update();
    });
    liveRecommender.titleSearch(part("look"), catalogue, visit);
    update();
    visit(history[0]);
    root.dataset.ready = "1";
  }

  const root = document.querySelector('[data-widget="recommender"]');
  if (!root) return;
  const body = root.querySelector('[data-part="body"]');
  const sentence = [...root.children].filter((child) => child !== body);
  body.hidden = false;
  sentence.forEach((child) => (child.hidden = true));
  const begin = () => liveRecommender.load().then((loaded) => start(root, loaded)).catch((error) => {
    body.hidden = true;
    sentence.forEach((child) => (child.hidden = false));
    throw error;
  });
  // The page itself comes first, since the data are larger than most pages; and a reader who never comes near needs none.
  const whenNear = () => {
    const near = new IntersectionObserver(([seen]) => {
      if (!seen.isIntersecting) return;
      near.disconnect();
      begin();
    }, { rootMargin: "100%" });
    near.observe(root);
  };
  if (document.readyState === "complete") whenNear();
  else addEventListener("load", whenNear);
})();
