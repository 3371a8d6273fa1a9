// WAV files: one of what was heard, and those that a user gives.

import { RATE } from "./resample.js";

// Int16Array at 16 kHz to the bytes of a file.
export function writeWav(samples) {
  const out = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((c, i) => out.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  out.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  out.setUint32(16, 16, true);
  out.setUint16(20, 1, true); // PCM
  out.setUint16(22, 1, true); // mono
  out.setUint32(24, RATE, true);
  out.setUint32(28, 2 * RATE, true);
  out.setUint16(32, 2, true);
  out.setUint16(34, 16, true);
  text(36, "data");
  out.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => out.setInt16(44 + 2 * i, sample, true));
  return new Uint8Array(out.buffer);
}

// The bytes of a file to { rate, samples: Float32Array }, channels averaged. Throws RangeError with a sentence for people.
export function readWav(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tag = (at) => (at + 4 <= bytes.length ? String.fromCharCode(...bytes.subarray(at, at + 4)) : "");
  if (tag(0) !== "RIFF" || tag(8) !== "WAVE") throw new RangeError("This file is not a WAV file.");
  let format = null;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at + 4, true), body = at + 8;
    if (tag(at) === "fmt " && size >= 16 && body + size <= bytes.length) {
      let kind = view.getUint16(body, true);
      if (kind === 0xfffe && size >= 26) kind = view.getUint16(body + 24, true); // the first of the extended format's GUID
      format = {
        kind, channels: view.getUint16(body + 2, true), rate: view.getUint32(body + 4, true),
        bits: view.getUint16(body + 14, true),
      };
    } else if (tag(at) === "data" && format) {
      return samplesOf(new DataView(view.buffer, view.byteOffset + body, Math.min(size, bytes.length - body)), format);
    }
    at = body + size + (size & 1);
  }
  throw new RangeError("This WAV file has no sound in it.");
}

function samplesOf(data, { kind, channels, rate, bits }) {
  const read = {
    "1/16": (at) => data.getInt16(at, true) / 0x8000,
    "1/24": (at) => ((data.getInt8(at + 2) << 16) | data.getUint16(at, true)) / 0x800000,
    "1/32": (at) => data.getInt32(at, true) / 0x80000000,
    "3/32": (at) => data.getFloat32(at, true),
  }[`${kind}/${bits}`];
  if (!read || channels < 1) throw new RangeError("This WAV file is not PCM of 16, 24 or 32 bits.");
  const step = (bits / 8) * channels;
  const samples = new Float32Array(Math.floor(data.byteLength / step));
  for (let i = 0; i < samples.length; i++) {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += read(i * step + (c * bits) / 8);
    samples[i] = sum / channels;
  }
  return { rate, samples };
}
