// What the board says beside what this page's WebAssembly says of the same sound: each frame of features, each result and
// each word, by its place.

const MOST = 4000; // that wait for the other side

class Pairs {
  constructor(equal) {
    this._equal = equal;
    this.clear();
  }

  clear() {
    this._waiting = [new Map(), new Map()];
    this.same = 0;
    this.different = 0;
  }

  // `side`: 0 here, 1 the board. True: equal; false: not; null: the other side has not said yet.
  put(side, key, value) {
    const other = this._waiting[1 - side];
    if (!other.has(key)) {
      this._waiting[side].set(key, value);
      if (this._waiting[side].size > MOST) this._waiting[side].delete(this._waiting[side].keys().next().value);
      return null;
    }
    const equal = this._equal(other.get(key), value);
    other.delete(key);
    if (equal) this.same++;
    else this.different++;
    return equal;
  }

  // Counts as different what one side alone has said before `position`.
  expire(position) {
    const late = [];
    for (const waiting of this._waiting) {
      for (const [key] of waiting) {
        if (Number(String(key).split(" ")[0]) >= position) continue;
        waiting.delete(key);
        this.different++;
        late.push(key);
      }
    }
    return late;
  }
}

const sameValues = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

export class Comparison {
  constructor() {
    this.features = new Pairs(sameValues);
    this.results = new Pairs(sameValues);
    this.words = new Pairs((a, b) => a === b);
    this.clear();
  }

  clear() {
    for (const pairs of [this.features, this.results, this.words]) pairs.clear();
    this.firstDifference = null; // sample
    this.off = ""; // why nothing is compared
    this._wordsFrom = 0; // sample: words before it are not compared
    this._positions = [0, 0]; // of both sides' last result
  }

  stop(reason) {
    this.off ||= reason;
  }

  // The thresholds changed here and there, but not at the same sample.
  detectorChanged(samples) {
    this.words.clear();
    this._wordsFrom = Math.max(...this._positions) + samples;
  }

  frame(side, index, values, position) {
    if (!this.off) this._note(this.features.put(side, index, [...values]), position);
  }

  result(side, position, scores) {
    if (this.off) return null;
    this._positions[side] = position;
    const equal = this.results.put(side, position, [...scores]);
    this._note(equal, position);
    // A word stands at its result; one that the other side did not say by now, it does not say.
    const late = this.words.expire(Math.min(...this._positions) - 16000);
    if (late.length) this._note(false, position);
    for (const key of late) this.onLate(...key.split(" ").map(Number));
    return equal;
  }

  onLate = () => {}; // (position, label) of a word that one side alone has said

  word(side, { position, label, score }) {
    if (this.off || position < this._wordsFrom) return null;
    const equal = this.words.put(side, `${position} ${label}`, score);
    this._note(equal, position);
    return equal;
  }

  _note(equal, position) {
    if (equal === false) this.firstDifference ??= position;
  }
}
