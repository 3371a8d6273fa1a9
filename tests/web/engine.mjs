// Feeds raw samples to the page's engine in blocks of many sizes. Writes features (uint16), scores (uint8) and prints the
// positions of results and the words as JSON.
import { readFileSync, writeFileSync } from "node:fs";

const [folder, wasm, model, pcm, features, scores] = process.argv.slice(2);
const { Engine } = await import(`${folder}/engine.js`);
const about = JSON.parse(readFileSync(model, "utf8"));
const engine = await Engine.load(readFileSync(wasm), about);
const raw = readFileSync(pcm);
const samples = new Int16Array(raw.buffer, raw.byteOffset, raw.length / 2);

function listen() {
  const said = { frames: [], scores: [], positions: [], words: [] };
  const on = {
    frame: (index, values) => {
      if (index !== said.frames.length) throw new Error(`frame ${index}`);
      said.frames.push(values.slice());
    },
    result: (position, values) => {
      said.positions.push(position);
      said.scores.push(values.slice());
    },
    word: (word) => said.words.push([word.position, word.label, word.score]),
  };
  const sizes = [160, 1, 4096, 479, 10000, 37];
  for (let at = 0, i = 0; at < samples.length; i++) {
    const size = sizes[i % sizes.length];
    engine.feed(samples.subarray(at, at + size), on);
    at += size;
  }
  return said;
}

const first = listen();
// The same from its frames alone, as a board's features come.
engine.reset();
const taken = { frames: [], scores: [], words: [] };
for (const values of first.frames) {
  engine.take(values, {
    result: (position, scores) => taken.scores.push(scores.slice()),
    word: (word) => taken.words.push([word.position, word.label, word.score]),
  });
}
const by_features =
  Buffer.concat(taken.scores).equals(Buffer.concat(first.scores)) && JSON.stringify(taken.words) === JSON.stringify(first.words);
engine.reset();
const words = about.detector.thresholds.map(() => 255);
engine.setDetector({ ...about.detector, thresholds: words, window: 1, min_count: 1 });
const second = listen();
let refused = 0;
for (const wrong of [{ window: 0 }, { min_count: 0 }, { refractory_samples: 2 ** 31 }, { thresholds: [1] }, { window: 256 }]) {
  try {
    engine.setDetector({ ...about.detector, ...wrong });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    refused++;
  }
}
writeFileSync(features, Buffer.concat(first.frames.map((f) => Buffer.from(f.buffer))));
writeFileSync(scores, Buffer.concat(first.scores));
const again = Buffer.concat(second.scores).equals(Buffer.concat(first.scores));
console.log(JSON.stringify({ positions: first.positions, words: first.words, strict: second.words, again, by_features, refused }));
