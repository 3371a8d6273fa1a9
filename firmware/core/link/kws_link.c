#include "kws_link.h"

#include <string.h>

uint32_t kws_crc32(uint32_t crc, const uint8_t *data, size_t n) {
  /* Half a byte a step: 64 bytes of table; the serial line is far slower than this. */
  static const uint32_t table[16] = {
      0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
      0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
  };
  crc = ~crc;
  for (size_t i = 0; i < n; i++) {
    crc ^= data[i];
    crc = (crc >> 4) ^ table[crc & 15u];
    crc = (crc >> 4) ^ table[crc & 15u];
  }
  return ~crc;
}

void kws_link_init(kws_link_t *link, uint16_t window, kws_link_write_fn write, kws_link_frame_fn on_frame,
                   void *context) {
  memset(link, 0, sizeof *link);
  link->window = window ? window : 1;
  link->write = write;
  link->on_frame = on_frame;
  link->context = context;
  link->tx_resync = 1;
}

int kws_link_send(kws_link_t *link, uint8_t type, const uint8_t *payload, size_t len) {
  const uint16_t seq = link->tx_seq++; /* used up even if the frame is dropped, so that the host sees the gap */
  if (len > KWS_LINK_MAX_PAYLOAD) {
    link->stats.tx_dropped++;
    return -1;
  }
  /* The frame is built far enough behind the front for COBS to be made in place. */
  uint8_t *const buffer = link->tx_frame;
  const size_t lead = 1 + KWS_LINK_MAX_RUN - KWS_LINK_MAX_FRAME;
  uint8_t *raw = buffer + lead;
  raw[0] = type;
  raw[1] = KWS_LINK_PROTOCOL;
  kws_put16(raw + 2, seq);
  kws_put16(raw + 4, (uint16_t)len);
  if (len) memcpy(raw + KWS_LINK_HEADER_BYTES, payload, len);
  kws_put32(raw + KWS_LINK_HEADER_BYTES + len, kws_crc32(0, raw, KWS_LINK_HEADER_BYTES + len));

  const size_t end = lead + KWS_LINK_HEADER_BYTES + len + KWS_LINK_CRC_BYTES;
  size_t in = lead, out = 0;
  if (link->tx_resync) buffer[out++] = 0;
  for (;;) {
    size_t run = 0;
    while (run < 254 && in + run < end && buffer[in + run] != 0) run++;
    memmove(buffer + out + 1, buffer + in, run);
    buffer[out] = (uint8_t)(run + 1);
    out += run + 1;
    in += run;
    if (in == end) break;
    if (run < 254) in++; /* the zero that this block stands for; one at the very end makes an empty block */
  }
  buffer[out++] = 0;

  link->tx_resync = link->write(link->context, buffer, out) != out;
  if (link->tx_resync) {
    link->stats.tx_dropped++;
    return -1;
  }
  link->stats.tx_frames++;
  return 0;
}

static void send_ack(kws_link_t *link) {
  uint8_t payload[4];
  kws_put16(payload, link->rx_expected);
  kws_put16(payload + 2, link->window);
  link->rx_unacked = 0;
  link->ack_owed = 0;
  kws_link_send(link, KWS_EVT_ACK, payload, sizeof payload);
}

static void send_nak(kws_link_t *link, uint8_t reason, uint16_t got) {
  uint8_t payload[6] = {reason, 0};
  kws_put16(payload + 2, link->rx_expected);
  kws_put16(payload + 4, got);
  kws_link_send(link, KWS_EVT_NAK, payload, sizeof payload);
}

