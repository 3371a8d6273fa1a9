// Runs tests/link/vectors.json through the page's protocol.js; prints what differs as JSON.
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

const p = await import(`${process.argv[2]}/protocol.js`);
const vectors = JSON.parse(readFileSync(process.argv[3], "utf8"));
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const hex = (data) => Buffer.from(data).toString("hex");
const wrong = [];
let checks = 0;

function same(what, got, wanted) {
  checks++;
  if (!isDeepStrictEqual(got, wanted)) wrong.push({ what, got, wanted });
}
function refuses(what, call) {
  checks++;
  try {
    call();
  } catch (error) {
    if (error instanceof RangeError) return;
    throw error;
  }
  wrong.push({ what, got: "taken", wanted: "refused" });
}
const plainFrame = (f) => (f.payload ? { type: f.type, seq: f.seq, payload: hex(f.payload) } : { reason: f.reason });

for (const row of vectors.frames) {
  same("frame", hex(p.encodeFrame(row.type, row.seq, bytes(row.payload))), row.wire);
  const { wire, ...frame } = row;
  same("frame back", new p.Decoder().feed(bytes(wire)).map(plainFrame), [frame]);
}
for (const row of vectors.not_frames) {
  same("not a frame", new p.Decoder().feed(bytes(row.wire)), [{ reason: row.reason, seq: row.seq }]);
}
const decoder = new p.Decoder();
same("line", vectors.line.pieces.flatMap((piece) => decoder.feed(bytes(piece))).map(plainFrame), vectors.line.found);
const payloads = {
  HELLO: (f) => p.u16(f.protocol),
  INFO: () => [],
  STATS: (f) => [f.clear],
  STREAM_START: (f) => p.streamStart(f.mode, f.flags, f.stride),
  STREAM_DATA: (f) => p.streamData(f.position, Int16Array.from(f.samples)),
  STREAM_STOP: (f) => p.u32(f.total),
  RESET: (f) => [f.kind],
  SET_DETECTOR: (f) => p.detectorPayload(f),
};
for (const row of vectors.commands) {
  same(row.name, [p.Command[row.name], hex(payloads[row.name](row.fields))], [row.type, row.payload]);
}
for (const row of vectors.events) {
  const { event, payload, reserved, ...fields } = p.parseEvent({ type: row.type, seq: 0, payload: bytes(row.payload) });
  if (fields.samples) fields.samples = [...fields.samples];
  same(row.name, fields, row.fields);
}
for (const row of vectors.not_events) {
  refuses(row, () => p.parseEvent({ type: row.type, seq: 0, payload: bytes(row.payload) }));
}
for (const row of vectors.infos) {
  const info = p.parseEvent({ type: 0x83, seq: 0, payload: bytes(row.payload) });
  if (row.believed) same("info", p.checkInfo(info), undefined);
  else refuses(row, () => p.checkInfo(info));
}
for (const row of vectors.adpcm) {
  same("adpcm", [...p.adpcmDecode(bytes(row.codes), row.samples.length, row.predictor, row.step)], row.decoded);
}
console.log(JSON.stringify({ checks, wrong, events: Object.keys(p.EVENTS).map(Number), version: p.VERSION }));
