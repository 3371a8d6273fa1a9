// The host's half of docs/protocol.md over any transport: a session that loses nothing silently; the twin of
// host_tools/link/session.py and transport.py.
//
// A transport has: name (text for people), resendMs, write(Uint8Array) -> Promise, close() -> Promise, and calls what is set
// as its onbytes(Uint8Array) and onclose(LinkError).

import {
  Command, Decoder, MAX_WINDOW, VERSION, checkInfo, detectorPayload, encodeFrame, joinInfo, parseEvent, refusalText, u16, u32,
} from "./protocol.js";

const TRIES = 10; // resends of one frame before the link is given up
const HELLO_MS = 300;
const REPLY_MS = 10000; // for all frames of a reply
const BATCH = 8; // frames in one write

export class LinkError extends Error {
  // `retry`: whether opening the same transport again may help.
  constructor(message, { hint = "", retry = true } = {}) {
    super(message);
    this.name = "LinkError";
    this.hint = hint;
    this.retry = retry;
  }
}

export class Link {
  // onEvent(event): what the device sends, but for what a session needs for itself. onFailure(LinkError): once, at its end.
  constructor(transport, { onEvent = () => {}, onFailure = () => {} } = {}) {
    this.name = transport.name;
    this.counters = { sent: 0, resent: 0, naks: 0, timeouts: 0, received: 0, lost: 0, repeated: 0, bad: 0 };
    this.device = null; // HelloReply
    this.failure = null;
    this._transport = transport;
    this._onEvent = onEvent;
    this._onFailure = onFailure;
    this._decoder = new Decoder();
    this._urgent = []; // HELLO
    this._unacked = []; // { seq, data }
    this._cursor = 0; // how many of _unacked were written
    this._probing = false; // after a time-out only the oldest goes out, until something is acknowledged
    this._wentBackTo = null;
    this._tries = 0;
    this._progressAt = performance.now();
    this._seq = 0;
    this._window = 1;
    this._opening = false;
    this._expected = null; // seq of the device's next frame
    this._outputs = 0; // of this device's model, once known
    this._strayBytes = 0;
    this._pumping = false;
    this._closed = false;
    this._waiters = new Set();
    transport.onbytes = (bytes) => this._take(bytes);
    transport.onclose = (error) => this._fail(error);
    this._timer = setInterval(() => this._pump(), Math.min(100, transport.resendMs / 4));
  }

  // Opens a new session. Rejects with LinkError where nobody answers, or one of another protocol.
  async hello(timeoutMs = 10000) {
    this._check();
    this._opening = true;
    this._unacked = [];
    this._cursor = 0;
    this._probing = false;
    this._strayBytes = 0;
    this.device = null;
    const frame = Uint8Array.from([0, ...encodeFrame(Command.HELLO, this._seq, u16(VERSION))]);
    const deadline = performance.now() + timeoutMs;
    while (!this.device) {
      const left = deadline - performance.now();
      if (left <= 0) {
        this._opening = false;
        throw this._silent(timeoutMs);
      }
      this._urgent.push(frame);
      this._pump();
      await this._wait(() => this.device, Math.min(HELLO_MS, left));
    }
    return this.device;
  }

  // Queues a command, in order, sent again if it is lost; resolves once the device's credit has room for it.
  async send(command, payload = new Uint8Array(0), timeoutMs = 30000) {
    if (!(await this._wait(() => this._unacked.length < this._window, timeoutMs))) {
      throw new LinkError(`${this.name}: the device took no data for ${timeoutMs / 1000} s.`, { hint: "Reset the board." });
    }
    if (!this._unacked.length) this._progressAt = performance.now();
    this._unacked.push({ seq: this._seq, data: encodeFrame(command, this._seq, payload) });
    this._seq = (this._seq + 1) & 0xffff;
    this.counters.sent++;
    this._pump();
  }

  // Sends a command and gives its reply; asks again (three times in all) if that is lost.
  async request(command, name, payload, timeoutMs = 5000) {
    for (let i = 0; i < 3; i++) {
      const reply = this._next(name, command, timeoutMs);
      reply.catch(() => {}); // where send fails first, its error is the one to tell
      await this.send(command, payload);
      const event = await reply;
      if (event) return event;
    }
    throw new LinkError(`${this.name}: no answer to a command.`, { hint: "Reset the board." });
  }

