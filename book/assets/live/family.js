// A movie's family: who shares its first code, and who more of them.
(() => {
  "use strict";
  const { element, number } = liveRecommender;

  const SHOWN = 12; // of each group; families have up to some two hundred members

  // visit: called with a relative that was clicked.
  function showFamily(place, item, catalogue, visit) {
    const id = catalogue.id(item);
    const groups = catalogue.relatives(item).filter(({ items }) => items.length);
    const all = groups.reduce((sum, { items }) => sum + items.length, 0);
    const genres = catalogue.genresOf(item);
    place.replaceChildren(
      element("p", {}, element("strong", {}, catalogue.names[item]), genres ? ` (${genres})` : "",
        ` has the ID ${id.join("-")}. ${all ? `Its family, the movies whose ID begins with ${id[0]}, has ${number(all)} other ${all === 1 ? "member" : "members"}.` : "No other movie shares its first code."}`),
      ...groups.flatMap(({ shared, items }) => group(id, shared, items, catalogue, visit)),
    );
  }

  function group(id, shared, items, catalogue, visit) {
    const what = shared === 1 ? "the first code only" : `the first ${["", "", "two", "three"][shared] ?? shared} codes`;
    const title = `Share ${what}, ${id.slice(0, shared).join("-")}: ${number(items.length)}`;
    const list = element("ul", { class: "live-relatives", "aria-label": title }, ...items.slice(0, SHOWN).map((other) => element("li", {},
      element("button", { type: "button", class: "live-link", onclick: () => visit(other) }, catalogue.names[other]))));
    const more = items.length - SHOWN;
    if (more > 0) list.append(element("li", {}, `and ${number(more)} more`));
    return [element("p", { class: "live-title" }, title), list];
  }

  liveRecommender.showFamily = showFamily;
})();
