// Web Serial as Chromium has it, as strict as it, with a board behind it that this page's server reaches.
(() => {
  class Port extends EventTarget {
    #socket = null;
    #controller = null;
    readable = null;
    writable = null;

    getInfo() {
      return { usbVendorId: 0x0483, usbProductId: 0x374b };
    }

    async open(options) {
      if (typeof options?.baudRate !== "number" || options.baudRate < 1) throw new TypeError("baudRate is required");
      if (this.#socket) throw new DOMException("The port is already open.", "InvalidStateError");
      if (serial.busy) throw new DOMException("Failed to open serial port.", "NetworkError");
      const socket = new WebSocket(location.href.replace("http", "ws") + "link");
      socket.binaryType = "arraybuffer";
      await new Promise((resolve, reject) => {
        socket.onopen = resolve;
        socket.onerror = () => reject(new DOMException("Failed to open serial port.", "NetworkError"));
      });
      socket.onmessage = ({ data }) => { if (typeof data !== "string") this.#controller?.enqueue(new Uint8Array(data)); };
      this.#socket = socket;
      serial.opened.push(options);
      this.#newReadable();
      this.writable = new WritableStream({ write: (chunk) => socket.send(chunk) });
    }

    #newReadable() {
      this.readable = new ReadableStream({ start: (controller) => { this.#controller = controller; } });
    }

    async close() {
      if (!this.#socket) throw new DOMException("The port is already closed.", "InvalidStateError");
      if (this.readable?.locked || this.writable?.locked) throw new TypeError("Cannot cancel a locked stream");
      this.#end();
    }

    #end() {
      this.#socket?.close();
      this.#socket = this.#controller = this.readable = this.writable = null;
    }

    // An error after which the browser gives a new stream.
    fail(name) {
      const old = this.#controller;
      this.#newReadable();
      old.error(new DOMException("The device had an error.", name));
    }

    unplug() {
      const old = this.#controller;
      this.#end();
      old?.error(new DOMException("The device has been lost.", "NetworkError"));
      this.dispatchEvent(new Event("disconnect"));
      serial.dispatchEvent(new Event("disconnect"));
      serial.busy = true;
    }

    plug() {
      serial.busy = false;
      serial.dispatchEvent(new Event("connect"));
    }
  }

  class Serial extends EventTarget {
    port = new Port();
    busy = false;
    chosen = true;
    opened = [];
    async requestPort() {
      if (!navigator.userActivation.isActive) throw new DOMException("Must be handling a user gesture.", "SecurityError");
      if (!this.chosen) throw new DOMException("No port selected by the user.", "NotFoundError");
      return this.port;
    }
    async getPorts() {
      return [this.port];
    }
  }
  const serial = new Serial();
  Object.defineProperty(navigator, "serial", { value: serial, configurable: true });
})();
