// Ways to a board's bytes: Web Serial, and this page's own server where it was started with a board.

import { LinkError } from "./link.js";

const RESEND_MS = 500; // as host_tools/link/transport.py has it for a serial line
const BUFFER = 16384; // bytes: a third of a second at 500,000 baud
const NATIVE_USB = [0x2341, 0x2886, 0x239a]; // whose boards' own USB carries the link: Arduino, Seeed, Adafruit

export class SerialTransport {
  // `port`: a SerialPort that the user has chosen. Rejects with LinkError where it can't be opened.
  static async open(port, baud) {
    try {
      await port.open({ baudRate: baud, bufferSize: BUFFER });
    } catch (error) {
      if (error.name === "InvalidStateError") throw new LinkError("This page has the port open already.");
      throw new LinkError("The port can't be opened: another program has it, or you have no right to it.", {
        hint: "Close other serial monitors (kws monitor, the Arduino IDE); on Linux, join the group dialout.", retry: true,
      });
    }
    return new SerialTransport(port);
  }

  constructor(port) {
    this.name = "the serial port";
    this.resendMs = RESEND_MS;
    this.compact = !NATIVE_USB.includes(port.getInfo().usbVendorId);
    this.damaged = 0; // framing, parity and overrun errors, after which reading went on
    this.onbytes = () => {};
    this.onclose = () => {};
    this._port = port;
    this._closing = false;
    this._reading = this._read();
  }

  async _read() {
    let ended = false;
    // After an error that is not the port's end, the browser gives a new stream.
    while (this._port.readable && !this._closing && !ended) {
      this._reader = this._port.readable.getReader();
      try {
        for (;;) {
          const { value, done } = await this._reader.read();
          if (done) {
            ended = true;
            break;
          }
          this.onbytes(value);
        }
      } catch (error) {
        if (error.name === "NetworkError") ended = true; // unplugged
        else this.damaged++;
      } finally {
        this._reader.releaseLock();
      }
    }
    if (!this._closing) this.onclose(new LinkError("The board was unplugged.", { hint: "Plug it in again." }));
  }

  async write(bytes) {
    if (!this._port.writable) throw new LinkError("The board was unplugged.", { hint: "Plug it in again." });
    const writer = this._port.writable.getWriter();
    try {
      await writer.write(bytes);
    } finally {
      writer.releaseLock();
    }
  }

  async close() {
    this._closing = true;
    try {
      await this._reader?.cancel();
      await this._reading;
      await this._port.close();
    } catch {
      // It went away before: closed is closed.
    }
  }
}

export class SocketTransport {
  // `board`: what kws.json says of the server's. Rejects with LinkError where the server is gone or refuses.
  static open(board) {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(new URL("link", location.href.replace(/^http/, "ws")));
      socket.binaryType = "arraybuffer";
      socket.onopen = () => resolve(new SocketTransport(socket, board));
      socket.onerror = socket.onclose = () =>
        reject(new LinkError("kws web is not running any more.", { hint: "Start it again." }));
    });
  }

  constructor(socket, board) {
    this.name = board.name;
    this.resendMs = board.resend_ms;
    this.compact = board.compact;
    this.damaged = 0;
    this.onbytes = () => {};
    this.onclose = () => {};
    this._socket = socket;
    let error = new LinkError("kws web went away.", { hint: "Start it again." });
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") {
        this.onbytes(new Uint8Array(data));
        return;
      }
      const said = JSON.parse(data);
      error = new LinkError(said.error, said);
      socket.close();
    };
    socket.onerror = null;
    socket.onclose = () => this.onclose(error);
  }

  async write(bytes) {
    if (this._socket.readyState !== WebSocket.OPEN) throw new LinkError("kws web went away.", { hint: "Start it again." });
    this._socket.send(bytes);
  }

  async close() {
    this._socket.onclose = null;
    this._socket.close();
  }
}
