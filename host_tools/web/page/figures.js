// What the page says in figures of the sound, the board and their comparison.

import { element } from "./view.js";
import { RATE } from "./resample.js";

// Rows of name and text. `board`: the connected one, or null.
export function figures(source, heard, board) {
  const rows = [];
  if (source) rows.push(["sound", `${(heard.total / RATE).toFixed(1)} s at 16 kHz, from ${source.rate.toLocaleString("en")} Hz`]);
  if (heard.lost) rows.push(["lost on the link", `${heard.lost.toLocaleString("en")} samples`]);
  if (board) boardFigures(board, rows);
  return rows.flatMap(([name, text]) => [element("dt", { text: name }), element("dd", { text })]);
}

// How the board's side and this page's agree: a class ("differs", "equal" or "") and a sentence.
export function verdict({ features, results, words, off, firstDifference }, board) {
  const compared = features.same + results.same + words.same + features.different + results.different + words.different;
  const different = features.different + results.different + words.different;
  const name = different ? "differs" : compared ? "equal" : "";
  if (!board) return [name, off || "No board: this page alone listens."];
  if (different) {
    const at = ((firstDifference ?? 0) / RATE).toFixed(2);
    return [
      name,
      `The board and this page differ, first at ${at} s: ` +
        `${features.different} frames, ${results.different} results, ${words.different} words. ${off}`,
    ];
  }
  if (!compared) return [name, off || "The board is ready."];
  return [
    name,
    `The board and this page agree, bit for bit: ${features.same.toLocaleString("en")} frames, ` +
      `${results.same.toLocaleString("en")} results, ${words.same} words. ${off}`,
  ];
}

function boardFigures(board, rows) {
  const { info, ticks, unit, counters, stats } = board;
  if (ticks.samples) {
    const seconds = ticks.samples / RATE;
    const each = (value) => Math.round(value / seconds).toLocaleString("en");
    rows.push([`${unit.name} a second`, `front end ${each(ticks.frontend)}, network ${each(ticks.inference)}, detector ${each(ticks.detector)}`]);
    const share = (ticks.frontend + ticks.inference + ticks.detector) / seconds / unit.hz;
    if (unit.hz) rows.push(["share of its time", `${(100 * share).toFixed(1)} %`]);
  }
  if (board.streaming) rows.push(["lag", `${Math.round(board.behind / (RATE / 1000))} ms`]);
  rows.push(["RAM", `stack ${info.stack_used.toLocaleString("en")} of ${info.stack_bytes.toLocaleString("en")} B, arena ${info.arena_bytes.toLocaleString("en")} B, free ${info.free_ram.toLocaleString("en")} B`]);
  if (counters) {
    const { lost, bad, resent, repeated } = counters;
    rows.push(["link", `${lost} lost, ${bad} damaged, ${resent} sent again, ${repeated} repeated${board.damaged ? `, ${board.damaged} framing errors` : ""}`]);
  }
  if (stats) rows.push(["board's drops", `${stats.tx_dropped} frames, ${stats.audio_dropped} samples`]);
}