  // What the firmware says of itself, within the bounds of docs/protocol.md.
  async info() {
    const parts = [];
    let more = null;
    const collect = (event) => { if (event.event === "Info") { parts.push(event); more?.(); } };
    this._listeners.add(collect);
    try {
      await this.request(Command.INFO, "Info");
      const deadline = performance.now() + REPLY_MS;
      let info = parts[0];
      for (let i = 1; info.more; i++) {
        if (!(await this._wait(() => parts.length > i, deadline - performance.now()))) {
          throw new LinkError(`${this.name}: the rest of the labels did not arrive.`, { hint: "Reset the board." });
        }
        info = joinInfo(info, parts[i]);
      }
      checkInfo(info);
      this._outputs = info.labels.length;
      return info;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new LinkError(`${this.name}: the device says what no firmware of ours says: ${error.message}.`, {
        hint: "Build and flash ours.", retry: false,
      });
    } finally {
      this._listeners.delete(collect);
    }
  }

  stats(clear = false) {
    return this.request(Command.STATS, "Stats", Uint8Array.of(clear ? 1 : 0));
  }

  setDetector(detector) {
    return this.request(Command.SET_DETECTOR, "SetDetectorOk", detectorPayload(detector));
  }

  // Ends a stream; resolves with StreamDone, or null if none came in time: it was lost.
  async stopStream(total, timeoutMs = 60000) {
    const done = this._next("StreamDone", Command.STREAM_STOP, timeoutMs);
    done.catch(() => {});
    await this.send(Command.STREAM_STOP, u32(total));
    return done;
  }

  async close() {
    if (this._closed) return;
    this._closed = true;
    clearInterval(this._timer);
    this._wake();
    await this._transport.close();
  }

  // ---- inside

  _listeners = new Set();

  _check() {
    if (this.failure) throw this.failure;
    if (this._closed) throw new LinkError(`${this.name} is closed.`);
  }

  _fail(error) {
    if (this.failure || this._closed) return;
    this.failure = error;
    clearInterval(this._timer);
    this._wake();
    this._onFailure(error);
  }

  // True once `condition` holds, false after `ms`; throws what ended the link meanwhile.
  async _wait(condition, ms) {
    const deadline = performance.now() + ms;
    for (;;) {
      this._check();
      if (condition()) return true;
      const left = deadline - performance.now();
      if (left <= 0) return false;
      await new Promise((resolve) => {
        const timer = setTimeout(done, left);
        const waiters = this._waiters;
        function done() {
          clearTimeout(timer);
          waiters.delete(done);
          resolve();
        }
        waiters.add(done);
      });
    }
  }

  _wake() {
    for (const done of [...this._waiters]) done();
  }

  // The next event of this name, or null after `ms`. Throws if the device refuses `command`.
  async _next(name, command, ms) {
    let found = null;
    const listen = (event) => {
      if (event.event === name || (event.event === "Refusal" && event.command === command)) found ??= event;
    };
    this._listeners.add(listen);
    try {
      await this._wait(() => found, ms);
    } finally {
      this._listeners.delete(listen);
    }
    if (found?.event === "Refusal") {
      throw new LinkError(`${this.name}: the device refused ${refusalText(found)}.`, { retry: false });
    }
    return found;
  }

  _silent(timeoutMs) {
    const text = `No micro-kws firmware answered on ${this.name} within ${timeoutMs / 1000} s`;
    return this._strayBytes
      ? new LinkError(`${text}; ${this._strayBytes} bytes came that are not frames of ours.`, {
          hint: "Check the baud rate, or flash our firmware.", retry: false,
        })
      : new LinkError(`${text}.`, { hint: "Check that the board runs our firmware, then reset it.", retry: false });
  }

  _take(bytes) {
    if (this.failure || this._closed) return;
    const frames = this._decoder.feed(bytes);
    if (this._opening && !frames.some((frame) => frame.payload)) this._strayBytes += bytes.length;
    const events = [];
    for (const frame of frames) this._frame(frame, events);
    for (const event of events) {
      for (const listen of [...this._listeners]) listen(event);
      this._onEvent(event);
    }
    this._wake();
    this._pump();
  }

