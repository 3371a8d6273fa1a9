#include "app_audio.h"

#include "app_report.h"
#include "kws_adpcm.h"
#include "kws_link.h"

#define HEAD 14
#define BLOCK_SAMPLES 240u /* 15 ms */
_Static_assert(HEAD + 2 * BLOCK_SAMPLES <= KWS_LINK_MAX_PAYLOAD, "a block is one frame");

static struct {
  uint8_t coding;
  uint32_t position; /* of the block's first sample, since STREAM_START */
  uint16_t n;        /* samples in it */
  kws_adpcm_t state;
  uint8_t payload[HEAD + 2 * BLOCK_SAMPLES];
} a;

static void begin_block(void) {
  a.n = 0;
  kws_put32(a.payload, a.position);
  a.payload[8] = a.coding == APP_AUDIO_ADPCM;
  a.payload[9] = a.state.step; /* so that each block can be decoded without the one before */
  kws_put16(a.payload + 10, (uint16_t)a.state.predictor);
}

static void send_block(uint32_t dropped) {
  const size_t bytes = a.coding == APP_AUDIO_ADPCM ? (a.n + 1u) / 2u : 2u * a.n;
  kws_put32(a.payload + 4, dropped);
  kws_put16(a.payload + 12, a.n);
  app_send(KWS_EVT_AUDIO, a.payload, HEAD + bytes);
  a.position += a.n;
  begin_block();
}

void app_audio_start(uint8_t coding) {
  a.coding = coding;
  a.position = 0;
  a.state.predictor = 0;
  a.state.step = 0;
  begin_block();
}

void app_audio_take(const int16_t *samples, size_t n, uint32_t dropped) {
  if (a.coding == APP_AUDIO_OFF) return;
  for (size_t i = 0; i < n; i++) {
    if (a.coding == APP_AUDIO_PCM) {
      kws_put16(a.payload + HEAD + 2u * a.n, (uint16_t)samples[i]);
    } else {
      uint8_t *const pair = a.payload + HEAD + a.n / 2u;
      const uint8_t code = kws_adpcm_encode(&a.state, samples[i]);
      *pair = a.n & 1u ? (uint8_t)(*pair | (code << 4)) : code;
    }
    if (++a.n == BLOCK_SAMPLES) send_block(dropped);
  }
}

void app_audio_end(uint32_t dropped) {
  if (a.coding != APP_AUDIO_OFF && a.n) send_block(dropped);
  a.coding = APP_AUDIO_OFF;
}
