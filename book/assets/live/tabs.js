// Tabs: one panel is shown; arrow keys go from tab to tab, Tab goes into the panel.
(() => {
  "use strict";

  // Returns a function that shows the panel of a tab, given the tab's number.
  function tabs(list) {
    const all = [...list.querySelectorAll("[role=tab]")];

    function show(index, focus = false) {
      all.forEach((tab, other) => {
        tab.setAttribute("aria-selected", String(other === index));
        tab.tabIndex = other === index ? 0 : -1;
        document.getElementById(tab.getAttribute("aria-controls")).hidden = other !== index;
      });
      if (focus) all[index].focus();
    }

    all.forEach((tab, index) => {
      tab.addEventListener("click", () => show(index));
      tab.addEventListener("keydown", (event) => {
        const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: all.length - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        show((to + all.length) % all.length, true);
      });
    });
    return show;
  }

  liveRecommender.tabs = tabs;
})();
