// The catalogue: titles, genres, IDs; what is found by typing; who shares a prefix with whom.
(() => {
  "use strict";

  class Catalogue {
    // names, ratings: the title with the year and the number of ratings of each item; genres: all genres' names;
    // genreBits: bit g of an item's number is the genre g.
    constructor({ names, ratings, genres, genreBits, depth, codes }) {
      this.names = names;
      this.ratings = ratings;
      this.genres = genres;
      this.genreBits = genreBits;
      this.depth = depth;
      this.codes = codes; // N × depth
    }

    get size() {
      return this.names.length;
    }

    id(item) {
      return Array.from(this.codes.subarray(item * this.depth, (item + 1) * this.depth));
    }

    hasGenre(item, genre) {
      return (this.genreBits[item] >> genre) % 2 === 1;
    }

    genresOf(item) {
      return this.genres.filter((_, genre) => this.hasGenre(item, genre)).join(", ");
    }

    // Items, the most rated first.
    mostRated(items) {
      return [...items].sort((a, b) => this.ratings[b] - this.ratings[a] || a - b);
    }

    // Items whose name contains all the words, with or without accents and punctuation. First the movies of exactly
    // that title, then names that start with the words, then names that have them side by side.
    find(words, limit = 8) {
      this.plainNames ??= this.names.map(plain);
      const wanted = plain(words), each = wanted.split(" ");
      if (!wanted) return [];
      const rank = (item) => {
        const name = this.plainNames[item];
        if (name.startsWith(wanted)) return /^( \d{4})?$/.test(name.slice(wanted.length)) ? 0 : 1;
        return name.includes(` ${wanted}`) ? 2 : 3;
      };
      const isHit = (name) => name.includes(wanted) || each.every((word) => ` ${name}`.includes(` ${word}`));
      const hits = this.plainNames.flatMap((name, item) => (isHit(name) ? [item] : []));
      return this.mostRated(hits).sort((a, b) => rank(a) - rank(b)).slice(0, limit);
    }

    // For each number of shared first codes, most first, the other items that share so many and no more:
    // [{shared, items}], down to one shared code. The most rated items come first.
    relatives(item) {
      const own = this.id(item);
      const groups = own.map((_, level) => ({ shared: level + 1, items: [] })).reverse();
      for (let other = 0; other < this.size; other++) {
        let shared = 0;
        while (shared < this.depth && this.codes[other * this.depth + shared] === own[shared]) shared++;
        if (shared > 0 && other !== item) groups[this.depth - shared].items.push(other);
      }
      return groups.map(({ shared, items }) => ({ shared, items: this.mostRated(items) }));
    }
  }

  // Letters and digits only: "Schindler’s List (1993)" is "schindlers list 1993".
  const plain = (text) => text.normalize("NFKD").replace(/[\p{M}'’‘`]/gu, "").replace(/[^\p{L}\p{N}]+/gu, " ").trim().toLowerCase();

  liveRecommender.Catalogue = Catalogue;
})();
