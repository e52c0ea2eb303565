// A field that finds movies while one types: arrow keys choose, Enter takes, Escape closes.
(() => {
  "use strict";
  const { element } = liveRecommender;

  // field: the input, a combobox; its aria-controls names the list. take: called with the chosen item.
  function titleSearch(field, catalogue, take) {
    const list = document.getElementById(field.getAttribute("aria-controls"));
    let hits = [], chosen = -1;

    function show(found) {
      hits = found;
      chosen = hits.length ? 0 : -1;
      mark();
    }

    function mark() {
      list.replaceChildren(...hits.map((item, index) => element("li", {
        id: `${list.id}-${index}`,
        role: "option",
        "aria-selected": String(index === chosen),
        onpointerdown: (event) => { event.preventDefault(); finish(item); },
      }, catalogue.names[item], " ", element("code", {}, catalogue.id(item).join("-"))))); // two may share a title
      if (!hits.length && field.value.trim()) list.append(element("li", { role: "option", "aria-disabled": "true", "aria-selected": "false" }, "No title contains this."));
      list.hidden = !list.children.length;
      field.setAttribute("aria-expanded", String(!list.hidden));
      if (chosen >= 0) field.setAttribute("aria-activedescendant", `${list.id}-${chosen}`);
      else field.removeAttribute("aria-activedescendant");
    }

    function finish(item) {
      field.value = "";
      show([]);
      take(item);
    }

    field.addEventListener("input", () => show(catalogue.find(field.value)));
    field.addEventListener("blur", () => { field.value = ""; show([]); });
    field.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation(); // pages have keys of their own
      const moves = { ArrowDown: 1, ArrowUp: -1 };
      if (event.key in moves && hits.length) {
        chosen = (chosen + moves[event.key] + hits.length) % hits.length;
        mark();
      } else if (event.key === "Enter") { if (chosen >= 0) finish(hits[chosen]); }
      else if (event.key === "Escape") { field.value = ""; show([]); }
      else return;
      event.preventDefault();
    });
  }

  liveRecommender.titleSearch = titleSearch;
})();
