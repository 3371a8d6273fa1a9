// The page's link over TCP: a session, INFO, and sound in clip mode. Prints what came of it as JSON.
import { connect } from "node:net";

const [folder, port, resendMs, count, helloMs, doneMs] = process.argv.slice(2);
const { Link, LinkError } = await import(`${folder}/link.js`);
const { Command, Mode, streamData, streamStart } = await import(`${folder}/protocol.js`);

function open() {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), "127.0.0.1");
    const transport = {
      name: "the test's port", resendMs: Number(resendMs), onbytes() {}, onclose() {},
      write: async (bytes) => { socket.write(bytes); },
      close: async () => { socket.destroy(); },
    };
    socket.on("data", (data) => transport.onbytes(new Uint8Array(data)));
    socket.on("close", () => transport.onclose(new LinkError("The port went away.")));
    socket.on("error", () => {});
    socket.once("connect", () => resolve(transport));
    socket.once("error", reject);
  });
}

const said = { results: [], done: null, info: null, error: null, retry: null, hint: null };
const link = new Link(await open(), {
  onEvent: (event) => { if (event.event === "Result") said.results.push(event.output); },
});
try {
  await link.hello(Number(helloMs));
  const { payload, ...info } = await link.info();
  said.info = info;
  await link.setDetector({ window: 2, min_count: 1, rest: 0, refractory_samples: 99, thresholds: [1, 2, 3, 4] });
  const samples = Int16Array.from({ length: Number(count) }, (_, i) => ((i * 7919) % 65536) - 32768);
  await link.send(Command.STREAM_START, streamStart(Mode.CLIP, 0));
  for (let at = 0; at < samples.length; at += 254) {
    await link.send(Command.STREAM_DATA, streamData(at, samples.subarray(at, at + 254)));
  }
  said.done = await link.stopStream(samples.length, Number(doneMs));
} catch (error) {
  if (!(error instanceof LinkError)) throw error;
  Object.assign(said, { error: error.message, retry: error.retry, hint: error.hint });
}
said.counters = link.counters;
await link.close();
console.log(JSON.stringify(said));
process.exit(0);
