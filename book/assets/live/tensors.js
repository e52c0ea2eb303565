// Numbers in rows: what the models of this folder compute with. A matrix is one flat array, row after row.
// Plain loops and not WebAssembly: a recommendation takes some million multiplications, a few milliseconds.
(() => {
  "use strict";
  // x (rows × inputs) times the transpose of weight (outputs × inputs), plus bias: rows × outputs.
  // Four outputs at a time, so that each number of x is loaded once for four multiplications.
  function linear(x, { weight, bias, outputs, inputs }, rows = x.length / inputs) {
    const result = new Float64Array(rows * outputs);
    for (let row = 0; row < rows; row++) {
      const from = row * inputs;
      let output = 0;
      for (; output + 3 < outputs; output += 4) {
        let a = 0, b = 0, c = 0, d = 0;
        let w = output * inputs;
        for (let i = from; i < from + inputs; i++, w++) {
          const value = x[i];
          a += value * weight[w];
          b += value * weight[w + inputs];
          c += value * weight[w + 2 * inputs];
          d += value * weight[w + 3 * inputs];
        }
        const to = row * outputs + output;
        result[to] = a;
        result[to + 1] = b;
        result[to + 2] = c;
        result[to + 3] = d;
      }
      for (; output < outputs; output++) result[row * outputs + output] = dot(x, from, weight, output * inputs, inputs);
    }
    if (bias) for (let i = 0; i < result.length; i++) result[i] += bias[i % outputs];
    return result;
  }

  // The product of `length` numbers of a, from a place on, with as many of b.
  function dot(a, fromA, b, fromB, length) {
    let sum = 0;
    for (let i = 0; i < length; i++) sum += a[fromA + i] * b[fromB + i];
    return sum;
  }

  // Add `length` numbers of b, each times `factor`, to those of a, in place.
  function addTo(a, fromA, b, fromB, length, factor = 1) {
    for (let i = 0; i < length; i++) a[fromA + i] += factor * b[fromB + i];
  }

  // Each row with mean 0 and variance 1, then scaled and shifted. 1e-5 is what torch.nn.LayerNorm adds.
  function layerNorm(x, { weight, bias }) {
    const size = weight.length;
    const result = new Float64Array(x.length);
    for (let from = 0; from < x.length; from += size) {
      let mean = 0, variance = 0;
      for (let i = 0; i < size; i++) mean += x[from + i] / size;
      for (let i = 0; i < size; i++) variance += (x[from + i] - mean) ** 2 / size;
      const scale = 1 / Math.sqrt(variance + 1e-5);
      for (let i = 0; i < size; i++) result[from + i] = (x[from + i] - mean) * scale * weight[i] + bias[i];
    }
    return result;
  }

  // x Φ(x) for each number, in place, with Φ(x) = (1 + erf(x / √2)) / 2 as torch.nn.GELU has it.
  function gelu(x) {
    for (let i = 0; i < x.length; i++) x[i] *= 0.5 * (1 + erf(x[i] * Math.SQRT1_2));
    return x;
  }

  // Within 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
  function erf(x) {
    const t = 1 / (1 + 0.3275911 * Math.abs(x));
    const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    const value = 1 - series * Math.exp(-x * x);
    return x < 0 ? -value : value;
  }

  // Replace scores by their softmax, in place.
  function softmax(scores) {
    const shift = logSumExp(scores);
    for (let i = 0; i < scores.length; i++) scores[i] = Math.exp(scores[i] - shift);
  }

  function logSumExp(scores) {
    let largest = -Infinity, sum = 0;
    for (let i = 0; i < scores.length; i++) if (scores[i] > largest) largest = scores[i];
    for (let i = 0; i < scores.length; i++) sum += Math.exp(scores[i] - largest);
    return largest + Math.log(sum);
  }

  globalThis.liveRecommender = { tensors: { linear, dot, addTo, layerNorm, gelu, softmax, logSumExp } };
})();
