// The tree of all prefixes of the catalogue's IDs, as rqvae_lib/semantic_ids/trie.py has it: the nodes of a level are
// numbered in the order of their prefixes, so the children of a node, and the items below it, are neighbours.
(() => {
  "use strict";

  class Trie {
    // codes: N × depth, one byte a code, no two rows alike.
    constructor(codes, depth) {
      this.depth = depth;
      const count = codes.length / depth;
      const key = (item) => {
        let sum = 0;
        for (let level = 0; level < depth; level++) sum = 256 * sum + codes[item * depth + level];
        return sum;
      };
      const keys = Float64Array.from({ length: count }, (_, item) => key(item));
      this.items = Int32Array.from(keys.keys()).sort((a, b) => keys[a] - keys[b]); // the leaves
      this.leafOf = new Int32Array(count);
      this.items.forEach((item, leaf) => (this.leafOf[item] = leaf));
      // The root first. Of each node: its last code, its first child in the next level, its first leaf. The last
      // two have one entry more, so that a node's end is where its neighbour starts.
      this.levels = [{ code: [0], firstLeaf: [0, count], parent: [-1] }];
      for (let level = 1; level <= depth; level++) this.levels.push(this.#nextLevel(codes, level));
    }

    #nextLevel(codes, level) {
      const { depth, items } = this, above = this.levels[level - 1];
      const code = [], firstLeaf = [], firstChild = [], parent = [];
      for (let node = 0; node < above.code.length; node++) {
        firstChild.push(code.length);
        let last = -1;
        for (let leaf = above.firstLeaf[node]; leaf < above.firstLeaf[node + 1]; leaf++) {
          const next = codes[items[leaf] * depth + level - 1];
          if (next === last) continue;
          code.push((last = next));
          firstLeaf.push(leaf);
          parent.push(node);
        }
      }
      above.firstChild = Int32Array.from([...firstChild, code.length]);
      return { code, firstLeaf: Int32Array.from([...firstLeaf, items.length]), parent };
    }

    // Where the children of a node of a level (0: the root) start and end in the next level.
    children(level, node) {
      const { firstChild } = this.levels[level];
      return [firstChild[node], firstChild[node + 1]];
    }

    // Where the items below a node start and end among the leaves.
    leaves(level, node) {
      const { firstLeaf } = this.levels[level];
      return [firstLeaf[node], firstLeaf[node + 1]];
    }

    // The node of each level that a leaf is below, the root first.
    path(leaf) {
      const nodes = [leaf];
      for (let level = this.depth; level > 0; level--) nodes.unshift(this.levels[level].parent[nodes[0]]);
      return nodes;
    }
  }

  liveRecommender.Trie = Trie;
})();
