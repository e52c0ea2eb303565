// The self-check's questions on the page: choose, check, and keep the answer. Without this script a question reads as
// it is written (book/_tools/questions.py): its options, and the answer behind a line to click.
//
// A question is the run of elements from "Question N" to its <details class="answer">. Guesses are kept by the browser,
// for this book alone; where it keeps nothing, a page forgets when it is left.
(() => {
  "use strict";
  const KEY = "semantic-ids-book:";
  const kept = {
    get(id) { try { return localStorage.getItem(KEY + id); } catch { return null; } },
    set(id, guess) {
      try { guess === null ? localStorage.removeItem(KEY + id) : localStorage.setItem(KEY + id, guess); } catch { /* kept nowhere */ }
    },
  };

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  /** The elements of a question, from its first paragraph to the one before the answer. */
  function partsOf(answer) {
    const parts = [];
    for (let part = answer.previousElementSibling; part; part = part.previousElementSibling) {
      parts.unshift(part);
      if (/^Question \d/.test(part.querySelector(":scope > strong")?.textContent ?? "")) return parts;
    }
    return null;
  }

  /** What a reader types as a number: "221", "1,300", "0,4", "26 %"; NaN if it is none. */
  function number(text) {
    const plain = text.replace(/[%×\s]|times/g, "");
    const dotted = /^\d{1,3}(,\d{3})+(\.\d+)?$/.test(plain) ? plain.replaceAll(",", "") : plain.replace(",", ".");
    return dotted === "" ? NaN : Number(dotted);
  }

  function start(answer) {
    const parts = partsOf(answer);
    if (!parts) return;
    const id = answer.id;
    const data = answer.dataset;
    const asksNumber = "number" in data;
    const list = asksNumber ? null : parts.findLast((part) => part.tagName === "UL");
    if (!asksNumber && !list) return;

    const question = make("div", { class: "question", role: "group" });
    parts[0].before(question);
    question.append(...parts, answer);
    parts[0].id ||= `${id}-stem`;
    question.setAttribute("aria-labelledby", parts[0].id);

    const controls = make("div", { class: "question-controls" });
    const check = make("button", { type: "button", class: "question-button" }, data.covers ? "Keep my guess" : "Check");
    const again = make("button", { type: "button", class: "question-button" }, "Answer again");
    const said = make("p", { class: "question-said", role: "status" });
    const options = new Map(); // letter → its radio button
    let field = null;

    if (asksNumber) {
      field = make("input", { id: `${id}-field`, type: "text", inputmode: "decimal", size: "8", autocomplete: "off" });
      controls.append(make("label", { for: `${id}-field` }, "My number: "), field);
      parts.at(-1).classList.add("question-asks"); // "Write down a number …"
      field.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || field.readOnly) return;
        event.preventDefault(); // or it would press the button that gets the focus, too
        check.click();
      });
    } else {
      list.classList.add("question-options");
      for (const item of list.children) {
        const letter = item.querySelector("strong").textContent[0];
        const radio = make("input", { type: "radio", name: id, value: letter, autocomplete: "off" });
        const label = make("label", {}, radio);
        const words = make("span", {});
        words.append(...(item.querySelector(":scope > p") ?? item).childNodes);
        label.append(words);
        item.replaceChildren(label);
        options.set(letter, radio);
      }
    }
    controls.append(check, again);
    answer.before(controls, said);

    // A question before the cell that answers it keeps the cell's output back, so that it can be a guess.
    const output = data.covers ? question.nextElementSibling?.querySelector(".cell_output") : null;
    const cover = make("div", { class: "question-cover" });
    const below = make("p", { class: "question-kept" });
    if (output) {
      const show = make("button", { type: "button", class: "question-button" }, "Show it without a guess");
      cover.append(make("p", {}, `The output of this cell waits for your guess at question ${place()}.`), show);
      show.addEventListener("click", () => { uncover(); output.tabIndex = -1; output.focus(); });
      output.before(cover);
      output.classList.add("question-covered");
      output.after(below);
      below.hidden = true;
    }
    function place() { return parts[0].textContent.match(/^Question (\d+)/)[1]; }
    function uncover() { cover.hidden = true; output?.classList.remove("question-covered"); }

    function guess() { return asksNumber ? field.value.trim() : [...options].find(([, radio]) => radio.checked)?.[0] ?? ""; }
    function isRight(text) {
      return asksNumber ? Math.abs(number(text) - Number(data.number)) <= Number(data.within) + 1e-9 : text === data.right;
    }

    function judge(text) {
      const right = isRight(text);
      const truth = asksNumber ? data.number : data.right;
      for (const [letter, radio] of options) {
        radio.checked = letter === text;
        radio.disabled = true;
        const row = radio.closest("li");
        row.classList.toggle("is-right", letter === data.right);
        row.classList.toggle("is-wrong", letter === text && !right);
        row.querySelector(".question-mark")?.remove();
        const mark = letter === data.right ? "✓ right" : letter === text ? "✗ yours" : "";
        if (mark) row.querySelector("label").append(make("span", { class: "question-mark" }, mark));
      }
      if (field) { field.value = text; field.readOnly = true; }
      check.hidden = true;
      again.hidden = false;
      said.textContent = right
        ? `✓ ${asksNumber ? `Your number: ${text}. That is close enough to ${truth}.` : `${truth} is right.`}`
        : `✗ ${asksNumber ? `Your number: ${text}. What came out: ${truth}.` : `You chose ${text}; ${truth} is right.`}`;
      answer.open = true;
      uncover();
      below.hidden = false;
      below.textContent = `Your guess at question ${place()}: ${text}. ${right ? "✓" : "✗"} Right: ${truth}.`;
    }

    function reset() {
      for (const radio of options.values()) {
        radio.checked = radio.disabled = false;
        radio.closest("li").classList.remove("is-right", "is-wrong");
        radio.closest("li").querySelector(".question-mark")?.remove();
      }
      if (field) { field.value = ""; field.readOnly = false; }
      check.hidden = false;
      again.hidden = true;
      said.textContent = "";
      answer.open = false;
      below.hidden = true;
    }

    check.addEventListener("click", () => {
      const text = guess();
      if (asksNumber ? Number.isNaN(number(text)) : !text) {
        said.textContent = asksNumber ? "Write a number first, such as 12 or 0.5." : "Choose an answer first.";
        (field ?? [...options.values()][0]).focus();
        return;
      }
      kept.set(id, text);
      judge(text);
      again.focus();
    });
    again.addEventListener("click", () => {
      kept.set(id, null);
      reset();
      (field ?? [...options.values()][0]).focus();
    });

    reset();
    const before = kept.get(id);
    if (before !== null && (asksNumber ? !Number.isNaN(number(before)) : options.has(before))) judge(before);
  }

  addEventListener("DOMContentLoaded", () => document.querySelectorAll("details.answer").forEach(start));
})();
