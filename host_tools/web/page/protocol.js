// The bytes of docs/protocol.md: framing, commands and events. Knows no port and keeps no session; the twin of
// host_tools/link (codes, frames, events, info), with the same names for what a frame holds. Both pass tests/link/vectors.json.

export const VERSION = 1;
export const MAX_PAYLOAD = 512;
export const MAX_SAMPLES = 254; // of one STREAM_DATA
export const MAX_INFO = 4096; // bytes of INFO in all its replies
export const MAX_WINDOW = 1024; // frames of credit that are believed
export const SAMPLE_RATE = 16000;
const HEADER = 6;
const MAX_ENCODED = HEADER + MAX_PAYLOAD + 4 + 3; // COBS adds at most one byte in 254; without the closing zero
const MAX_TEXT = 64; // characters of a text in INFO
const LIMITS = { labels: 32, labelBytes: 48, stride: 1000, samples: 1024, channels: 64, frames: 1000, input: 65535 };

export const Command = Object.freeze({
  HELLO: 0x01, INFO: 0x02, STATS: 0x03, STREAM_START: 0x04, STREAM_DATA: 0x05, STREAM_STOP: 0x06, INFER_FEATURES: 0x07,
  RESET: 0x08, SET_DETECTOR: 0x09, DIE: 0x0a, PROFILE: 0x0b,
});
export const Reason = Object.freeze({ MALFORMED: 1, CRC: 2, OVERSIZED: 3, LENGTH: 4, MISSING: 5, VERSION: 6 });
export const Mode = Object.freeze({ CLIP: 0, CONTINUOUS: 1 });
export const Flag = Object.freeze({ FEATURES: 1, RESULTS: 2, MICROPHONE: 4, AUDIO: 8, ADPCM: 16 });
export const ErrorCode = Object.freeze({ UNKNOWN: 1, PAYLOAD: 2, STATE: 3, UNSUPPORTED: 4, ENGINE: 5, POSITION: 6 });
const ERROR_TEXTS = {
  1: "unknown command", 2: "bad payload", 3: "wrong state", 4: "not supported on this board or in this build",
  5: "engine error", 6: "position",
};
const FAULT_TEXTS = {
  1: "hard fault", 2: "memory fault", 3: "bus fault", 4: "usage fault", 5: "stack overflow", 6: "watchdog", 7: "abort",
};
export const RESET_REASONS = ["unknown", "power", "pin", "software", "watchdog", "fault"];
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

// ---- text from outside

// On one line, with every control, format and unassigned character as an escape, and not longer than `limit`.
export function shown(text, limit = 200) {
  const all = [...String(text)];
  const kept = all.slice(0, limit).map((c) => (/^[\p{C}\u2028\u2029]$/u.test(c) && !/[\u200c\u200d]/.test(c) ? escaped(c) : c));
  const more = all.length - limit;
  return kept.join("") + (more > 0 ? `… (${more.toLocaleString("en")} characters more)` : "");
}

function escaped(c) {
  const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[c];
  if (short) return short;
  const code = c.codePointAt(0);
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
}

// ---- frames

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});

export function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

export function cobsEncode(data) {
  const out = [];
  let code = 0; // where the present group's length goes
  const begin = () => { code = out.length; out.push(0); };
  begin();
  for (let i = 0; i < data.length; i++) {
    if (data[i] === 0) {
      out[code] = out.length - code;
      begin();
      continue;
    }
    out.push(data[i]);
    if (out.length - code === 255) {
      out[code] = 255;
      if (i === data.length - 1) return Uint8Array.from(out); // a full group at the end needs no empty one after it
      begin();
    }
  }
  out[code] = out.length - code;
  return Uint8Array.from(out);
}

// null: a zero byte, or a group that ends after the data.
export function cobsDecode(data) {
  const out = [];
  for (let at = 0; at < data.length; ) {
    const code = data[at];
    if (code === 0 || at + code > data.length) return null;
    for (let i = at + 1; i < at + code; i++) {
      if (data[i] === 0) return null;
      out.push(data[i]);
    }
    at += code;
    if (code !== 255 && at < data.length) out.push(0);
  }
  return Uint8Array.from(out);
}

// The bytes for the wire, with the closing zero.
export function encodeFrame(type, seq, payload = new Uint8Array(0)) {
  if (payload.length > MAX_PAYLOAD) throw new RangeError(`payload of ${payload.length} bytes; at most ${MAX_PAYLOAD} fit`);
  const body = new Uint8Array(HEADER + payload.length + 4);
  const view = new DataView(body.buffer);
  view.setUint8(0, type);
  view.setUint8(1, VERSION);
  view.setUint16(2, seq & 0xffff, true);
  view.setUint16(4, payload.length, true);
  body.set(payload, HEADER);
  view.setUint32(HEADER + payload.length, crc32(body.subarray(0, -4)), true);
  const encoded = cobsEncode(body);
  const wire = new Uint8Array(encoded.length + 1);
  wire.set(encoded);
  return wire;
}

