// Beam search in the tree of IDs, as `recommend` of rqvae_lib/generation/beam_search.py: at each level every beam is
// extended by each code that leads to an allowed item, and the most probable are kept. It remembers what it did.
(() => {
  "use strict";
  const { logSumExp } = liveRecommender.tensors;

  // Returns one step for each level of the ID: {beams, candidates, expanded, isAllowed}.
  //   beams: what is kept, the most probable first: {node, code, parent, own, total, hasChoice}; `parent` is a place
  //     among the beams before, `own` the log-probability of the code, `total` that of the whole prefix. Beams
  //     with equal totals are in the order of their IDs.
  //   candidates: from how many prefixes with an allowed item they were chosen.
  //   expanded: for each beam before, the log-probabilities of all children of its node, allowed or not.
  //   isAllowed: says of a node of the level whether an item below it may be recommended.
  // options: forbidden, items never to recommend (by default those of the history); allowed, a function that says
  //   of an item whether it may be recommended (by default all); beams; temperature.
  function search(model, history, options = {}) {
    const { forbidden = history, allowed = () => true, beams: width = 50, temperature = 1 } = options;
    const { trie } = model;
    const allowedBefore = countAllowed(trie, new Set(forbidden), allowed);

    const steps = [];
    let state = model.read(history);
    let beams = [{ node: 0, total: 0 }];
    for (let level = 1; level <= trie.depth; level++) {
      const candidates = [];
      const isAllowed = (node) => {
        const [first, end] = trie.leaves(level, node);
        return allowedBefore[end] > allowedBefore[first];
      };
      const expanded = beams.map(({ node, total }, parent) => {
        const [first, end] = trie.children(level - 1, node);
        const own = logProbabilities(end - first > 1 ? model.scores(state, parent, node) : [0], temperature);
        for (let child = first; child < end; child++) {
          if (!isAllowed(child)) continue;
          candidates.push({ node: child, parent, own: own[child - first], total: total + own[child - first] });
        }
        return own;
      });
      candidates.sort((a, b) => b.total - a.total || a.node - b.node);
      beams = candidates.slice(0, width);
      for (const beam of beams) {
        const [first, end] = trie.leaves(level, beam.node);
        beam.code = trie.levels[level].code[beam.node];
        beam.hasChoice = end - first > 1;
      }
      if (level < trie.depth) state = model.extend(state, beams);
      steps.push({ beams, candidates: candidates.length, expanded, isAllowed });
    }
    return steps;
  }

  // How many allowed leaves there are before each leaf, and in all.
  function countAllowed(trie, forbidden, allowed) {
    const before = new Int32Array(trie.items.length + 1);
    trie.items.forEach((item, leaf) => {
      before[leaf + 1] = before[leaf] + (allowed(item) && !forbidden.has(item) ? 1 : 0);
    });
    return before;
  }

  function logProbabilities(scores, temperature) {
    const divided = scores.map((score) => score / temperature);
    const shift = logSumExp(divided);
    return divided.map((score) => score - shift);
  }

  // The k most probable items: [{item, logProbability}].
  function recommend(model, history, { k = 10, ...options } = {}) {
    const last = search(model, history, options).at(-1);
    return recommended(model, last, k);
  }

  function recommended({ trie }, { beams }, k = 10) {
    return beams.slice(0, k).map(({ node, total }) => ({ item: trie.items[node], logProbability: total }));
  }

  Object.assign(liveRecommender, { search, recommend, recommended });
})();
