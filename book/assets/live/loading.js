// How the data come into the page. A page that was opened from the disk may not read files, but it may run scripts:
// the data are a script that calls `receive`. book/_ext/live_data.py writes it from the shipped checkpoints.
(() => {
  "use strict";
  const here = document.currentScript?.src;

  const models = { "rq-transformer": "RQTransformer", "decoder-only": "DecoderOnly" }; // the classes' names
  let loading = null, done = null;

  // Returns a promise of {catalogue, trie, models}; every later call gets the same.
  function load() {
    loading ??= new Promise((resolve, reject) => {
      done = resolve;
      const script = document.createElement("script");
      script.src = new URL("data.js", here).href;
      script.onerror = () => reject(new Error(`${script.src} cannot be read`));
      script.onload = () => script.remove();
      document.head.append(script);
    });
    return loading;
  }

  // Called by the data's script.
  function receive(data) {
    done(unpack(data));
  }

  function unpack({ names, ratings, genres, genreBits, sizes, codes, recommenders, weights }) {
    const rows = bytesOf(codes), bytes = bytesOf(weights), depth = sizes.length;
    const trie = new liveRecommender.Trie(rows, depth);
    const catalogue = new liveRecommender.Catalogue({ names, ratings, genres, genreBits, depth, codes: rows });
    const made = {};
    for (const { name, config, tensors } of recommenders) {
      const own = new liveRecommender.Weights(tensors, bytes);
      const make = () => new liveRecommender[models[name]]({ ...config, sizes }, own, trie);
      let model = null;
      Object.defineProperty(made, name, { enumerable: true, get: () => (model ??= make()) });
    }
    return { catalogue, trie, models: made };
  }

  // Browsers since 2025 decode without a detour.
  const bytesOf = (base64) => Uint8Array.fromBase64?.(base64) ?? Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

  Object.assign(liveRecommender, { load, receive, unpack });
})();