// What stood between two zeros: { type, seq, payload }, or { reason, seq } for what is not a frame (seq where it could be read).
export function decodeFrame(encoded) {
  const body = cobsDecode(encoded);
  if (!body || body.length < HEADER + 4) return { reason: Reason.MALFORMED, seq: 0 };
  const view = new DataView(body.buffer);
  if (crc32(body.subarray(0, -4)) !== view.getUint32(body.length - 4, true)) return { reason: Reason.CRC, seq: 0 };
  const seq = view.getUint16(2, true), length = view.getUint16(4, true);
  if (view.getUint8(1) !== VERSION) return { reason: Reason.VERSION, seq };
  if (length !== body.length - HEADER - 4 || length > MAX_PAYLOAD) return { reason: Reason.LENGTH, seq };
  return { type: view.getUint8(0), seq, payload: body.slice(HEADER, -4) };
}

// Cuts a stream of bytes into frames. Its state is at most one unfinished frame.
export class Decoder {
  constructor() {
    this._pending = new Uint8Array(MAX_ENCODED);
    this._used = 0;
    this._skipping = false;
  }

  // The frames, and runs that are none, that `data` completes.
  feed(data) {
    const found = [];
    for (const byte of data) {
      if (byte !== 0) {
        if (this._used === MAX_ENCODED) this._skipping = true;
        else this._pending[this._used++] = byte;
        continue;
      }
      if (this._skipping) found.push({ reason: Reason.OVERSIZED, seq: 0 });
      else if (this._used) found.push(decodeFrame(this._pending.subarray(0, this._used)));
      this._used = 0;
      this._skipping = false;
    }
    return found;
  }
}

// ---- payloads of commands

export function u16(...values) {
  const out = new DataView(new ArrayBuffer(2 * values.length));
  values.forEach((value, i) => out.setUint16(2 * i, value, true));
  return new Uint8Array(out.buffer);
}

export function u32(...values) {
  const out = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, i) => out.setUint32(4 * i, value, true));
  return new Uint8Array(out.buffer);
}

// Of SET_DETECTOR: { window, min_count, rest, refractory_samples, thresholds }.
export function detectorPayload(d) {
  const bytes = [d.window, d.min_count, d.rest ?? 0, 0, ...u32(d.refractory_samples), d.thresholds.length, ...d.thresholds];
  if (!bytes.every((v) => Number.isInteger(v) && v >= 0 && v <= 255)) throw new RangeError("a detector's values are bytes");
  return Uint8Array.from(bytes);
}

export function streamStart(mode, flags, stride = 0) {
  return Uint8Array.from([mode, flags, ...u16(stride)]);
}

// `samples`: Int16Array [1 to 254]; `position`: of the first, since STREAM_START.
export function streamData(position, samples) {
  if (samples.length < 1 || samples.length > MAX_SAMPLES) throw new RangeError(`${samples.length} samples; 1 to 254 fit`);
  const out = new DataView(new ArrayBuffer(4 + 2 * samples.length));
  out.setUint32(0, position >>> 0, true);
  samples.forEach((sample, i) => out.setInt16(4 + 2 * i, sample, true));
  return new Uint8Array(out.buffer);
}

// ---- events

// Reads a payload from its beginning; throws RangeError where it ends too soon.
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }
  get left() { return this.bytes.length - this.at; }
  u8() { return this.view.getUint8(this._move(1)); }
  i8() { return this.view.getInt8(this._move(1)); }
  u16() { return this.view.getUint16(this._move(2), true); }
  i16() { return this.view.getInt16(this._move(2), true); }
  u32() { return this.view.getUint32(this._move(4), true); }
  take(n) { const at = this._move(n); return this.bytes.subarray(at, at + n); }
  text() { return utf8.decode(this.take(this.left)); }
  many(n, kind) { return Array.from({ length: n }, () => this[kind]()); }
  end() { if (this.left) throw new RangeError(`${this.left} bytes too many`); }
  _move(n) {
    if (n > this.left) throw new RangeError("it ends too soon");
    this.at += n;
    return this.at - n;
  }
}

const fixed = (fields) => (r) => {
  const event = Object.fromEntries(fields.map(([name, kind]) => [name, r[kind]()]));
  r.end();
  return event;
};
const all = (kind, names) => names.split(" ").map((name) => [name, kind]);

function readDetector(r) {
  const [window, min_count, rest] = [r.u8(), r.u8(), r.u8()];
  r.u8();
  const refractory_samples = r.u32();
  const thresholds = r.many(r.u8(), "u8");
  r.end();
  return { window, min_count, refractory_samples, thresholds, rest };
}

