// The causal transformer of rqvae_lib/models/transformer.py: it reads a history once, and each beam then adds
// tokens of its own. (All models here were trained; dropout is gone.)
(() => {
  "use strict";
  const { linear, dot, addTo, layerNorm, gelu, softmax } = liveRecommender.tensors;

  class Transformer {
    // weights: by their names in the checkpoint.
    constructor({ dim, num_layers: layers, num_heads: heads }, weights) {
      this.dim = dim;
      this.heads = heads;
      this.norm = weights.norm("transformer.norm");
      this.blocks = Array.from({ length: layers }, (_, layer) => {
        const name = `transformer.blocks.${layer}`;
        return {
          attentionNorm: weights.norm(`${name}.attention_norm`),
          qkv: weights.linear(`${name}.qkv`),
          out: weights.linear(`${name}.out`),
          mlpNorm: weights.norm(`${name}.mlp_norm`),
          mlp: [weights.linear(`${name}.mlp.0`), weights.linear(`${name}.mlp.2`)],
        };
      });
    }

    // Read tokens (T × dim). Returns the output of the last one, and what later tokens attend to: for each
    // block the queries, keys and values of all tokens (T × 3 dim).
    read(tokens) {
      const { dim } = this, count = tokens.length / dim;
      const memory = [];
      let x = tokens;
      this.blocks.forEach((block, layer) => {
        const qkv = linear(layerNorm(x, block.attentionNorm), block.qkv);
        memory.push(qkv);
        // Nobody asks the last block for more than the output of the last token.
        const first = layer === this.blocks.length - 1 ? count - 1 : 0;
        const mixed = new Float64Array((count - first) * dim);
        for (let token = first; token < count; token++) this.attend(qkv, token, [[qkv, 0, token + 1]], mixed, token - first);
        x = this.finish(block, x.subarray(first * dim), mixed);
      });
      return { output: layerNorm(x, this.norm), memory };
    }

    // Read one new token for each of K beams, tokens (K × dim). `before(beam, layer)` lists the tokens of its own
    // that the beam has read, as `attend` wants them. Returns the outputs (K × dim) and, for each block, the
    // queries, keys and values of the new tokens (K × 3 dim).
    step(tokens, memory, before) {
      const count = tokens.length / this.dim;
      const written = [];
      let x = tokens;
      this.blocks.forEach((block, layer) => {
        const qkv = linear(layerNorm(x, block.attentionNorm), block.qkv);
        written.push(qkv);
        const history = [memory[layer], 0, memory[layer].length / (3 * this.dim)];
        const mixed = new Float64Array(count * this.dim);
        for (let beam = 0; beam < count; beam++) {
          this.attend(qkv, beam, [history, ...before(beam, layer), [qkv, beam, 1]], mixed, beam);
        }
        x = this.finish(block, x, mixed);
      });
      return { outputs: layerNorm(x, this.norm), written };
    }

    // Write to row `to` of mixed what the token in a row of qkv finds in others. Those are given in parts, each as
    // [queries, keys and values; the first row; how many rows].
    attend(qkv, row, parts, mixed, to) {
      const { dim, heads } = this, size = dim / heads, stride = 3 * dim;
      const scale = 1 / Math.sqrt(size);
      const weights = new Float64Array(parts.reduce((sum, [, , rows]) => sum + rows, 0));
      for (let start = 0; start < dim; start += size) { // a head after the other
        let i = 0;
        for (const [table, first, rows] of parts) {
          for (let other = first; other < first + rows; other++) {
            weights[i++] = scale * dot(qkv, row * stride + start, table, other * stride + dim + start, size);
          }
        }
        softmax(weights);
        i = 0;
        for (const [table, first, rows] of parts) {
          for (let other = first; other < first + rows; other++) {
            addTo(mixed, to * dim + start, table, other * stride + 2 * dim + start, size, weights[i++]);
          }
        }
      }
    }

    // The rest of a block: what attention found is added to x, and then what the MLP makes of the sum.
    finish(block, x, mixed) {
      const sum = linear(mixed, block.out);
      addTo(sum, 0, x, 0, x.length);
      const [first, second] = block.mlp;
      addTo(sum, 0, linear(gelu(linear(layerNorm(sum, block.mlpNorm), first)), second), 0, sum.length);
      return sum;
    }
  }

  liveRecommender.Transformer = Transformer;
})();