/* A whole run was decoded into rx_frame[rx_len]. */
static void take_frame(kws_link_t *link) {
  const uint8_t *frame = link->rx_frame;
  const size_t n = link->rx_len;
  if (n < KWS_LINK_HEADER_BYTES + KWS_LINK_CRC_BYTES) {
    link->stats.rx_malformed++;
    send_nak(link, KWS_NAK_MALFORMED, 0);
    return;
  }
  if (kws_crc32(0, frame, n - KWS_LINK_CRC_BYTES) != kws_get32(frame + n - KWS_LINK_CRC_BYTES)) {
    link->stats.rx_crc++;
    send_nak(link, KWS_NAK_CRC, 0);
    return;
  }
  const uint8_t type = frame[0];
  const uint16_t seq = kws_get16(frame + 2), len = kws_get16(frame + 4);
  if (frame[1] != KWS_LINK_PROTOCOL) {
    link->stats.rx_version++;
    send_nak(link, KWS_NAK_VERSION, seq);
    return;
  }
  if (len > KWS_LINK_MAX_PAYLOAD || len != n - KWS_LINK_HEADER_BYTES - KWS_LINK_CRC_BYTES) {
    link->stats.rx_length++;
    send_nak(link, KWS_NAK_LENGTH, seq);
    return;
  }
  if (type == KWS_CMD_HELLO) {
    link->open = 1;
    link->rx_expected = seq;
  }
  const uint16_t ahead = (uint16_t)(seq - link->rx_expected);
  if (!link->open || (ahead != 0 && ahead < 0x8000u)) {
    link->stats.rx_missing++;
    if (!link->gap_nak) send_nak(link, KWS_NAK_MISSING, seq);
    link->gap_nak = 1;
    return;
  }
  if (ahead != 0) {
    link->stats.rx_duplicate++;
    link->ack_owed = 1;
    return;
  }
  link->rx_expected = (uint16_t)(seq + 1u);
  link->rx_unacked++;
  link->gap_nak = 0;
  link->stats.rx_frames++;
  link->on_frame(link->context, type, seq, frame + KWS_LINK_HEADER_BYTES, len);
  if (link->rx_unacked * 4u >= link->window) send_ack(link);
}

static void end_of_run(kws_link_t *link) {
  if (link->rx_run == 0) return; /* two zeros in a row */
  if (link->rx_oversized) {
    link->stats.rx_oversized++;
    send_nak(link, KWS_NAK_OVERSIZED, 0);
  } else if (link->rx_block != 0) {
    link->stats.rx_malformed++; /* a zero inside a block */
    send_nak(link, KWS_NAK_MALFORMED, 0);
  } else {
    take_frame(link);
  }
  link->rx_run = link->rx_len = 0;
  link->rx_block = link->rx_zero = link->rx_oversized = 0;
}

size_t kws_link_receive(kws_link_t *link, const uint8_t *data, size_t n) {
  size_t i = 0;
  while (i < n) {
    if (data[i] == 0) {
      end_of_run(link);
      return i + 1;
    }
    if (link->rx_run == KWS_LINK_MAX_RUN || link->rx_oversized) {
      link->rx_oversized = 1;
      i++;
      continue;
    }
    if (link->rx_block == 0) { /* a code byte: how many bytes up to the next zero of the frame */
      if (link->rx_zero) link->rx_frame[link->rx_len++] = 0;
      link->rx_zero = data[i] != 0xFF;
      link->rx_block = (uint8_t)(data[i] - 1);
      link->rx_run++;
      i++;
      continue;
    }
    size_t run = link->rx_block;
    if (run > n - i) run = n - i;
    if (run > (size_t)(KWS_LINK_MAX_RUN - link->rx_run)) run = (size_t)(KWS_LINK_MAX_RUN - link->rx_run);
    uint8_t *to = link->rx_frame + link->rx_len; /* rx_len < rx_run <= KWS_LINK_MAX_RUN */
    size_t taken = 0;
    while (taken < run && data[i + taken] != 0) {
      to[taken] = data[i + taken];
      taken++;
    }
    link->rx_len = (uint16_t)(link->rx_len + taken);
    link->rx_run = (uint16_t)(link->rx_run + taken);
    link->rx_block = (uint8_t)(link->rx_block - taken);
    i += taken;
  }
  return i;
}

void kws_link_idle(kws_link_t *link) {
  if (link->rx_unacked || link->ack_owed) send_ack(link);
}
