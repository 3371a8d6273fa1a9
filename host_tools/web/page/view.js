// What is drawn. Text from a model or a device reaches the page as textContent and nothing else.

import { RATE } from "./resample.js";
import { shown } from "./protocol.js";

// Blue to yellow, dark to light: 256 colours, from a few of viridis's.
const POINTS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const COLOURS = Array.from({ length: 256 }, (_, i) => {
  const x = (i / 255) * (POINTS.length - 1), at = Math.min(POINTS.length - 2, Math.floor(x)), f = x - at;
  return POINTS[at].map((v, c) => Math.round(v + f * (POINTS[at + 1][c] - v)));
});
const TOP_FEATURE = 700; // log-mel features of speech lie between 0 and this

export function element(name, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const percent = (score) => `${Math.round((100 * score) / 256)} %`;

export function clock(position) {
  const seconds = position / RATE;
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(2).padStart(5, "0")}`;
}

// Features over time, newest at the right; words and disagreements as marks on it.
export class Waterfall {
  constructor(canvas) {
    this._canvas = canvas;
    this._marks = [];
    this._columns = 0;
    this._channels = 0;
  }

  begin(channels) {
    this._channels = channels;
    this._image = new ImageData(1, channels);
    this._canvas.height = channels;
    this._context = this._canvas.getContext("2d");
    this._context.imageSmoothingEnabled = false;
    this.clear();
  }

  clear() {
    this._pending = [];
    this._context.fillStyle = `rgb(${COLOURS[0].join(" ")})`;
    this._context.fillRect(0, 0, this._canvas.width, this._canvas.height);
  }

  push(features) {
    this._pending.push(Uint16Array.from(features));
    if (this._pending.length > this._canvas.width) this._pending.shift();
  }

  // A mark in the newest column.
  mark(colour) {
    this._pending.push(colour);
  }

  // Draws what has come since; called once a frame of the screen.
  draw() {
    const columns = this._pending.filter((item) => typeof item !== "string").length;
    const { width } = this._canvas;
    const height = this._channels;
    if (columns) this._context.drawImage(this._canvas, -columns, 0);
    let x = width - columns - 1;
    for (const item of this._pending) {
      if (typeof item === "string") {
        this._context.fillStyle = item;
        this._context.fillRect(Math.max(0, x), 0, 1, height);
        continue;
      }
      x++;
      const pixels = this._image.data;
      for (let y = 0; y < height; y++) {
        const [r, g, b] = COLOURS[Math.min(255, Math.floor((item[height - 1 - y] * 255) / TOP_FEATURE))];
        pixels.set([r, g, b, 255], 4 * y);
      }
      this._context.putImageData(this._image, x, 0);
    }
    this._pending = [];
  }
}

// A row a label: the posterior here, the board's, and for a keyword its threshold as a slider.
export class Labels {
  // onThreshold(index, value): a slider moved.
  constructor(table, model, onThreshold) {
    this._rows = model.labels.map((label, index) => {
      const name = shown(label, 60);
      const row = element("div", { class: "label", role: "group", "aria-label": name });
      const here = element("meter", { min: 0, max: 255, value: 0, "aria-label": `${name}, here`, class: "here" });
      const there = element("meter", { min: 0, max: 255, value: 0, "aria-label": `${name}, board`, class: "there", hidden: "" });
      const value = element("span", { class: "score", text: "" });
      const bars = element("div", { class: "bars" }, here, there);
      row.append(element("span", { class: "name", text: name }), bars, value);
      let slider = null, number = null;
      if (model.keywords.includes(label)) {
        slider = element("input", { type: "range", min: 1, max: 255, step: 1, "aria-label": `Threshold of ${name}` });
        number = element("output", { class: "threshold" });
        slider.addEventListener("input", () => {
          this._thresholdText(index);
          onThreshold(index, slider.valueAsNumber);
        });
        row.append(element("label", { class: "slider" }, slider, number));
      }
      table.append(row);
      return { row, here, there, value, slider, number };
    });
  }

  _thresholdText(index) {
    const { row, slider, number } = this._rows[index];
    number.textContent = percent(slider.valueAsNumber);
    slider.setAttribute("aria-valuetext", number.textContent);
    row.style.setProperty("--threshold", `${(100 * slider.valueAsNumber) / 255}%`);
  }

  thresholds(values) {
    this._rows.forEach(({ slider }, index) => {
      if (!slider) return;
      slider.value = values[index];
      this._thresholdText(index);
    });
  }

  scores(side, scores) {
    scores.forEach((score, index) => {
      const { here, there, value } = this._rows[index];
      (side ? there : here).value = score;
      if (!side || here.hidden) value.textContent = percent(score);
    });
  }

  // Which bars are seen.
  sides(here, there) {
    for (const row of this._rows) {
      row.here.hidden = !here;
      row.there.hidden = !there;
    }
  }

  said(index) {
    const { row } = this._rows[index];
    row.classList.add("said");
    setTimeout(() => row.classList.remove("said"), 900);
  }
}

// The list of words heard, the newest first.
export class Words {
  constructor(list, most = 200) {
    this._list = list;
    this._most = most;
    this._rows = new Map(); // "position label" -> row
  }

  clear() {
    this._list.replaceChildren();
    this._rows.clear();
  }

  // `side`: 0 here, 1 the board; a word of both is one row.
  add(side, { position, label, score }, text) {
    const key = `${position} ${label}`;
    let kept = this._rows.get(key);
    if (!kept) {
      const cells = ["time", "word", "here", "there", "verdict"].map((name) => element("td", { class: name }));
      kept = { row: element("tr", { "data-word": text, "data-position": position }, ...cells), scores: [] };
      cells[0].textContent = clock(position);
      cells[1].textContent = text;
      this._rows.set(key, kept);
      this._list.prepend(kept.row);
      while (this._list.rows.length > this._most) this._forgetOldest();
    }
    const { row, scores } = kept;
    scores[side] = score;
    row.cells[2 + side].textContent = percent(score);
    if (scores[0] === undefined || scores[1] === undefined) return;
    const same = scores[0] === scores[1];
    row.cells[4].textContent = same ? "=" : "≠";
    row.classList.toggle("differs", !same);
  }

  // What one side alone has said although the other heard it too.
  differs(position, label) {
    const kept = this._rows.get(`${position} ${label}`);
    if (!kept) return;
    kept.row.cells[4].textContent = "≠";
    kept.row.classList.add("differs");
  }

  _forgetOldest() {
    const last = this._list.lastElementChild;
    for (const [key, { row }] of this._rows) if (row === last) this._rows.delete(key);
    last.remove();
  }
}
