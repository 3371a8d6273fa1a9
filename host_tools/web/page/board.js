// A board that the page is connected to: opened, opened again when it comes back, given sound, and asked what it costs.

import { Link, LinkError } from "./link.js";
import { Command, Flag, MAX_SAMPLES, Mode, faultText, refusalText, shown, streamData, streamStart } from "./protocol.js";

const AGAIN_MS = 1000;
const STATS_MS = 2000;
const MOST_BEHIND = 60 * 16000; // samples that may wait for the board
const TOLERANCE = 0.001; // of the calibration loop, as host_tools/measure/metrics.py has it

// What the device's ticks are, and never more than is known: as tick_unit of host_tools/measure/metrics.py.
export function tickUnit(info) {
  const { timer_source: source, timer_hz: hz, calibration_expected: expected, calibration_ticks: ticks } = info;
  const exact = expected > 0 && Math.abs(ticks - expected) <= TOLERANCE * expected;
  if (source === "DWT" && !exact) return { name: "cycles", hz };
  if (source === "CLOCK_MONOTONIC" && hz === 1e9) return { name: "ns", hz };
  if (exact) return { name: "instructions", hz: 0 };
  return { name: `ticks of ${source || "an unnamed timer"}`, hz };
}

export class Board {
  // open() gives a transport. `on` has: state(name, text), event(event), lost(), message(text, hint), detector(settings).
  constructor(open, on) {
    this._open = open;
    this._on = on;
    this._wanted = false;
    this._link = null;
    this._timer = null;
    this._wake = null;
    this.info = null;
    this._forget();
  }

  get connected() {
    return this.info !== null;
  }

  _forget() {
    this.streaming = false;
    this.microphone = false;
    this._queue = [];
    this._behind = 0;
    this._sending = false;
    this.sent = 0; // samples, of this stream
    this.heard = 0; // position of the last result
    this.ticks = { frontend: 0, inference: 0, detector: 0, samples: 0 };
    this.stats = null;
  }

  // Connects, and stays connected through unplugging until disconnect(). Resolves with the board's info, or null.
  async connect() {
    this._wanted = true;
    for (let tried = 0; this._wanted; tried++) {
      this._on.state("opening", "Connecting …");
      try {
        await this._start();
        return this.info;
      } catch (error) {
        await this._drop();
        if (!(error instanceof LinkError)) throw error;
        if (!error.retry || !tried) this._on.message(error.message, error.hint);
        if (!error.retry) this._wanted = false;
        if (!this._wanted) break;
        this._on.state("waiting", error.message);
        await new Promise((resolve) => {
          this._wake = resolve;
          setTimeout(resolve, AGAIN_MS);
        });
      }
    }
    this._on.state("closed", "");
    return null;
  }

  // A port came back: try at once.
  retry() {
    this._wake?.();
  }

  async disconnect() {
    this._wanted = false;
    this._wake?.();
    if (this.streaming) await this.stop();
    await this._drop();
    this._on.state("closed", "");
  }

  async _start() {
    this._transport = await this._open();
    this._link = new Link(this._transport, {
      onEvent: (event) => this._take(event),
      onFailure: (error) => this._failed(error),
    });
    const hello = await this._link.hello();
    const info = await this._link.info();
    this._forget();
    this.unit = tickUnit(info);
    this.info = info;
    this._timer = setInterval(() => this._askStats(), STATS_MS);
    this._on.state("open", hello.has_fault ? "The board's last run ended by a fault." : "");
    if (info.detector) this._on.detector(info.detector);
  }

  async _drop() {
    clearInterval(this._timer);
    this.info = null;
    this._forget();
    const link = this._link;
    this._link = null;
    await link?.close();
  }

  async _failed(error) {
    if (!this.info) return; // connect() hears of it itself
    await this._drop();
    this._on.lost();
    this._on.message(error.message, error.hint);
    if (this._wanted && error.retry) await this.connect();
    else {
      this._wanted = false;
      this._on.state("closed", "");
    }
  }

