// The page: one source of sound, this page's engine, and a board beside it.

import { Heard, SoundError, level, startFile, startMicrophone } from "./audio.js";
import { Board } from "./board.js";
import { Comparison } from "./compare.js";
import { Engine } from "./engine.js";
import { figures, verdict } from "./figures.js";
import { portHelp, whyNoSerial } from "./help.js";
import { LinkError } from "./link.js";
import { message } from "./messages.js";
import { shown } from "./protocol.js";
import { RATE } from "./resample.js";
import { SerialTransport, SocketTransport } from "./transports.js";
import { Labels, Waterfall, Words, element, percent } from "./view.js";
import { writeWav } from "./wav.js";

const HEARD_S = 300; // kept for the file
const SLIDER_MS = 80; // between two commands to the board while a slider moves
const DRAW_MS = 40; // between two pictures: slow computers have more to do
const WORD_MS = 2000; // a word is shown as new for so long
const $ = (id) => document.getElementById(id);

class Page {
  async start() {
    const model = (this.model = await (await fetch("kws.json")).json());
    if (model.format !== 1) throw new Error("kws.json is of another version: write the folder anew by kws web --out.");
    this.engine = await Engine.load(await (await fetch("model.wasm")).arrayBuffer(), model);
    this.detector = structuredClone(model.detector);
    this.heard = new Heard(HEARD_S);
    this.compare = new Comparison();
    this.compare.onLate = (position, label) => this.words.differs(position, label);
    this.source = null; // { kind, stop }
    this.waterfall = new Waterfall($("waterfall"));
    this.waterfall.begin(model.channels);
    this.labels = new Labels($("labels"), model, (index, value) => this.moveThreshold(index, value));
    this.labels.thresholds(this.detector.thresholds);
    this.words = new Words($("words"));
    this.level = { rms: -96, peak: -96, clipped: 0 };
    this.clipped = 0;
    $("model").textContent = `${shown(model.name, 60)}: ${model.keywords.map((word) => shown(word, 60)).join(", ")}`;
    $("about").textContent =
      `Model ${model.name} (${model.model_hash}), ${model.macs.toLocaleString("en")} MACs, by micro-kws ${model.kws}. ` +
      "Nothing leaves this page.";
    this._buttons();
    this._board();
    const draw = (now) => {
      if (now - (this._drawnAt ?? -1e9) >= DRAW_MS) {
        this._drawnAt = now;
        this.draw();
      }
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
    document.body.dataset.ready = "yes";
  }

  _buttons() {
    const on = (id, run) => $(id).addEventListener("click", () => this.guarded(run));
    on("microphone", () => this.toggle("microphone"));
    on("file", () => (this.source?.kind === "file" ? this.stop() : $("wav").click()));
    $("wav").addEventListener("change", () => this.guarded(() => this.openFile()));
    on("board-microphone", () => this.toggle("board"));
    on("projector", () => this.projector());
    on("reset-thresholds", () => this.setThresholds(this.model.detector.thresholds));
    on("copy-thresholds", () => this.copyThresholds());
    on("save", () => this.save());
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea")) return;
      const id = { m: "microphone", p: "projector", s: "save" }[event.key];
      if (!id || $(id).disabled) return;
      event.preventDefault();
      $(id).click();
    });
  }

  // Runs what a user asked for; what goes wrong is told in a sentence.
  async guarded(run) {
    try {
      await run();
    } catch (error) {
      if (error instanceof SoundError || error instanceof LinkError) this.message(error.message, error.hint);
      else {
        this.message(`This page made a mistake: ${error.message}`, "Reload it; please report it if it stays.");
        throw error;
      }
    }
  }

  message(text, hint = "") {
    message($("messages"), text, hint);
  }

  // ---- sound

  async toggle(kind) {
    if (this.source?.kind === kind) await this.stop();
    else await this.begin(kind);
  }

  async openFile() {
    const [file] = $("wav").files;
    $("wav").value = "";
    if (file) await this.begin("file", new Uint8Array(await file.arrayBuffer()));
  }

  async begin(kind, bytes) {
    await this.stop();
    const handlers = {
      onSamples: (samples) => this.sound(samples),
      onEnd: (error) => {
        if (error) this.message(error.message, error.hint);
        this.guarded(() => this.stop());
      },
    };
    let started = null;
    this._early = [];
    if (kind === "microphone") started = await startMicrophone(handlers);
    if (kind === "file") started = startFile(bytes, handlers);
    this.source = { kind, rate: started?.rate ?? RATE, stop: started?.stop ?? (async () => {}) };
    this._pressed();
    await this.restart();
  }

  // From here on both sides hear the same, from nothing. Sound that comes meanwhile waits.
  async restart() {
    this._early ??= [];
    try {
      await this._restart(this.source?.kind === "board");
    } finally {
      const early = this._early ?? [];
      this._early = null;
      for (const samples of early) this.sound(samples);
    }
  }

  async _restart(boardsOwn) {
    this.engine.reset();
    this.compare.clear();
    this.words.clear();
    this.waterfall.clear();
    this.heard.clear();
    this.clipped = 0;
    this.comparing = false;
    if (!this.board?.connected) return;
    this.sameModel = this.board.info.model_hash === this.model.model_hash;
    this.comparing = true;
    if (!this.sameModel) {
      this.compare.stop(`The board has another model (${this.board.info.model_hash}) than this page: nothing is compared.`);
    }
    await this.board.start({ microphone: boardsOwn });
  }

  async stop() {
    const { source } = this;
    this.source = null;
    await source?.stop();
    if (this.board?.streaming) await this.board.stop();
    this._pressed();
  }

  _pressed() {
    const kinds = { microphone: "microphone", file: "file", "board-microphone": "board" };
    for (const [id, kind] of Object.entries(kinds)) $(id).setAttribute("aria-pressed", String(this.source?.kind === kind));
    $("save").disabled = this.heard.length === 0;
  }

  // Int16Array from the microphone or a file: into this page's engine and to the board.
  sound(samples) {
    if (this._early) {
      this._early.push(samples);
      return;
    }
    if (!samples.length || !this.source) return;
    this.listened(samples);
    this.engine.feed(samples, this.here(true));
    this.board?.send(samples);
  }

  listened(samples) {
    if (!this.heard.total) $("save").disabled = false;
    this.heard.push(samples);
    this.level = level(samples);
    this.clipped += this.level.clipped;
  }

  // What this page's engine says. `features`: whether its front end made them.
  here(features) {
    return {
      frame: (index, values) => {
        this.waterfall.push(values);
        if (features && this.comparing) this.compare.frame(0, index, values, this.frameEnd(index));
      },
      result: (position, scores) => {
        this.labels.scores(0, scores);
        if (this.comparing) this.compared(this.compare.result(0, position, scores));
      },
      word: (word) => this.word(0, word),
    };
  }

  // The sample behind a frame.
  frameEnd(index) {
    return this.model.window_samples + index * this.model.hop_samples;
  }

  compared(equal) {
    if (equal === false) this.waterfall.mark("#ff3b30");
  }

  word(side, word) {
    const labels = side ? this.board.info?.labels ?? [] : this.model.labels;
    const text = shown(labels[word.label] ?? `label ${word.label}`, 60);
    this.words.add(side, word, text);
    if (this.comparing) this.compared(this.compare.word(side, word));
    if (side && this.sameModel) return; // shown when it was heard here
    if (!side || this.sameModel) this.labels.said(word.label);
    this.waterfall.mark("#ffffff");
    $("word").textContent = text;
    $("word").classList.add("fresh");
    clearTimeout(this._wordTimer);
    this._wordTimer = setTimeout(() => $("word").classList.remove("fresh"), WORD_MS);
  }

  // ---- the board

  _board() {
    const why = whyNoSerial();
    $("serial").disabled = Boolean(why);
    if (why) $("board-state").textContent = why;
    $("serial").addEventListener("click", () => this.guarded(() => this.connectSerial()));
    $("disconnect").addEventListener("click", () => this.guarded(() => this.board.disconnect()));
    if (this.model.board) {
      $("server").hidden = false;
      $("server").textContent = `Connect ${shown(this.model.board.name, 60)}`;
      $("server").addEventListener("click", () => this.guarded(() => this.connect(() => SocketTransport.open(this.model.board))));
      $("server").click(); // it was named on the command line
    }
    if ("serial" in navigator) navigator.serial.addEventListener("connect", () => this.board?.retry());
  }

  async connectSerial() {
    let port;
    try {
      port = await navigator.serial.requestPort();
    } catch (error) {
      if (error.name !== "NotFoundError") throw new LinkError(`The browser gives no serial port: ${error.message}`);
      this.help(true);
      return;
    }
    const baud = $("baud").valueAsNumber;
    if (!Number.isInteger(baud) || baud < 1) throw new LinkError("The baud rate is not a number.", { hint: "Our boards have 500000." });
    await this.connect(() => SerialTransport.open(port, baud));
  }

  help(wanted) {
    $("help").hidden = !wanted;
    if (wanted) $("help-lines").replaceChildren(...["No port was chosen.", ...portHelp()].map((text) => element("li", { text })));
  }

  async connect(open) {
    await this.board?.disconnect();
    this.help(false);
    this.board = new Board(open, {
      state: (name, text) => this.boardState(name, text),
      event: (event) => this.boardEvent(event),
      message: (text, hint) => this.message(text, hint),
      lost: () => this.compare.stop("The board went away: nothing is compared since."),
      refused: () => this.guarded(() => this.stop()),
      detector: (detector) => this.boardDetector(detector),
    });
    await this.board.connect();
  }

  boardState(name, text) {
    const { info } = this.board;
    document.body.dataset.board = name;
    $("board-state").textContent = info
      ? `${info.board}, firmware ${info.firmware}, engine ${info.engine}, model ${info.model_hash}. ${text}`
      : shown(text, 300);
    $("disconnect").hidden = name === "closed";
    $("serial").hidden = name !== "closed";
    $("server").hidden = name !== "closed" || !this.model.board;
    $("board-microphone").disabled = name !== "open";
    this.labels.sides(true, name === "open" && info.model_hash === this.model.model_hash);
    if (name === "open" && this.source?.kind === "board") this.guarded(() => this.begin("board"));
    else if (name === "open" && this.source) this.guarded(() => this.restart());
    else if (name === "closed" && this.source?.kind === "board") this.guarded(() => this.stop());
  }

  // The board's thresholds are taken over, unless sliders were moved here: then it gets those.
  boardDetector(detector) {
    if (this.board.info.model_hash !== this.model.model_hash) return; // other words
    if (this.moved) this.guarded(() => this.board.setDetector(this.detector));
    else this.useDetector(detector);
  }

  boardEvent(event) {
    switch (event.event) {
      case "Features":
        if (this.board.microphone) this.boardFeatures(event);
        else this.compare.frame(1, event.frame, event.values, this.frameEnd(event.frame));
        break;
      case "Audio":
        if (this.heard.total && event.position > this._audioAt) this.heard.lost += event.position - this._audioAt;
        this._audioAt = event.position + event.samples.length;
        this.listened(event.samples);
        break;
      case "Result": {
        if (!this.sameModel) break;
        const scores = Uint8Array.from(event.output, (value) => value + 128);
        this.labels.scores(1, scores);
        this.lossy();
        this.compared(this.compare.result(1, event.position, scores));
        break;
      }
      case "Detection":
        this.word(1, event);
        break;
    }
  }

  // The board hears by itself: this page's network goes on from the board's features, frame by frame.
  boardFeatures({ frame, values }) {
    if (values.length !== this.model.channels) return; // another model's
    if (!this.sameModel) {
      this.waterfall.push(values);
      return;
    }
    if (frame === 0) this._nextFrame = 0;
    if (frame !== this._nextFrame) {
      this.compare.stop("Frames of features were lost on the link: nothing is compared since.");
      this._nextFrame = frame;
    }
    this._nextFrame++;
    this.engine.take(values, this.here(false));
  }

  lossy() {
    const counters = this.board.counters;
    const lost = counters ? counters.lost + counters.bad : 0;
    if (lost) this.compare.stop(`The link lost ${lost} frames of the board: nothing is compared since.`);
  }

  // ---- thresholds

  moveThreshold(index, value) {
    const thresholds = [...this.detector.thresholds];
    thresholds[index] = value;
    this.setThresholds(thresholds);
  }

  setThresholds(thresholds) {
    this.moved = true;
    this.useDetector({ ...this.detector, thresholds: [...thresholds] });
    clearTimeout(this._sliderTimer);
    if (this.board?.connected && this.board.info.model_hash !== this.model.model_hash) return; // it has other words
    this._sliderTimer = setTimeout(() => this.guarded(() => this.board?.setDetector(this.detector)), SLIDER_MS);
  }

  useDetector(detector) {
    this.detector = { ...detector, thresholds: [...detector.thresholds] };
    this.labels.thresholds(this.detector.thresholds);
    this.engine.setDetector(this.detector);
    this.compare.detectorChanged(2 * RATE + detector.refractory_samples);
  }

  async copyThresholds() {
    const text = JSON.stringify({ detector: { thresholds: this.detector.thresholds } });
    try {
      await navigator.clipboard.writeText(text);
      this.message("The thresholds are on the clipboard.", "Put them under detector in model.json, then kws export and kws build.");
    } catch {
      this.message(text, "The browser does not give the clipboard: copy these thresholds under detector in model.json.");
    }
  }

  // ---- the rest

  projector() {
    const on = document.body.classList.toggle("projector");
    $("projector").setAttribute("aria-pressed", String(on));
  }

  save() {
    const url = URL.createObjectURL(new Blob([writeWav(this.heard.samples())], { type: "audio/wav" }));
    const link = element("a", { href: url, download: "heard.wav" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  draw() {
    this.waterfall.draw();
    const { rms, peak } = this.level;
    $("level").value = this.source ? Math.max(-60, rms) : -60;
    const clipped = this.clipped ? `, ${this.clipped.toLocaleString("en")} samples clipped` : "";
    $("level-text").textContent = this.source ? `${rms.toFixed(0)} dB, peak ${peak.toFixed(0)} dB${clipped}` : "";
    const now = performance.now();
    if (now - (this._figuresAt ?? -1e9) < 250) return;
    this._figuresAt = now;
    this.figures();
  }

  figures() {
    const board = this.board?.connected ? this.board : null;
    $("figures").replaceChildren(...figures(this.source, this.heard, board));
    [$("verdict").className, $("verdict").textContent] = verdict(this.compare, board);
  }
}

const page = new Page();
globalThis.addEventListener("unhandledrejection", ({ reason }) => page.message(`This page made a mistake: ${reason?.message ?? reason}`));
page.start().catch((error) => {
  page.message(`This page does not start: ${error.message}`, "It needs to come from kws web or from a web server, not from a file.");
  throw error;
});
