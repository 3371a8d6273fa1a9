/* app_stream.c with an engine that takes the whole window (STEP 0) or only the newest STEP frames, and a port that is
 * not there. Prints every event; both kinds of engine must print the same. argv: mode stride samples seed flags. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_report.h"
#include "app_stream.h"
#include "engine.h"
#include "model_config.h"
#include "port.h"

#define FRAMES (STEP ? STEP : KWS_WINDOW_FRAMES)

static int8_t input[FRAMES * KWS_CHANNELS], history[KWS_INPUT_BYTES], output[KWS_OUTPUT_BYTES];

int kws_engine_load(void) { return KWS_ENGINE_OK; }
int8_t *kws_engine_input(void) { return input; }
const int8_t *kws_engine_output(void) { return output; }
void kws_engine_reset(void) { memset(history, 0, sizeof history); }
int kws_engine_invoke(void) {
  memmove(history, history + sizeof input, sizeof history - sizeof input);
  memcpy(history + sizeof history - sizeof input, input, sizeof input);
  memset(input, 0x55, sizeof input); /* as activations may */
  for (int i = 0; i < KWS_OUTPUT_BYTES; i++) {
    uint32_t hash = 2166136261u + (uint32_t)i;
    for (size_t k = 0; k < sizeof history; k++) hash = (hash ^ (uint8_t)history[k]) * 16777619u;
    output[i] = (int8_t)(hash >> 24);
  }
  return KWS_ENGINE_OK;
}
const kws_engine_info_t *kws_engine_info(void) {
  static const kws_engine_info_t info = {"fake", KWS_MODEL_HASH,    sizeof input, KWS_OUTPUT_BYTES, 0,
                                         0,      KWS_WINDOW_FRAMES, STEP};
  return &info;
}

uint32_t port_ticks(void) { return 0; }
uint32_t port_own_ticks(void) { return 0; }
#include "no_audio.h"

void app_send(uint8_t type, const uint8_t *payload, size_t len) {
  printf("event %u ", type);
  for (size_t i = 0; i < len; i++) printf("%02x", payload[i]);
  printf("\n");
}
void app_log(uint8_t level, const char *text) { printf("log %d %s\n", level, text); }
void app_send_features(uint32_t frame, const uint16_t *f) { printf("features %u %u\n", frame, f[0]); }
void app_send_detection(const kws_detection_t *d) {
  printf("detection %u %u %u\n", d->sample_position, d->label, d->score);
}
void app_send_result(const app_result_t *r) {
  printf("result %u %u", r->index, r->position);
  for (int i = 0; i < KWS_OUTPUT_BYTES; i++) printf(" %d", r->output[i]);
  printf("\n");
}

int main(int argc, char **argv) {
  if (argc != 6 || app_stream_init() != KWS_ENGINE_OK) return 2;
  const uint8_t mode = (uint8_t)atoi(argv[1]);
  const uint16_t stride = (uint16_t)atoi(argv[2]);
  const long samples = atol(argv[3]);
  srand((unsigned)atoi(argv[4]));
  const uint8_t flags = (uint8_t)(APP_FLAG_RESULTS | atoi(argv[5]));
  kws_detector_config_t d = {.num_labels = KWS_NUM_LABELS, .window = 2, .min_count = 1, .refractory_samples = 4000};
  memset(d.threshold, 1, KWS_NUM_LABELS);
  if (app_stream_set_detector(&d) != 0) return 3;
  for (int round = 0; round < 2; round++) { /* the second time must not see the first */
    if (app_stream_start(mode, flags, stride) != 0) return 4;
    for (long sent = 0; sent < samples;) {
      uint8_t bytes[508];
      long n = 1 + rand() % 254;
      if (n > samples - sent) n = samples - sent;
      for (long i = 0; i < 2 * n; i++) bytes[i] = (uint8_t)(((sent * 2 + i) * 2654435761u) >> 21);
      while (!app_stream_has_room((size_t)n)) app_stream_process();
      app_stream_push(bytes, (size_t)n);
      sent += n;
      if (rand() % 3 == 0) app_stream_process();
    }
    if (app_stream_finish() != KWS_ENGINE_OK) return 5;
    app_stream_totals_t t;
    app_stream_totals(&t);
    printf("done %u %u %u %u\n", t.samples, t.frames, t.inferences, t.dropped);
  }
  for (int i = 0; i < KWS_INPUT_BYTES; i++) app_stream_window()[i] = (int8_t)(i * 7);
  return app_stream_infer_window();
}
