// Sound into the page: this computer's microphone or a WAV file, as int16 at 16 kHz at the pace of speech; and what was
// heard, to be kept as a file.

import { RATE, Resampler } from "./resample.js";
import { readWav } from "./wav.js";

const TICK_MS = 20;

export class SoundError extends Error {
  constructor(message, hint = "") {
    super(message);
    this.name = "SoundError";
    this.hint = hint;
  }
}

function microphoneError(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new SoundError("The microphone is not allowed for this page.", "Allow it beside the address, then start again.");
    case "NotFoundError":
    case "OverconstrainedError":
      return new SoundError("This computer has no microphone.", "Plug one in, or take a WAV file.");
    case "NotReadableError":
    case "AbortError":
      return new SoundError("The microphone can't be opened: another program has it.", "Close that program, then start again.");
    default:
      return new SoundError(`The microphone does not start: ${error.message}.`);
  }
}

// Calls onSamples(Int16Array) until stop(); onEnd(SoundError) where the microphone goes away. Rejects with SoundError.
export async function startMicrophone({ onSamples, onEnd }) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new SoundError("Browsers give the microphone to pages on https or localhost alone.", "Open this page there.");
  }
  if (!globalThis.AudioWorkletNode) throw new SoundError("This browser has no AudioWorklet.", "Take a newer one.");
  let stream;
  try {
    // As it is: what browsers do to speech for a call is not what the model was trained on.
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
    stream = await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw microphoneError(error);
  }
  const context = new AudioContext({ latencyHint: "interactive" }); // at the device's own rate: we resample
  const stop = async () => {
    for (const track of stream.getTracks()) track.stop();
    if (context.state !== "closed") await context.close();
  };
  try {
    await context.audioWorklet.addModule("worklet.js");
    const resampler = new Resampler(Math.round(context.sampleRate));
    const tap = new AudioWorkletNode(context, "tap", { channelCount: 1, channelCountMode: "explicit" });
    let running = true;
    tap.port.onmessage = ({ data }) => { if (running) onSamples(resampler.process(data)); };
    context.createMediaStreamSource(stream).connect(tap);
    tap.connect(context.destination); // silence; what leads nowhere is not run by every browser
    await context.resume();
    stream.getAudioTracks()[0].onended = () => onEnd(new SoundError("The microphone went away.", "Plug it in, then start again."));
    return { rate: context.sampleRate, stop: () => { running = false; return stop(); } };
  } catch (error) {
    await stop();
    throw error instanceof RangeError ? new SoundError(error.message) : microphoneError(error);
  }
}

// The bytes of a WAV file, at the pace of speech. onEnd(null) at its end. Throws SoundError where it can't be read.
export function startFile(bytes, { onSamples, onEnd }) {
  let sound, resampler;
  try {
    sound = readWav(bytes);
    resampler = new Resampler(sound.rate);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new SoundError(error.message, "A WAV file with PCM of 16 bits is what is wanted.");
  }
  const { rate, samples } = sound;
  const began = performance.now();
  let at = 0;
  const timer = setInterval(() => {
    const end = Math.min(samples.length, Math.floor(((performance.now() - began) / 1000) * rate));
    if (end > at) onSamples(resampler.process(samples.subarray(at, end)));
    at = end;
    if (at < samples.length) return;
    clearInterval(timer);
    const rest = resampler.process(new Float32Array(resampler.half)); // what still waits for samples after it
    if (rate !== RATE && rest.length) onSamples(rest);
    onEnd(null);
  }, TICK_MS);
  return { rate, seconds: samples.length / rate, stop: async () => clearInterval(timer) };
}

// The last minutes of what was heard.
export class Heard {
  constructor(seconds) {
    this._ring = new Int16Array(seconds * RATE);
    this.clear();
  }

  clear() {
    this.total = 0;
    this.lost = 0;
  }

  push(samples) {
    for (const sample of samples) this._ring[this.total++ % this._ring.length] = sample;
  }

  get length() {
    return Math.min(this.total, this._ring.length);
  }

  samples() {
    if (this.total <= this._ring.length) return this._ring.slice(0, this.total);
    const at = this.total % this._ring.length;
    const out = new Int16Array(this._ring.length);
    out.set(this._ring.subarray(at));
    out.set(this._ring.subarray(0, at), this._ring.length - at);
    return out;
  }
}

// Of a block: decibels of full scale, and how many samples are at its ends.
export function level(samples) {
  let sum = 0, peak = 0, clipped = 0;
  for (const sample of samples) {
    sum += sample * sample;
    peak = Math.max(peak, Math.abs(sample));
    clipped += sample === 32767 || sample === -32768;
  }
  const db = (value) => (value > 0 ? 20 * Math.log10(value / 32768) : -96);
  return { rms: db(Math.sqrt(sum / Math.max(1, samples.length))), peak: db(peak), clipped };
}

