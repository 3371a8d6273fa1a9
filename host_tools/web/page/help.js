// Words for people: why there is no board, and what to do about it on this system.

const SYSTEMS = {
  linux: [
    "Is the board there? `lsusb` lists it, and `ls /dev/ttyACM* /dev/ttyUSB*` its port.",
    "No right to open it: `sudo usermod -aG dialout $USER`, then log out and in (on Arch: group uucp).",
    "Chromium from a snap can't see ports: `sudo snap connect chromium:raw-usb`, or take another package of it.",
    "ModemManager may hold a new port for half a minute; then it is free.",
  ],
  mac: [
    "Is the board there? `ls /dev/cu.*` in Terminal lists usbmodem… for it.",
    "A cable for charging alone has no data lines: try another one.",
    "Boards with a CH340 or CP210x chip need that maker's driver.",
  ],
  windows: [
    "Is the board there? Device Manager lists it under Ports (COM and LPT).",
    "Boards with an ST-LINK need ST's driver (STSW-LINK009), others that of their CH340 or CP210x chip.",
    "Close other programs that have the COM port open: the Arduino IDE, PuTTY.",
  ],
  chromeos: [
    "Is the board there? Choose it where ChromeOS asks whether to connect it to Linux: not to Linux.",
    "A managed Chromebook may forbid serial ports: ask who manages it.",
  ],
  phone: [
    "Phones have no serial ports for pages. Listen with this phone's microphone instead, or open the page on a computer.",
  ],
};

export function systemOf(agent = navigator.userAgent, platform = navigator.userAgentData?.platform ?? "") {
  const text = `${platform} ${agent}`;
  if (/Android|iPhone|iPad|Mobile/.test(text)) return "phone";
  if (/CrOS|Chrome OS/.test(text)) return "chromeos";
  if (/Windows/.test(text)) return "windows";
  if (/Mac/.test(text)) return "mac";
  return "linux";
}

// Lines of help where no port was found or chosen.
export function portHelp(system = systemOf()) {
  return SYSTEMS[system];
}

// A sentence where this browser has no Web Serial; nothing where it has.
export function whyNoSerial(agent = navigator.userAgent) {
  if ("serial" in navigator) return "";
  if (!isSecureContext) return "Browsers give serial ports to pages on https or localhost alone: open this page there.";
  const safari = /Safari\//.test(agent) && !/Chrom|Edg|Android/.test(agent);
  const name = safari ? "Safari" : /Firefox\//.test(agent) ? "This Firefox" : "This browser";
  return `${name} has no Web Serial: take Chrome, Edge or Firefox from 151 on, or let kws bring the board: kws web --port PORT.`;
}
