// The decoder-only transformer of rqvae_lib/models/decoder_only.py: a token a code, and each beam reads the codes that
// it has written. The shipped one was trained with `valid_only`: it chooses among the codes that lead to an item.
(() => {
  "use strict";
  const { dot, addTo } = liveRecommender.tensors;

  class DecoderOnly {
    constructor(config, weights, trie) {
      this.config = config;
      this.trie = trie;
      this.firstCodes = liveRecommender.firstCodes(config.sizes);
      this.codeVectors = weights.table("code_embedding.weight"); // also the output layer
      this.bias = weights.table("bias");
      this.itemPositions = weights.table("item_position.weight");
      this.levelPositions = weights.table("level_position.weight");
      this.start = weights.table("start");
      this.transformer = new liveRecommender.Transformer(config.transformer, weights);
    }

    // Read a history, rows of the catalogue. Returns the state from which the search starts.
    read(history) {
      const { dim } = this.config.transformer, depth = this.trie.depth;
      const kept = history.slice(-(this.config.max_items - 1));
      const tokens = new Float64Array((1 + kept.length * depth) * dim);
      addTo(tokens, 0, this.start, 0, dim);
      kept.forEach((item, place) => {
        const path = this.trie.path(this.trie.leafOf[item]);
        for (let level = 0; level < depth; level++) {
          const code = this.trie.levels[level + 1].code[path[level + 1]];
          this.#embed(tokens, 1 + place * depth + level, code, level, place);
        }
      });
      const { output, memory } = this.transformer.read(tokens);
      return { depth: 0, place: kept.length, outputs: output, memory, beams: [{ row: 0, own: [] }] };
    }

    #embed(tokens, row, code, level, place) {
      const { dim } = this.config.transformer;
      addTo(tokens, row * dim, this.codeVectors, (this.firstCodes[level] + code) * dim, dim);
      addTo(tokens, row * dim, this.itemPositions, place * dim, dim);
      addTo(tokens, row * dim, this.levelPositions, level * dim, dim);
    }

    // The scores of a beam's children, before the softmax.
    scores(state, beam, node) {
      const { dim } = this.config.transformer;
      const [first, end] = this.trie.children(state.depth, node);
      const { row } = state.beams[beam];
      return Float64Array.from({ length: end - first }, (_, i) => {
        const code = this.firstCodes[state.depth] + this.trie.levels[state.depth + 1].code[first + i];
        return dot(state.outputs, row * dim, this.codeVectors, code * dim, dim) + this.bias[code];
      });
    }

    // Each beam reads its new code, unless it has no choice left: then nobody asks for its output.
    extend(state, beams) {
      const { dim } = this.config.transformer;
      const reading = beams.filter(({ hasChoice }) => hasChoice);
      const tokens = new Float64Array(reading.length * dim);
      reading.forEach(({ code }, row) => this.#embed(tokens, row, code, state.depth, state.place));
      const own = reading.map(({ parent }) => state.beams[parent].own);
      const before = (beam, layer) => own[beam].map(([written, row]) => [written[layer], row, 1]);
      const { outputs, written } = this.transformer.step(tokens, state.memory, before);
      let next = 0;
      const read = beams.map(({ hasChoice }) => {
        if (!hasChoice) return null;
        const row = next++;
        return { row, own: [...own[row], [written, row]] };
      });
      return { ...state, depth: state.depth + 1, outputs, beams: read };
    }
  }

  liveRecommender.DecoderOnly = DecoderOnly;
})();