const INFO_TEXTS = { 1: "firmware", 2: "board", 3: "engine", 4: "model_hash", 8: "timer_source", 11: "build" };
const INFO_NUMBERS = {
  6: "sample_rate window_samples hop_samples channels window_frames input_bytes output_bytes default_stride",
  7: "timer_hz core_hz calibration_expected calibration_ticks _",
  9: "arena_bytes macs stack_bytes stack_used free_ram",
};

// One of several models in an image: its labels are the next ones of the image's.
function readPart(r) {
  const [labels, role, window, rest] = [r.u8(), r.u8(), r.u8(), r.u8()];
  const [hop_samples, stride] = [r.u16(), r.u16()];
  return { name: shown(r.text(), MAX_TEXT), labels, role, window, rest, hop_samples, stride };
}

function readInfo(r) {
  const info = { labels: [], parts: [], detector: null, more: false, payload: r.bytes.slice() };
  for (const name of Object.values(INFO_TEXTS)) info[name] = "";
  for (const names of Object.values(INFO_NUMBERS)) for (const name of names.split(" ")) info[name] = 0;
  const labels = [];
  while (r.left) {
    const tag = r.u8();
    const value = r.take(r.u8());
    const inner = new Reader(value);
    info.more = tag === 12; // stands only at the end of a reply
    if (tag in INFO_TEXTS) {
      info[INFO_TEXTS[tag]] = shown(utf8.decode(value), MAX_TEXT);
    } else if (tag === 5) {
      labels.push(...value);
    } else if (tag in INFO_NUMBERS) {
      for (const name of INFO_NUMBERS[tag].split(" ")) info[name] = inner.u32();
      inner.end();
    } else if (tag === 10) {
      info.detector = readDetector(inner);
    } else if (tag === 13) {
      info.parts.push(readPart(inner));
    }
  }
  delete info._;
  if (labels.length) info.labels = utf8.decode(Uint8Array.from(labels)).split("\n");
  return info;
}

// A reply and the one that goes on with it, as one.
export function joinInfo(info, rest) {
  if (!rest.payload.length) throw new RangeError("INFO goes on with nothing");
  const payload = Uint8Array.from([...info.payload, ...rest.payload]);
  if (payload.length > MAX_INFO) throw new RangeError(`INFO goes on beyond ${MAX_INFO} bytes`);
  return readInfo(new Reader(payload));
}

// Throws RangeError for a number or a label that no firmware of ours has.
export function checkInfo(info) {
  const within = {
    sample_rate: [SAMPLE_RATE, SAMPLE_RATE], window_samples: [1, LIMITS.samples], hop_samples: [1, LIMITS.samples],
    channels: [1, LIMITS.channels], window_frames: [1, LIMITS.frames], input_bytes: [1, LIMITS.input],
    output_bytes: [1, LIMITS.labels], default_stride: [1, LIMITS.stride],
  };
  for (const [name, [least, most]] of Object.entries(within)) {
    if (info[name] < least || info[name] > most) throw new RangeError(`${name} is ${info[name]}, not ${least} to ${most}`);
  }
  if (info.input_bytes !== info.window_frames * info.channels) throw new RangeError(`input_bytes is ${info.input_bytes}`);
  if (info.output_bytes !== info.labels.length) {
    throw new RangeError(`output_bytes is ${info.output_bytes} for ${info.labels.length} labels`);
  }
  const counts = info.parts.length ? info.parts.map((part) => part.labels) : [info.labels.length];
  if (counts.reduce((a, b) => a + b) !== info.labels.length || counts.includes(0)) {
    throw new RangeError(`the models have not ${info.labels.length} labels together`);
  }
  let at = 0;
  for (const count of counts) { // a label stands once in a model
    const own = info.labels.slice(at, (at += count));
    if (new Set(own).size !== count) throw new RangeError("a label is there twice");
  }
  for (const label of info.labels) {
    const size = new TextEncoder().encode(label).length;
    if (size < 1 || size > LIMITS.labelBytes) throw new RangeError(`a label of ${size} bytes`);
    if (label !== label.trim() || /[\p{C}\u2028\u2029]/u.test(label)) throw new RangeError("a label that is not printable");
  }
}

function readResult(r) {
  const names = "index position frontend_ticks frontend_frames inference_ticks detector_ticks".split(" ");
  const event = Object.fromEntries(names.map((name) => [name, r.u32()]));
  event.output = r.many(r.u8(), "i8");
  r.end();
  return event;
}

function readProfile(r) {
  const event = { first: r.u16(), total: r.u16() };
  event.ticks = readWords(r, "u32", 4);
  if (event.first + event.ticks.length > event.total) throw new RangeError("more calls than there are");
  return event;
}

