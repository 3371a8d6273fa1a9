// Resamples float32 samples from a file at a rate, in blocks of many sizes; writes int16.
import { readFileSync, writeFileSync } from "node:fs";

const [folder, rate, from, to] = process.argv.slice(2);
const { Resampler } = await import(`${folder}/resample.js`);
const raw = readFileSync(from);
const input = new Float32Array(raw.buffer, raw.byteOffset, raw.length / 4);
const resampler = new Resampler(Number(rate));
const parts = [];
const sizes = [1024, 1, 333, 4096, 7];
for (let at = 0, i = 0; at < input.length; at += sizes[i++ % sizes.length]) {
  parts.push(Buffer.from(resampler.process(input.subarray(at, at + sizes[i % sizes.length])).buffer));
}
writeFileSync(to, Buffer.concat(parts));