  // Begins a stream: of sound that send() gives, or of the board's own microphone.
  async start({ microphone }) {
    if (this.streaming) await this.stop();
    this._forget();
    this.microphone = microphone;
    let flags = Flag.FEATURES | Flag.RESULTS;
    if (microphone) flags |= Flag.MICROPHONE | Flag.AUDIO | (this._transport.compact ? Flag.ADPCM : 0);
    this.streaming = true;
    await this._link.send(Command.STREAM_START, streamStart(Mode.CONTINUOUS, flags));
  }

  // Int16Array of any length; waits in a queue while the board gives no credit.
  send(samples) {
    if (!this.streaming || this.microphone) return;
    this._queue.push(samples);
    this._behind += samples.length;
    if (this._behind > MOST_BEHIND) {
      this._on.message("The board can't keep up: its stream was ended.", "It goes on when you start to listen again.");
      this.stop();
      return;
    }
    this._pump();
  }

  get behind() {
    return this.streaming ? this._behind + Math.max(0, this.sent - this.heard) : 0;
  }

  async _pump() {
    if (this._sending) return;
    this._sending = true;
    try {
      while (this._queue.length && this.streaming) {
        const part = this._next();
        await this._link.send(Command.STREAM_DATA, streamData(this.sent, part));
        this.sent += part.length;
        this._behind -= part.length;
      }
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      if (this._link && !this._link.failure) await this._failed(error); // a failed link has said so itself
    } finally {
      this._sending = false;
    }
  }

  // As many samples as a frame takes, or as there are.
  _next() {
    const part = new Int16Array(Math.min(MAX_SAMPLES, this._behind));
    for (let used = 0; used < part.length; ) {
      const samples = this._queue[0], taken = samples.subarray(0, part.length - used);
      part.set(taken, used);
      used += taken.length;
      if (taken.length === samples.length) this._queue.shift();
      else this._queue[0] = samples.subarray(taken.length);
    }
    return part;
  }

  // Ends the stream after all that was given; resolves with the board's totals, or null.
  async stop() {
    if (!this.streaming || !this._link) return null;
    const link = this._link;
    try {
      while (this._sending && this._link === link) await new Promise((resolve) => setTimeout(resolve, 5));
      this.streaming = false;
      return await link.stopStream(this.sent);
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      return null; // the link's end is told where it failed
    } finally {
      this.streaming = false;
    }
  }

  async setDetector(settings) {
    try {
      await this._link?.setDetector(settings);
      return true;
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this._on.message(error.message, error.hint);
      return false;
    }
  }

  get counters() {
    return this._link?.counters ?? null;
  }

  get damaged() {
    return this._transport?.damaged ?? 0;
  }

  async _askStats() {
    try {
      this.stats = (await this._link?.stats()) ?? null;
    } catch (error) {
      if (!(error instanceof LinkError)) throw error; // the link's end is told where it failed
    }
  }

  _take(event) {
    if (event.event === "Result") {
      this.ticks.frontend += event.frontend_ticks;
      this.ticks.inference += event.inference_ticks;
      this.ticks.detector += event.detector_ticks;
      this.ticks.samples = event.position;
      this.heard = event.position;
    } else if (event.event === "Fault") {
      this._on.message(`The firmware's last run ended by: ${faultText(event.kind)}, at 0x${event.pc.toString(16)}.`, "");
    } else if (event.event === "Log" && event.level >= 2) {
      this._on.message(`The board says: ${shown(event.text)}`, "");
    } else if (event.event === "Refusal" && event.command === Command.STREAM_START) {
      this.streaming = false;
      const told = this.microphone && event.code === 4;
      const old = this.microphone && event.code === 2;
      if (told) this._on.message("This board has no microphone that its firmware can use.", "Let it hear this computer's.");
      else if (old) this._on.message("The board's firmware is from before audio came over the link.", "Flash it anew.");
      else this._on.message(`The board refused ${refusalText(event)}.`, "");
      this._on.refused?.();
    }
    this._on.event(event);
  }
}
