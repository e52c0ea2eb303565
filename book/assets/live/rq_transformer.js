// The RQ-Transformer of rqvae_lib/models/rq_transformer.py: a token an item, one context for each level, and a vector
// for each prefix. The score of a prefix is the product of the two.
(() => {
  "use strict";
  const { linear, dot, addTo, layerNorm, gelu } = liveRecommender.tensors;

  class RQTransformer {
    constructor(config, weights, trie) {
      this.config = config;
      this.trie = trie;
      this.firstCodes = liveRecommender.firstCodes(config.sizes);
      this.codeVectors = weights.table("code_embedding.weight");
      this.prefixVectors = weights.table("prefix_embedding.weight");
      this.positions = weights.table("item_position.weight");
      this.start = weights.table("start");
      this.network = [weights.linear("context_network.0"), weights.linear("context_network.2")];
      this.contextNorm = weights.norm("context_norm");
      this.transformer = new liveRecommender.Transformer(config.transformer, weights);
      // W (h + place) = W h + W place, and the second term is the same for everybody.
      this.places = linear(weights.table("level_position.weight"), { ...this.network[0], bias: null });
      this.prefixRows = this.#numberPrefixes();
    }

    // The row of each node's own vector, by level; −1 where it has none: a first code, and an only child, which is
    // no choice. They are numbered level by level, in the order of the tree.
    #numberPrefixes() {
      let next = 0;
      return this.trie.levels.map((level, depth) => Int32Array.from(level.code, (_, node) => {
        if (depth < 2) return -1;
        const [first, end] = this.trie.children(depth - 1, level.parent[node]);
        return end - first > 1 ? next++ : -1;
      }));
    }

    // Read a history, rows of the catalogue. Returns the state from which the search starts.
    read(history) {
      const { dim } = this.config.transformer;
      const kept = history.slice(-(this.config.max_items - 1));
      const tokens = new Float64Array((kept.length + 1) * dim);
      addTo(tokens, 0, this.start, 0, dim);
      kept.forEach((item, place) => {
        const to = (place + 1) * dim;
        addTo(tokens, to, this.positions, place * dim, dim);
        this.trie.path(this.trie.leafOf[item]).forEach((node, level) => {
          if (level > 0) this.#addVector(tokens, to, level, node);
        });
      });
      const { output } = this.transformer.read(tokens);
      return { depth: 0, contexts: this.#contexts(output) };
    }

    // Add the vector of a node, that of its last code and its own, to a place of an array.
    #addVector(array, to, level, node) {
      const { dim } = this.config.transformer;
      const code = this.firstCodes[level - 1] + this.trie.levels[level].code[node];
      addTo(array, to, this.codeVectors, code * dim, dim);
      const row = this.prefixRows[level][node];
      if (row >= 0) addTo(array, to, this.prefixVectors, row * dim, dim);
    }

    // One context for each level, from the transformer's output: norm(h + network(h + place)).
    #contexts(output) {
      const [first, second] = this.network;
      const inner = linear(output, first);
      return this.config.sizes.map((_, level) => {
        const hidden = inner.map((value, i) => value + this.places[level * inner.length + i]);
        const sum = linear(gelu(hidden), second);
        addTo(sum, 0, output, 0, output.length);
        return layerNorm(sum, this.contextNorm);
      });
    }

    // The scores of a beam's children, before the softmax.
    scores(state, beam, node) {
      const { dim } = this.config.transformer;
      const [first, end] = this.trie.children(state.depth, node);
      const context = state.contexts[state.depth];
      const vector = new Float64Array(dim);
      return Float64Array.from({ length: end - first }, (_, i) => {
        vector.fill(0);
        this.#addVector(vector, 0, state.depth + 1, first + i);
        return dot(context, 0, vector, 0, dim);
      });
    }

    // All beams share the contexts, so there is nothing to read.
    extend(state) {
      return { ...state, depth: state.depth + 1 };
    }
  }

  liveRecommender.RQTransformer = RQTransformer;
})();
