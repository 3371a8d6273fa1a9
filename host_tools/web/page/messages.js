// Sentences for the user: the newest first, each once, a few at a time.

import { shown } from "./protocol.js";
import { element } from "./view.js";

const MOST = 4;

export function message(box, text, hint = "") {
  [...box.children].filter((row) => row.dataset.text === text).forEach((row) => row.remove());
  const said = element("span", { text: shown(text, 400) });
  if (hint) said.append(element("span", { class: "hint", text: shown(hint, 400) }));
  const close = element("button", { text: "Close" });
  const row = element("div", { class: "message" }, said, close);
  row.dataset.text = text;
  close.addEventListener("click", () => row.remove());
  box.prepend(row);
  while (box.children.length > MOST) box.lastElementChild.remove();
}
