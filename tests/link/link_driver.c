/* The device's link between pipes, for fuzzing under sanitizers.
 * stdin: records {u32 length, bytes}; each is handed over in one go (0: the input is empty, as the main loop says).
 * stdout: records {u8 what, u32 length, bytes}: 'T' sent bytes, 'F' a frame acted on {type, seq, payload},
 *         'S' at the end the counters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kws_link.h"

static void put(char what, const void *data, size_t n) {
  uint8_t head[5] = {(uint8_t)what};
  kws_put32(head + 1, (uint32_t)n);
  fwrite(head, 1, sizeof head, stdout);
  fwrite(data, 1, n, stdout);
}

static size_t refuse_after = (size_t)-1;

static size_t on_write(void *context, const uint8_t *data, size_t n) {
  (void)context;
  const size_t taken = n < refuse_after ? n : refuse_after;
  put('T', data, taken);
  return taken;
}

static void on_frame(void *context, uint8_t type, uint16_t seq, const uint8_t *payload, uint16_t len) {
  uint8_t record[3 + KWS_LINK_MAX_PAYLOAD];
  kws_link_t *link = context;
  record[0] = type;
  kws_put16(record + 1, seq);
  memcpy(record + 3, payload, len);
  put('F', record, 3u + len);
  if (type == 0x70) kws_link_send(link, 0xF0, payload, len); /* echo */
  if (type == 0x71) refuse_after = len ? payload[0] : (size_t)-1;
  if (type == 0x72) { /* longer than any frame */
    static const uint8_t big[KWS_LINK_MAX_PAYLOAD + 1];
    kws_link_send(link, 0xF2, big, sizeof big);
  }
}

int main(int argc, char **argv) {
  static kws_link_t link;
  uint8_t head[4];
  const uint16_t window = argc > 1 ? (uint16_t)atoi(argv[1]) : 15;
  kws_link_init(&link, window, on_write, on_frame, &link);
  while (fread(head, 1, 4, stdin) == 4) {
    const size_t n = kws_get32(head);
    if (n == 0) {
      kws_link_idle(&link);
      continue;
    }
    uint8_t *data = malloc(n); /* exactly n, so that the sanitizer sees a byte too many */
    if (!data || fread(data, 1, n, stdin) != n) return 2;
    for (size_t at = 0; at < n;) {
      const size_t taken = kws_link_receive(&link, data + at, n - at);
      if (taken == 0 || taken > n - at) return 3;
      at += taken;
    }
    free(data);
  }
  const kws_link_stats_t *s = &link.stats;
  const uint32_t values[10] = {s->rx_frames,  s->rx_malformed, s->rx_crc,     s->rx_oversized, s->rx_length,
                               s->rx_missing, s->rx_duplicate, s->rx_version, s->tx_frames,    s->tx_dropped};
  uint8_t stats[40];
  for (int i = 0; i < 10; i++) kws_put32(stats + 4 * i, values[i]);
  put('S', stats, sizeof stats);
  return 0;
}
