// Making elements: `element("button", { type: "button", onclick: act }, "Text")`. Text is never read as HTML.
(() => {
  "use strict";

  function element(tag, properties = {}, ...children) {
    return filled(document.createElement(tag), properties, children);
  }

  function drawn(tag, properties = {}, ...children) {
    return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
  }

  // Properties that are functions are listeners; all others are attributes. Those that are null are left out.
  function filled(made, properties, children) {
    for (const [name, value] of Object.entries(properties)) {
      if (typeof value === "function") made[name] = value;
      else if (value !== null) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  const number = (count) => count.toLocaleString("en-US");

  // A probability as a reader wants it: "2.4 %", and never "0 %" or a false "100 %".
  function percent(probability) {
    if (probability > 0.9995) return probability >= 1 - 1e-9 ? "100 %" : "99.9 %";
    if (probability < 0.00001) return "under 0.001 %";
    return `${(100 * probability).toPrecision(probability < 0.1 ? 2 : 3)} %`;
  }

  Object.assign(liveRecommender, { element, drawn, number, percent });
})();
