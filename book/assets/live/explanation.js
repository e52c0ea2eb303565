// Why this one: the codes of a recommendation, one after another, and their strongest rivals at each level.
(() => {
  "use strict";
  const { element, number, percent } = liveRecommender;

  const RIVALS = 3;

  // place: where the answer is written; steps: what `search` found; rank: of the recommendation, from 0.
  function explain(place, steps, rank, { trie, catalogue }) {
    const path = []; // the places of the beams that lead to it
    for (let level = steps.length - 1, beam = rank; level >= 0; level--) {
      path.unshift(beam);
      beam = steps[level].beams[beam].parent;
    }
    const chosen = path.map((beam, level) => steps[level].beams[beam]);
    const item = trie.items[chosen.at(-1).node];
    const product = chosen.map(({ own }) => percent(Math.exp(own))).join(" × ");
    place.replaceChildren(
      element("p", {},
        element("strong", {}, catalogue.names[item]),
        ` is number ${rank + 1}. Its ID is ${catalogue.id(item).join("-")}, and its probability is the product of those of its codes: ${product} = ${percent(Math.exp(chosen.at(-1).total))}.`),
      ...chosen.map((_, level) => table(level, chosen, steps, path, { trie, catalogue })),
      element("p", { class: "live-small" }, "Kept: among the beams of this level. Ruled out: everything below was rated or hidden by you, or is of another genre."),
    );
  }

  // One level: the code of the path and its strongest siblings, the most probable first.
  function table(level, chosen, steps, path, { trie, catalogue }) {
    const own = chosen[level], above = level ? chosen[level - 1].node : 0;
    const [first, end] = trie.children(level, above);
    const chances = steps[level].expanded[level ? path[level - 1] : 0];
    const order = Array.from(chances.keys()).sort((a, b) => chances[b] - chances[a] || a - b);
    const at = order.indexOf(own.node - first);
    const shown = order.slice(0, RIVALS + 1);
    if (at > RIVALS) shown[RIVALS] = own.node - first;
    const kept = new Set(steps[level].beams.map(({ node }) => node));
    const prefix = chosen.slice(0, level).map(({ code }) => code).join("-");
    const title = end - first === 1
      ? `Code ${level + 1}: after ${prefix} there is only this one, so its probability is 1.`
      : `Code ${level + 1}${prefix ? `, after ${prefix}` : ""}: place ${at + 1} of ${number(end - first)}`;
    if (end - first === 1) return element("p", { class: "live-only" }, title);
    const rows = shown.map((child) => {
      const node = first + child, isOwn = node === own.node;
      return element("tr", { class: isOwn ? "live-own" : null, "aria-current": isOwn ? "true" : null },
        element("th", { scope: "row" }, String(trie.levels[level + 1].code[node])),
        chance(Math.exp(chances[child])),
        element("td", {}, below(level + 1, node, isOwn ? chosen.at(-1).node : null, { trie, catalogue })),
        element("td", {}, isOwn ? "this one" : kept.has(node) ? "kept" : steps[level].isAllowed(node) ? "dropped" : "ruled out"));
    });
    const head = ["Code", "Probability", "Leads to", ""].map((text) => element("th", { scope: "col" }, text || "Beam"));
    return element("table", { class: "live-why" },
      element("caption", {}, title), element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  }

  function chance(probability) {
    const bar = element("span", { class: "live-bar", "aria-hidden": "true" });
    bar.style.width = `${(4 * Math.sqrt(probability)).toFixed(2)}em`;
    return element("td", { class: "live-chance" }, percent(probability), bar);
  }

  // What is below a node: a movie, and how many more. The movie is that of a leaf, or the most rated one.
  function below(level, node, leaf, { trie, catalogue }) {
    const [first, end] = trie.leaves(level, node);
    const item = leaf === null ? catalogue.mostRated(trie.items.subarray(first, end))[0] : trie.items[leaf];
    const more = end - first - 1;
    return catalogue.names[item] + (more ? `, and ${number(more)} more` : "");
  }

  liveRecommender.explain = explain;
})();
