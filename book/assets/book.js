// Paper has nothing to click and no dark mode: a page is printed in light colours, with every answer and
// solution open, and is as it was afterwards.
(() => {
  const root = document.documentElement;
  let theme = null;
  let folded = [];
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => (details.open = true));
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
    folded.forEach((details) => (details.open = false));
    folded = [];
  });
})();

// sphinx_book_theme 1.3 takes the focus from its buttons when they are clicked, so that their tooltips go. Whoever
// pressed Enter on one would have to start at the top of the page again, so a click without a mouse leaves it there.
document.addEventListener(
  "click",
  (event) => {
    const button = event.target.closest("button");
    if (button && event.detail === 0) button.blur = () => {};
    else if (button) delete button.blur;
  },
  true, // before the theme's own listeners
);
