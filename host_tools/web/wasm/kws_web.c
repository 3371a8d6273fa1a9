/* The core for a page: one stream in a WebAssembly module without imports. JavaScript writes samples to kws_web_pcm(), calls
 * kws_web_step() until they are used up, and looks at what each step gave. Built by host_tools/web/wasm.py. */
#include <string.h>

#include "kws_image.h"

#if defined(__wasm__)
#define EXPORT(name) __attribute__((export_name(#name))) name
#else
#define EXPORT(name) name
#endif

_Static_assert(KWS_IMAGE_MODELS == 1, "a page listens with one model");

enum { PCM_SAMPLES = 4096 };
enum { FRAME = 1, RESULT = 2, WORD = 4 };

static kws_state_t state;
static int16_t pcm[PCM_SAMPLES];
static uint16_t features[KWS_FE_MAX_CHANNELS];
static uint8_t settings[9 + KWS_DET_MAX_LABELS]; /* laid out as the payload of SET_DETECTOR */

/* What the last step gave. */
static struct {
  uint32_t happened; /* FRAME, RESULT, WORD; 0: the samples completed no frame */
  uint32_t frame;    /* its index since the reset */
  uint32_t position; /* samples since the reset at the frame's end, which is the end of a result's window too */
  uint32_t word_position, word_label, word_score;
} report;

int EXPORT(kws_web_init)(void) { return kws_stream_init(&state.stream, &kws_image); }
void EXPORT(kws_web_reset)(void) { kws_stream_reset(&state.stream); }
int16_t *EXPORT(kws_web_pcm)(void) { return pcm; }
uint32_t EXPORT(kws_web_pcm_samples)(void) { return PCM_SAMPLES; }
uint16_t *EXPORT(kws_web_features)(void) { return features; }
const uint8_t *EXPORT(kws_web_scores)(void) { return kws_stream_scores(&state.stream, 0); }
const void *EXPORT(kws_web_report)(void) { return &report; }
uint8_t *EXPORT(kws_web_settings)(void) { return settings; }

/* All that a frame leads to. 0, or -1: the network failed. */
static int frame(uint32_t index, uint32_t position) {
  kws_stream_t *const s = &state.stream;
  report.happened = FRAME;
  report.frame = index;
  report.position = position;
  if (kws_stream_take(s, 0, features) && kws_stream_invoke(s, 0) != 0) return -1;
  if (!kws_stream_result(s, 0)) return 0;
  report.happened |= RESULT;
  kws_detection_t found;
  if (kws_stream_decide(s, 0, &found)) {
    report.happened |= WORD;
    report.word_position = found.sample_position;
    report.word_label = found.label;
    report.word_score = found.score;
  }
  return 0;
}

/* Takes samples [at, end) of pcm until a frame is whole, and does all that the frame leads to. Returns how many it took; 0
 * is an error: wrong bounds, or a network that failed. */
uint32_t EXPORT(kws_web_step)(uint32_t at, uint32_t end) {
  kws_stream_t *const s = &state.stream;
  report.happened = 0;
  if (end > PCM_SAMPLES || at >= end) return 0;
  size_t used = 0;
  if (!kws_stream_frame(s, pcm + at, end - at, &used, features)) return (uint32_t)used;
  return frame(s->ear.frames - 1, s->position) == 0 ? (uint32_t)used : 0;
}

/* The next frame, which a board's front end made: what lies in `features`. 0, or -1: the network failed. */
int EXPORT(kws_web_take)(void) {
  kws_stream_t *const s = &state.stream;
  const kws_fe_tables_t *const t = kws_image.frontend;
  s->position = t->window_samples + s->ear.frames * t->hop_samples; /* as kws_stream_frame has it */
  s->ear.frames++;
  return frame(s->ear.frames - 1, s->position);
}

/* Takes the detector of `settings`: 0, or -1 where a field is out of its range (the old one goes on then). */
int EXPORT(kws_web_set_detector)(void) {
  kws_detector_config_t config;
  memset(&config, 0, sizeof config);
  config.window = settings[0];
  config.min_count = settings[1];
  config.rest = settings[2];
  for (int i = 0; i < 4; i++) config.refractory_samples |= (uint32_t)settings[4 + i] << (8 * i);
  config.num_labels = settings[8];
  if (config.num_labels != kws_image.models[0].num_labels) return -1;
  memcpy(config.threshold, settings + 9, config.num_labels);
  config.look = kws_image.models[0].detector.look; /* part of the model, not of what a page may set */
  return kws_detector_init(&kws_stream_track(&state.stream, 0)->detector, &config);
}

#if defined(__wasm__)
/* There is no C library. Compiled with -fno-builtin, or each would become a call of itself. */
void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  for (size_t i = 0; i < n; i++) ((unsigned char *)to)[i] = ((const unsigned char *)from)[i];
  return to;
}

void *memmove(void *to, const void *from, size_t n) {
  if ((const unsigned char *)to <= (const unsigned char *)from) return memcpy(to, from, n);
  while (n-- > 0) ((unsigned char *)to)[n] = ((const unsigned char *)from)[n];
  return to;
}

void *memset(void *to, int value, size_t n) {
  for (size_t i = 0; i < n; i++) ((unsigned char *)to)[i] = (unsigned char)value;
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const int difference = ((const unsigned char *)a)[i] - ((const unsigned char *)b)[i];
    if (difference) return difference;
  }
  return 0;
}
#endif
