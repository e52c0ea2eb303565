// The interactive map of item_map.py: draws the points, finds titles, highlights shared prefixes.
// It touches nothing outside its own element and asks for nothing from the network.
(() => {
  "use strict";
  const root = document.currentScript.closest(".item-map");
  if (!root || root.dataset.ready) return;
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const data = JSON.parse(part("data").textContent);
  const { maps, title, year, genres, codes, colorings } = data; // one entry per item
  const canvas = part("canvas"), pen = canvas.getContext("2d");
  const tip = part("tip"), status = part("status"), table = part("table");
  const search = part("search"), found = part("found"), colour = part("colour");
  let { x, y } = maps[0]; // where each item lies
  const count = x.length;
  const range = Array.from({ length: count }, (_, item) => item);
  const name = (item) => (year[item] ? `${title[item]} (${year[item]})` : title[item]);
  const id = (item) => codes[item].join("-");
  const number = (n) => n.toLocaleString("en-US");

  // What is shown.
  let selected = -1; // the item whose prefix is highlighted
  let pointed = -1; // the item under the pointer, or at the keyboard's cursor
  let depth = 1; // how many codes must agree
  let members = new Set(); // the items that share the prefix
  let zoom = 1, centreX = 0.5, centreY = 0.5; // the part of the map in sight

  // --- Drawing -----------------------------------------------------------------------------------

  let width = 0, height = 0, waiting = false;

  function resize() {
    const ratio = window.devicePixelRatio || 1;
    width = canvas.clientWidth;
    height = canvas.clientHeight;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    redraw();
  }

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  }

  const place = (item) => [ // in pixels of the canvas; one unit is as long in both directions
    width / 2 + (x[item] / data.unit - centreX) * side() * zoom,
    height / 2 - (y[item] / data.unit - centreY) * side() * zoom,
  ];
  const side = () => Math.min(width, height) - 24;

  function dot(item, radius) {
    const [px, py] = place(item);
    pen.beginPath();
    pen.arc(px, py, radius, 0, 2 * Math.PI);
    pen.fill();
    return [px, py];
  }

  function draw() {
    const style = getComputedStyle(root);
    const value = (variable) => style.getPropertyValue(variable).trim();
    const dark = value("--map-dark") === "1";
    const { group, light, dark: night } = colorings[colour.selectedIndex];
    const palette = dark ? night : light;
    const radius = Math.min(4, 1.1 * Math.sqrt(zoom) * (width < 500 ? 0.8 : 1.2));
    pen.clearRect(0, 0, width, height);
    pen.globalAlpha = members.size ? 0.22 : 0.75;
    // A point's place in the catalogue says nothing, so drawing in this order favours no group.
    for (const item of range) {
      if (members.has(item)) continue;
      pen.fillStyle = palette[group[item]];
      dot(item, radius);
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = value("--map-text");
    pen.lineWidth = 1;
    for (const item of members) { // told apart by size and outline, not by colour alone
      pen.fillStyle = palette[group[item]];
      dot(item, radius + 2.2);
      pen.stroke();
    }
    if (selected >= 0) {
      pen.lineWidth = 2.5;
      pen.fillStyle = value("--map-accent");
      dot(selected, radius + 4.5);
      pen.stroke();
    }
    if (pointed >= 0) {
      const [px, py] = place(pointed);
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(px, py, radius + 8, 0, 2 * Math.PI);
      pen.stroke();
    }
    const legend = part("legend");
    if (legend.dataset.shown !== `${colour.selectedIndex} ${dark}`) {
      legend.dataset.shown = `${colour.selectedIndex} ${dark}`;
      const { labels } = colorings[colour.selectedIndex];
      legend.replaceChildren(...labels.map((label, index) => {
        const entry = element("li", label), swatch = element("span", "");
        swatch.style.background = palette[index];
        entry.prepend(swatch);
        return entry;
      }));
    }
  }

  function element(tag, text) {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  }

  // --- Pointing at an item -----------------------------------------------------------------------

  function point(item, aloud) {
    if (item === pointed && !aloud) return;
    pointed = item;
    tip.hidden = item < 0;
    if (item >= 0) {
      tip.replaceChildren(
        element("strong", name(item)),
        element("span", genres[item].replaceAll("|", ", ") || "no genre"),
        element("span", `ID ${id(item)}`),
      );
      const [px, py] = place(item);
      tip.style.left = `${Math.max(4, Math.min(px + 14, width - tip.offsetWidth - 4))}px`;
      const below = py + 14 + tip.offsetHeight < height;
      tip.style.top = `${below ? py + 14 : Math.max(4, py - 14 - tip.offsetHeight)}px`;
      if (aloud) status.textContent = `${name(item)}, ${genres[item].replaceAll("|", ", ")}, ID ${id(item)}`;
    }
    redraw();
  }

  function nearest(px, py, reach) {
    let best = -1, least = reach * reach;
    for (const item of range) {
      const [ix, iy] = place(item);
      const squared = (ix - px) ** 2 + (iy - py) ** 2;
      if (squared < least) { least = squared; best = item; }
    }
    return best;
  }

  // The next item in a direction: near, and more ahead than aside.
  function step(dx, dy) {
    const from = pointed >= 0 ? pointed : selected;
    if (from < 0) return nearest(width / 2, height / 2, Infinity);
    const [fx, fy] = place(from);
    let best = from, least = Infinity;
    for (const item of range) {
      const [ix, iy] = place(item);
      const ahead = (ix - fx) * dx + (iy - fy) * dy;
      const aside = Math.abs((ix - fx) * dy - (iy - fy) * dx);
      if (ahead > 2 && aside <= ahead && ahead + 2 * aside < least) {
        least = ahead + 2 * aside;
        best = item;
      }
    }
    return best;
  }

  // --- Selecting an item: who shares its prefix? --------------------------------------------------

  function select(item) {
    selected = item;
    const prefix = item < 0 ? [] : codes[item].slice(0, depth);
    const same = item < 0 ? [] : range.filter((other) => prefix.every((code, i) => codes[other][i] === code));
    members = new Set(same);
    root.dataset.selected = String(item);
    part("result").hidden = item < 0;
    if (item < 0) {
      status.textContent = "No movie is chosen.";
    } else {
      const others = same.length - 1;
      const words = depth === 1 ? "its first code" : `its first ${depth} codes`;
      status.textContent = `${name(item)} has the ID ${id(item)}. ` + (others
        ? `${number(others)} other ${others === 1 ? "movie shares" : "movies share"} ${words}, ${prefix.join("-")}.`
        : `No other movie shares ${words}, ${prefix.join("-")}.`);
      fill(same, prefix);
    }
    redraw();
  }

  function fill(same, prefix) {
    const order = (a, b) => {
      const level = codes[a].findIndex((code, i) => code !== codes[b][i]);
      return codes[a][level] - codes[b][level];
    };
    const rows = [...same].sort(order).map((item) => {
      const row = element("tr", ""), head = element("th", ""), button = element("button", name(item));
      head.scope = "row";
      button.type = "button";
      button.onclick = () => { select(item); bringIntoSight(item); };
      if (item === selected) row.setAttribute("aria-current", "true");
      head.append(button);
      row.append(head, element("td", genres[item].replaceAll("|", ", ")), element("td", id(item)));
      return row;
    });
    table.caption.textContent = `Movies whose ID starts with ${prefix.join("-")}: ${number(same.length)}`;
    table.tBodies[0].replaceChildren(...rows);
  }

  // --- Zoom --------------------------------------------------------------------------------------

  function setZoom(wanted) {
    const item = pointed >= 0 ? pointed : selected;
    if (zoom === 1 && wanted > 1 && item >= 0) centreOn(item);
    zoom = Math.min(16, Math.max(1, wanted));
    if (zoom === 1) centreX = centreY = 0.5;
    canvas.style.touchAction = zoom > 1 ? "none" : "pan-y"; // the page scrolls while nothing can be moved
    point(-1);
    redraw();
  }

  function centreOn(item) {
    centreX = x[item] / data.unit;
    centreY = y[item] / data.unit;
  }

  function bringIntoSight(item) {
    const [px, py] = place(item);
    if (px < 10 || py < 10 || px > width - 10 || py > height - 10) centreOn(item);
    redraw();
  }

  // --- Searching ---------------------------------------------------------------------------------

  // Letters and digits only, and words in any order, as in book/assets/live/catalogue.js.
  const plain = (text) => text.normalize("NFKD").replace(/[\p{M}'’‘`]/gu, "").replace(/[^\p{L}\p{N}]+/gu, " ").trim().toLowerCase();
  const names = range.map((item) => plain(name(item)));
  let hits = [], chosen = -1;

  function look() {
    const wanted = plain(search.value), words = wanted.split(" ");
    const isHit = (item) => names[item].includes(wanted) || words.every((word) => ` ${names[item]}`.includes(` ${word}`));
    const rank = (item) => {
      if (names[item].startsWith(wanted)) return plain(title[item]) === wanted ? 0 : 1;
      return names[item].includes(` ${wanted}`) ? 2 : 3;
    };
    hits = wanted ? range.filter(isHit).sort((a, b) => rank(a) - rank(b)).slice(0, 8) : [];
    chosen = hits.length ? 0 : -1;
    if (wanted && !hits.length) status.textContent = `No title contains “${search.value.trim()}”.`;
    offer();
  }

  function offer() {
    found.replaceChildren(...hits.map((item, index) => {
      const option = element("li", name(item));
      option.id = `${root.id}-option-${index}`;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", String(index === chosen));
      option.onpointerdown = (event) => { event.preventDefault(); take(index); };
      return option;
    }));
    found.hidden = !hits.length;
    search.setAttribute("aria-expanded", String(hits.length > 0));
    if (chosen >= 0) search.setAttribute("aria-activedescendant", `${root.id}-option-${chosen}`);
    else search.removeAttribute("aria-activedescendant");
  }

  function take(index) {
    const item = hits[index];
    search.value = name(item);
    hits = [];
    chosen = -1;
    offer();
    point(-1);
    select(item);
    bringIntoSight(item);
  }

  search.addEventListener("input", look);
  search.addEventListener("blur", () => { hits = []; chosen = -1; offer(); });
  search.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves && hits.length) {
      chosen = (chosen + moves[event.key] + hits.length) % hits.length;
      offer();
    } else if (event.key === "Enter" && chosen >= 0) take(chosen);
    else if (event.key === "Escape") { hits = []; chosen = -1; search.value = ""; offer(); }
    else { event.stopPropagation(); return; } // the page around has shortcuts of its own
    event.preventDefault();
    event.stopPropagation();
  });

  // --- Pointer and keyboard on the map -------------------------------------------------------------

  let grabbed = null; // where a drag began

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("pointerdown", (event) => {
    grabbed = { at: at(event), centre: [centreX, centreY], moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = at(event);
    const [dx, dy] = grabbed ? [px - grabbed.at[0], py - grabbed.at[1]] : [0, 0];
    if (Math.hypot(dx, dy) > 5) grabbed.moved = true;
    if (grabbed && grabbed.moved && zoom > 1) {
      const limit = (value) => Math.min(1, Math.max(0, value));
      centreX = limit(grabbed.centre[0] - dx / (side() * zoom));
      centreY = limit(grabbed.centre[1] + dy / (side() * zoom));
      point(-1);
      redraw();
    } else point(nearest(px, py, 14));
  });
  canvas.addEventListener("pointerup", (event) => {
    const item = nearest(...at(event), 14);
    if (grabbed && !grabbed.moved && item >= 0) select(item);
    grabbed = null;
  });
  canvas.addEventListener("pointercancel", () => { grabbed = null; });
  canvas.addEventListener("pointerleave", () => point(-1));
  canvas.addEventListener("blur", () => point(-1));
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) {
      const item = step(...moves[event.key]);
      bringIntoSight(item);
      point(item, true);
    } else if (event.key === "Enter" || event.key === " ") { if (pointed >= 0) select(pointed); }
    else if (event.key === "Escape") { point(-1); select(-1); }
    else if (event.key === "+" || event.key === "=") setZoom(zoom * 2);
    else if (event.key === "-") setZoom(zoom / 2);
    else if (event.key === "0") setZoom(1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // In a notebook, single keys are commands of the page around: x cuts the cell, and the map with it.
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  });

  part("in").onclick = () => setZoom(zoom * 2);
  part("out").onclick = () => setZoom(zoom / 2);
  part("all").onclick = () => setZoom(1);
  colour.addEventListener("change", redraw);
  part("map").addEventListener("change", (event) => {
    ({ x, y } = maps[event.target.selectedIndex]);
    setZoom(1);
  });
  for (const choice of root.querySelectorAll("input[type=radio]")) {
    choice.addEventListener("change", () => { depth = Number(choice.value); select(selected); });
  }

  // --- Start -------------------------------------------------------------------------------------

  for (const { name: label } of maps) part("map").append(element("option", label));
  for (const { name: label } of colorings) colour.append(element("option", label));
  part("fallback").hidden = true;
  part("body").hidden = false;
  new ResizeObserver(resize).observe(canvas);
  const themes = new MutationObserver(redraw); // the book's and JupyterLab's switches to dark
  themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  root.dataset.ready = "1";
  select(data.start);
})();