function readWords(r, kind, size) {
  if (r.left % size) throw new RangeError("not whole values");
  return r.many(r.left / size, kind);
}

// ---- AUDIO

const STEPS = (
  "7 8 9 10 11 12 13 14 16 17 19 21 23 25 28 31 34 37 41 45 50 55 60 66 73 80 88 97 107 118 130 143 157 173 190 209 " +
  "230 253 279 307 337 371 408 449 494 544 598 658 724 796 876 963 1060 1166 1282 1411 1552 1707 1878 2066 2272 2499 " +
  "2749 3024 3327 3660 4026 4428 4871 5358 5894 6484 7132 7845 8630 9493 10442 11487 12635 13899 15289 16818 18500 " +
  "20350 22385 24623 27086 29794 32767"
).split(" ").map(Number);
const CHANGE = [-1, -1, -1, -1, 2, 4, 6, 8];

// IMA ADPCM: Int16Array [count] of codes, whose state before the first sample is given.
export function adpcmDecode(codes, count, predictor, index) {
  if (codes.length !== Math.ceil(count / 2) || index >= STEPS.length) throw new RangeError("not a block of ADPCM");
  const samples = new Int16Array(count);
  for (let i = 0; i < count; i++) {
    const code = i & 1 ? codes[i >> 1] >> 4 : codes[i >> 1] & 15, step = STEPS[index];
    const size = (step >> 3) + (code & 4 ? step : 0) + (code & 2 ? step >> 1 : 0) + (code & 1 ? step >> 2 : 0);
    predictor = Math.max(-32768, Math.min(32767, predictor + (code & 8 ? -size : size)));
    index = Math.max(0, Math.min(STEPS.length - 1, index + CHANGE[code & 7]));
    samples[i] = predictor;
  }
  return samples;
}

function readAudio(r) {
  const position = r.u32(), dropped = r.u32(), coding = r.u8(), step = r.u8(), predictor = r.i16(), n = r.u16();
  if (n === 0 || coding > 1) throw new RangeError(`${n} samples of coding ${coding}`);
  if (coding) return { position, dropped, coding, samples: adpcmDecode(r.take(r.left), n, predictor, step) };
  const samples = Int16Array.from(r.many(n, "i16"));
  r.end();
  return { position, dropped, coding, samples };
}

export const EVENTS = {
  0x80: ["Ack", fixed(all("u16", "expected window"))],
  0x81: ["Nak", fixed([...all("u8", "reason reserved"), ...all("u16", "expected got")])],
  0x82: ["HelloReply", fixed([...all("u16", "protocol window max_payload"), ...all("u8", "reset_reason has_fault")])],
  0x83: ["Info", readInfo],
  0x84: ["Stats", fixed(all("u32", "rx_frames rx_malformed rx_crc rx_oversized rx_length rx_missing rx_duplicate " +
    "rx_version rx_ring_overflow rx_overrun rx_framing tx_frames tx_dropped rx_bytes tx_bytes audio_dropped"))],
  0x85: ["Result", readResult],
  0x86: ["Detection", fixed([["position", "u32"], ...all("u8", "label score")])],
  0x87: ["Log", (r) => ({ level: r.u8(), text: r.text() })],
  0x88: ["Fault", fixed(all("u32", "kind pc lr cfsr hfar sp uptime_ms"))],
  0x89: ["Features", (r) => ({ frame: r.u32(), values: readWords(r, "u16", 2) })],
  0x8a: ["Refusal", (r) => ({ command: r.u8(), code: r.u8(), seq: r.u16(), text: r.text() })],
  0x8b: ["StreamDone", fixed(all("u32", "total frames inferences dropped"))],
  0x8c: ["Ready", fixed([["protocol", "u16"]])],
  0x8d: ["SetDetectorOk", fixed([["n", "u8"]])],
  0x8e: ["ResetOk", fixed([["kind", "u8"]])],
  0x8f: ["ProfileReply", readProfile],
  0x90: ["Audio", readAudio],
};

// The frame's payload as { event: name, ...fields }. Throws RangeError where it is not that of its type.
export function parseEvent(frame) {
  const known = EVENTS[frame.type];
  if (!known) return { event: "Unknown", type: frame.type };
  const [name, read] = known;
  return { event: name, ...read(new Reader(frame.payload)) };
}

// For people: what a device refused, and why.
export function refusalText(event) {
  const command = Object.keys(Command).find((name) => Command[name] === event.command) ?? `command ${event.command}`;
  return `${command}: ${ERROR_TEXTS[event.code] ?? `code ${event.code}`}${event.text ? ` (${shown(event.text)})` : ""}`;
}

export function faultText(kind) {
  return FAULT_TEXTS[kind] ?? `fault of kind ${kind}`;
}
