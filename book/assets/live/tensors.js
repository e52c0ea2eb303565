// Numbers in rows: what the models of this folder compute with. A matrix is one flat array, row after row.
// Plain loops and not WebAssembly: a recommendation takes some million multiplications, a few milliseconds.
(() => {
  "use strict";
  // x (rows × inputs) times the transpose of weight (outputs × inputs), plus bias: rows × outputs.
  // Two rows and four outputs at a time: eight sums that do not wait for one another, from six numbers loaded.
  function linear(x, { weight, bias, outputs, inputs }) {
    const rows = x.length / inputs;
    const result = new Float64Array(rows * outputs);
    if (bias) for (let row = 0; row < rows; row++) result.set(bias, row * outputs);
    for (let row = 0; row < rows; row += 2) {
      const first = row * inputs, second = row + 1 < rows ? first + inputs : first; // an odd row is taken twice
      const to = row * outputs, next = row + 1 < rows ? to + outputs : to;
      let output = 0;
      for (; output + 3 < outputs; output += 4) {
        let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
        const w = output * inputs;
        for (let i = 0; i < inputs; i++) {
          const one = x[first + i], two = x[second + i];
          const w0 = weight[w + i], w1 = weight[w + inputs + i];
          const w2 = weight[w + 2 * inputs + i], w3 = weight[w + 3 * inputs + i];
          a += one * w0;
          b += one * w1;
          c += one * w2;
          d += one * w3;
          e += two * w0;
          f += two * w1;
          g += two * w2;
          h += two * w3;
        }
        result[to + output] += a;
        result[to + output + 1] += b;
        result[to + output + 2] += c;
        result[to + output + 3] += d;
        if (next === to) continue;
        result[next + output] += e;
        result[next + output + 1] += f;
        result[next + output + 2] += g;
        result[next + output + 3] += h;
      }
      for (; output < outputs; output++) {
        result[to + output] += dot(x, first, weight, output * inputs, inputs);
        if (next !== to) result[next + output] += dot(x, second, weight, output * inputs, inputs);
      }
    }
    return result;
  }

  // The product of `length` numbers of a, from a place on, with as many of b: in four sums, as above.
  function dot(a, fromA, b, fromB, length) {
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0, i = 0;
    for (; i + 3 < length; i += 4) {
      s0 += a[fromA + i] * b[fromB + i];
      s1 += a[fromA + i + 1] * b[fromB + i + 1];
      s2 += a[fromA + i + 2] * b[fromB + i + 2];
      s3 += a[fromA + i + 3] * b[fromB + i + 3];
    }
    for (; i < length; i++) s0 += a[fromA + i] * b[fromB + i];
    return s0 + s1 + s2 + s3;
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
    let largest = -Infinity, sum = 0;
    for (let i = 0; i < scores.length; i++) if (scores[i] > largest) largest = scores[i];
    for (let i = 0; i < scores.length; i++) sum += scores[i] = Math.exp(scores[i] - largest);
    for (let i = 0; i < scores.length; i++) scores[i] /= sum;
  }

  function logSumExp(scores) {
    let largest = -Infinity, sum = 0;
    for (let i = 0; i < scores.length; i++) if (scores[i] > largest) largest = scores[i];
    for (let i = 0; i < scores.length; i++) sum += Math.exp(scores[i] - largest);
    return largest + Math.log(sum);
  }

  globalThis.liveRecommender = { tensors: { linear, dot, addTo, layerNorm, gelu, softmax, logSumExp } };
})();
