// A model's weights, by the names that they have in the checkpoint. They are stored as float16, which is what the
// shipped checkpoints hold, so that nothing is lost; Python widens the same numbers to float32.
(() => {
  "use strict";

  class Weights {
    // tensors: {name: {shape, first}}, with the place of its first number among those of `bytes`, 2 bytes each.
    constructor(tensors, bytes) {
      this.tensors = tensors;
      this.bytes = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }

    // As numbers of 64 bits like all others here: loops over one kind of array are compiled to the fastest code.
    table(name) {
      const { shape, first } = this.tensors[name];
      const count = shape.reduce((product, size) => product * size, 1);
      const numbers = new Float64Array(count);
      for (let i = 0; i < count; i++) numbers[i] = VALUES[this.bytes.getUint16(2 * (first + i), true)];
      return numbers;
    }

    linear(name) {
      const [outputs, inputs] = this.tensors[`${name}.weight`].shape;
      return { weight: this.table(`${name}.weight`), bias: this.table(`${name}.bias`), outputs, inputs };
    }

    norm(name) {
      return { weight: this.table(`${name}.weight`), bias: this.table(`${name}.bias`) };
    }
  }

  // What each pattern of 16 bits means.
  const VALUES = Float64Array.from({ length: 1 << 16 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return exponent ? sign * 2 ** (exponent - 25) * (1024 + fraction) : sign * 2 ** -24 * fraction;
  });

  // Where the codes of each level start in the table of all codes.
  const firstCodes = (sizes) => sizes.map((_, level) => sizes.slice(0, level).reduce((sum, size) => sum + size, 0));

  Object.assign(liveRecommender, { Weights, firstCodes });
})();
