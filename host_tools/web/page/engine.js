// The core in WebAssembly: samples in, features, posteriors and words out. The same C as the firmware's.

import { detectorPayload } from "./protocol.js";

const FRAME = 1, RESULT = 2, WORD = 4;

export class Engine {
  // `bytes`: the module; `model`: what kws.json says of it. Throws Error where the module does not start.
  static async load(bytes, model) {
    const { instance } = await WebAssembly.instantiate(bytes, {});
    return new Engine(instance.exports, model);
  }

  constructor(exports, model) {
    this.model = model;
    this._c = exports;
    if (exports.kws_web_init() !== 0) throw new Error("The model does not start: it was built for another front end.");
    const memory = exports.memory.buffer; // never grows: nothing is allocated
    this._pcm = new Int16Array(memory, exports.kws_web_pcm(), exports.kws_web_pcm_samples());
    this._features = new Uint16Array(memory, exports.kws_web_features(), model.channels);
    this._scores = new Uint8Array(memory, exports.kws_web_scores(), model.labels.length);
    this._report = new Uint32Array(memory, exports.kws_web_report(), 6);
    this._settings = new Uint8Array(memory, exports.kws_web_settings(), 9 + model.labels.length);
  }

  reset() {
    this._c.kws_web_reset();
  }

  // As SET_DETECTOR has it: { window, minCount, rest, refractory, thresholds }. Throws RangeError where it is refused.
  setDetector(detector) {
    const payload = detectorPayload(detector);
    if (payload.length !== this._settings.length) throw new RangeError("not one threshold for each label");
    this._settings.set(payload);
    if (this._c.kws_web_set_detector() !== 0) throw new RangeError("the detector refuses these settings");
  }

  // Any number of int16 samples at 16 kHz. `on` has functions, each of which may be missing:
  //   frame(index, features Uint16Array), result(position, scores Uint8Array), word({ position, label, score }).
  // The arrays are valid until the function returns.
  feed(samples, on) {
    for (let from = 0; from < samples.length; from += this._pcm.length) {
      const part = samples.subarray(from, from + this._pcm.length);
      this._pcm.set(part);
      for (let at = 0; at < part.length; ) {
        const used = this._c.kws_web_step(at, part.length);
        if (used === 0) throw new Error("The network failed.");
        at += used;
        this._tell(on);
      }
    }
  }

  // The next frame as a board's front end made it, in the place of samples.
  take(features, on) {
    if (features.length !== this._features.length) throw new RangeError(`${features.length} features`);
    this._features.set(features);
    if (this._c.kws_web_take() !== 0) throw new Error("The network failed.");
    this._tell(on);
  }

  _tell(on) {
    const [happened, frame, position, wordPosition, label, score] = this._report;
    if (happened & FRAME) on.frame?.(frame, this._features);
    if (happened & RESULT) on.result?.(position, this._scores);
    if (happened & WORD) on.word?.({ position: wordPosition, label, score });
  }
}
