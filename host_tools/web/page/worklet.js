// Runs in the browser's audio thread: hands over the microphone's first channel in blocks, as it is.

const BLOCK = 1024;

class Tap extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.used = 0;
  }

  process([input]) {
    const channel = input[0];
    if (!channel) return true;
    for (const sample of channel) {
      this.block[this.used++] = sample;
      if (this.used < BLOCK) continue;
      this.port.postMessage(this.block, [this.block.buffer]);
      this.block = new Float32Array(BLOCK);
      this.used = 0;
    }
    return true;
  }
}

registerProcessor("tap", Tap);