  // One frame of the device, in order of arrival.
  _frame(frame, events) {
    let event;
    try {
      if (!frame.payload) throw new RangeError("not a frame");
      event = parseEvent(frame);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.counters.bad++;
      return;
    }
    if (event.event === "Ready") {
      this._versions(event.protocol);
      if (this.device) this._fail(new LinkError(`${this.name}: the device restarted in the middle of the session.`));
      this._expected = (frame.seq + 1) & 0xffff;
      events.push(event);
      return;
    }
    if (event.event === "HelloReply") {
      this._versions(event.protocol);
      if (this._opening && event.protocol === VERSION) {
        this._openSession(event, frame.seq);
        return;
      }
    }
    if (!this.device) return; // left over from an earlier session
    const ahead = (frame.seq - (this._expected ?? frame.seq)) & 0xffff;
    if (ahead >= 0x8000) {
      this.counters.repeated++;
      return;
    }
    this.counters.lost += ahead;
    this.counters.received++;
    this._expected = (frame.seq + 1) & 0xffff;
    if (event.event === "Ack") {
      this._window = Math.min(MAX_WINDOW, Math.max(1, event.window));
      this._acknowledge(event.expected);
    } else if (event.event === "Nak") {
      this.counters.naks++;
      this._acknowledge(event.expected);
      // One loss can cause two NAKs (damaged, then missing): go back once, the time-out does the rest.
      const oldest = this._unacked[0];
      if (oldest && this._cursor && oldest.seq === event.expected && this._wentBackTo !== event.expected) {
        this._wentBackTo = event.expected;
        this.counters.resent += this._cursor;
        this._cursor = 0;
        this._progressAt = performance.now();
      }
    } else if (
      this._outputs &&
      ((event.event === "Result" && event.output.length !== this._outputs) ||
        (event.event === "Detection" && event.label >= this._outputs))
    ) {
      this.counters.bad++;
    } else if (event.event !== "HelloReply") {
      events.push(event);
    }
  }

  _versions(protocol) {
    if (protocol === VERSION) return;
    this._fail(new LinkError(`${this.name}: the firmware speaks link protocol ${protocol}, this page speaks ${VERSION}.`, {
      hint: "Build and flash the firmware that belongs to this version of kws.", retry: false,
    }));
  }

  _openSession(event, seq) {
    this._opening = false;
    for (const name of Object.keys(this.counters)) this.counters[name] = 0;
    this.counters.received = 1;
    this._expected = (seq + 1) & 0xffff;
    this._window = Math.min(MAX_WINDOW, Math.max(1, event.window));
    this._seq = (this._seq + 1) & 0xffff;
    this._urgent = [];
    this._tries = 0;
    this._wentBackTo = null;
    this._outputs = 0;
    this.device = event;
  }

  _acknowledge(expected) {
    if (!this._unacked.length) return;
    const done = (expected - this._unacked[0].seq) & 0xffff;
    if (done === 0 || done > this._unacked.length) return; // nothing new, or of before
    this._unacked.splice(0, done);
    this._cursor = Math.max(0, this._cursor - done);
    this._probing = false;
    this._wentBackTo = null;
    this._tries = 0;
    this._progressAt = performance.now();
  }

  // Writes what is to be written now, one write at a time.
  async _pump() {
    if (this._pumping) return;
    this._pumping = true;
    try {
      for (let batch; (batch = this._pick()); ) await this._transport.write(batch);
    } catch (error) {
      this._fail(error instanceof LinkError ? error : new LinkError(`${this.name} went away: ${error.message}`));
    } finally {
      this._pumping = false;
    }
  }

  _pick() {
    if (this.failure || this._closed) return null;
    if (this._urgent.length) return this._urgent.shift();
    if (!this._unacked.length || this._opening) return null;
    const now = performance.now();
    if (this._cursor && now - this._progressAt >= this._transport.resendMs) {
      this._tries++;
      this.counters.timeouts++;
      if (this._tries > TRIES) {
        const seconds = (this._transport.resendMs * TRIES) / 1000;
        this._fail(new LinkError(`${this.name}: the device stopped answering (nothing acknowledged for ${seconds} s).`, {
          hint: "Reset the board or restart the emulator.",
        }));
        return null;
      }
      this._cursor = 0;
      this._probing = true;
      this._wentBackTo = null;
      this._progressAt = now;
      this.counters.resent++;
    }
    const end = Math.min(this._probing ? 1 : this._unacked.length, this._cursor + BATCH);
    const frames = this._unacked.slice(this._cursor, end);
    if (!frames.length) return null;
    this._cursor = end;
    const batch = new Uint8Array(frames.reduce((sum, frame) => sum + frame.data.length, 0));
    let at = 0;
    for (const frame of frames) {
      batch.set(frame.data, at);
      at += frame.data.length;
    }
    return batch;
  }
}
