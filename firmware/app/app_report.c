#include "app_report.h"

#include <string.h>

#include "model_config.h"
#include "port.h"

#define LED_MS 300 /* that it is lit after a detection */

kws_link_t app_link;
static uint32_t led_since;
static int led_lit;

void app_send(uint8_t type, const uint8_t *payload, size_t len) { kws_link_send(&app_link, type, payload, len); }

static void send_text(uint8_t type, const uint8_t *head, size_t head_len, const char *text) {
  uint8_t payload[96];
  size_t n = strlen(text);
  if (n > sizeof payload - head_len) n = sizeof payload - head_len;
  memcpy(payload, head, head_len);
  memcpy(payload + head_len, text, n);
  app_send(type, payload, head_len + n);
}

void app_send_error(uint8_t command, uint8_t code, uint16_t seq, const char *text) {
  uint8_t head[4] = {command, code};
  kws_put16(head + 2, seq);
  send_text(KWS_EVT_ERROR, head, sizeof head, text);
}

void app_log(uint8_t level, const char *text) { send_text(KWS_EVT_LOG, &level, 1, text); }

void app_send_result(const app_result_t *r) {
  uint8_t p[25 + KWS_OUTPUT_BYTES];
  kws_put32(p, r->index);
  kws_put32(p + 4, r->position);
  kws_put32(p + 8, r->frontend_ticks);
  kws_put32(p + 12, r->frontend_frames);
  kws_put32(p + 16, r->inference_ticks);
  kws_put32(p + 20, r->detector_ticks);
  p[24] = KWS_OUTPUT_BYTES;
  memcpy(p + 25, r->output, KWS_OUTPUT_BYTES);
  app_send(KWS_EVT_RESULT, p, sizeof p);
}

void app_send_detection(const kws_detection_t *d) {
  uint8_t p[6];
  kws_put32(p, d->sample_position);
  p[4] = d->label;
  p[5] = d->score;
  app_send(KWS_EVT_DETECTION, p, sizeof p);
  led_since = port_millis();
  led_lit = 1;
  port_led(1);
}

void app_send_features(uint32_t frame, const uint16_t *features) {
  uint8_t p[4 + 2 * KWS_CHANNELS];
  kws_put32(p, frame);
  for (size_t i = 0; i < KWS_CHANNELS; i++) kws_put16(p + 4 + 2 * i, features[i]);
  app_send(KWS_EVT_FEATURES, p, sizeof p);
}

void app_report_poll(void) {
  if (led_lit && port_millis() - led_since >= LED_MS) {
    led_lit = 0;
    port_led(0);
  }
}
