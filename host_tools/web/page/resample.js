// From a microphone's rate to 16 kHz, in whole numbers: the same samples in every browser (docs/live.md has the formula).

export const RATE = 16000;
const BITS = 24; // fraction bits of a tap
const INPUT = 1 << 23; // an input sample of 1.0
const HALF = 36; // of the filter's length, in samples at the lower of the two rates; more is sharper
const BETA = 7; // of Kaiser's window: 70 dB
const CENTRE = 0.46875; // of the transition from pass to stop, as a part of the lower rate: 7,500 Hz

function gcd(a, b) {
  return b ? gcd(b, a % b) : a;
}

// Modified Bessel function of the first kind, order 0, by its series.
function bessel(x) {
  let sum = 1, term = 1;
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

export function toInt16(x) {
  return Math.max(-32768, Math.min(32767, Math.floor(x * 32768 + 0.5)));
}

export class Resampler {
  // `rate`: of the input, a whole number of hertz from 4,000 to 384,000.
  constructor(rate) {
    if (!Number.isInteger(rate) || rate < 4000 || rate > 384000) throw new RangeError(`A rate of ${rate} Hz is not supported.`);
    const g = gcd(rate, RATE);
    this.up = RATE / g;
    this.down = rate / g;
    const lower = Math.min(rate, RATE);
    this.half = Math.ceil((HALF * rate) / lower); // input samples on either side of an output's moment
    this._taps = new Map(); // by phase, made when first needed
    this._scale = (2 * CENTRE * lower) / rate;
    this._held = new Float64Array(0);
    this._first = 0; // index of _held[0] in the input, zeros before the beginning included
    this._next = 0; // index of the next output
    this.reset();
  }

  reset() {
    this._held = new Float64Array(this.half);
    this._first = -this.half;
    this._next = 0;
  }

  // Float32Array of any length to Int16Array: what can be told by now.
  process(input) {
    if (this.up === this.down) return Int16Array.from(input, toInt16);
    const held = new Float64Array(this._held.length + input.length);
    held.set(this._held);
    for (let i = 0; i < input.length; i++) {
      held[this._held.length + i] = Math.max(-INPUT, Math.min(INPUT, Math.floor(input[i] * INPUT + 0.5)));
    }
    const { up, down, half } = this;
    const end = this._first + held.length;
    const out = [];
    let centre;
    while ((centre = Math.floor((this._next * down) / up)) + half < end) {
      const phase = (this._next * down) % up;
      const taps = this._phase(phase);
      let sum = 0; // below 2^53, so exact
      for (let i = 0, at = centre - half + 1 - this._first; i < taps.length; i++) sum += held[at + i] * taps[i];
      out.push(Math.max(-32768, Math.min(32767, Math.floor(sum / 2 ** (BITS + 8) + 0.5))));
      this._next++;
    }
    const keep = Math.max(0, centre - half + 1 - this._first);
    this._held = held.slice(keep);
    this._first += keep;
    return Int16Array.from(out);
  }

  // Taps for the inputs from centre - half + 1 to centre + half, of an output `phase` / up input samples behind centre.
  _phase(phase) {
    let taps = this._taps.get(phase);
    if (!taps) {
      taps = Float64Array.from({ length: 2 * this.half }, (_, i) => {
        const distance = phase / this.up + this.half - 1 - i; // from the input to the output, in input samples
        const x = distance / this.half;
        if (Math.abs(x) >= 1) return 0;
        const angle = Math.PI * this._scale * distance;
        const sinc = angle === 0 ? 1 : Math.sin(angle) / angle;
        const window = bessel(BETA * Math.sqrt(1 - x * x)) / bessel(BETA);
        return Math.floor(this._scale * sinc * window * 2 ** BITS + 0.5);
      });
      this._taps.set(phase, taps);
    }
    return taps;
  }
}
