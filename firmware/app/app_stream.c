#include "app_stream.h"

#include <string.h>

#include "app_audio.h"
#include "app_profile.h"
#include "app_report.h"
#include "app_watch.h"
#include "engine.h"
#include "kws_image.h"
#include "kws_ring.h"
#include "model_config.h"
#include "port.h"

/* That the engine's model is the one of model_config.h is asserted in the engine, and by its hash at the start. */
_Static_assert(KWS_NUM_MODELS > 1 || KWS_WINDOW_FRAMES * KWS_CHANNELS == KWS_INPUT_BYTES,
               "the window is not the model's input");
_Static_assert(KWS_NUM_LABELS == KWS_OUTPUT_BYTES, "one output for each label");
_Static_assert(KWS_NUM_LABELS >= 1 && KWS_NUM_LABELS <= KWS_DET_MAX_LABELS, "labels");
_Static_assert(KWS_INPUT_BYTES >= 1 && KWS_INPUT_BYTES <= KWS_LIMIT_INPUT_BYTES, "INFER_FEATURES counts in 16 bits");
_Static_assert(sizeof KWS_LABELS <= KWS_LIMIT_LABELS * (KWS_LIMIT_LABEL_BYTES + 1), "labels are too long");
_Static_assert(KWS_WINDOW_FRAMES <= KWS_LIMIT_FRAMES && KWS_CHANNELS <= KWS_LIMIT_CHANNELS &&
                   KWS_WINDOW_SAMPLES <= KWS_LIMIT_SAMPLES && KWS_STRIDE_HOPS <= KWS_LIMIT_STRIDE_HOPS,
               "the model is beyond kws_limits.h");
_Static_assert(KWS_DET_WINDOW <= KWS_LIMIT_WINDOW && KWS_DET_MIN_COUNT <= KWS_LIMIT_MIN_COUNT &&
                   KWS_DET_REFRACTORY <= KWS_LIMIT_REFRACTORY_SAMPLES,
               "the detector is beyond kws_limits.h");

#define RING_SAMPLES 1024u /* 64 ms, and room for two hops while a frame of the link comes in */
KWS_RING_ASSERT(RING_SAMPLES);

static struct {
  int engine_error;
  uint8_t active, mode, flags;
  app_stream_totals_t totals;
  uint32_t index; /* results since start */
  uint32_t frontend_ticks, frontend_frames;
  uint32_t lost; /* samples, since reset */
} s;

static int16_t ring_samples[RING_SAMPLES];
static kws_ring_t ring;
static kws_state_t kws_state; /* front end, windows, networks, detectors */
#define STREAM (&kws_state.stream)

int app_stream_init(void) {
  memset(&s, 0, sizeof s);
  kws_ring_init(&ring, ring_samples, RING_SAMPLES);
  s.engine_error = kws_engine_load();
  if (kws_stream_init(STREAM, &kws_image) != 0)
    s.engine_error = KWS_ENGINE_ESCHEMA; /* made for another configuration */
  if (s.engine_error == KWS_ENGINE_OK && strcmp(kws_engine_info()->model_hash, KWS_MODEL_HASH) != 0) {
    s.engine_error = KWS_ENGINE_ESCHEMA;
  }
  return s.engine_error;
}

int app_stream_engine_error(void) { return s.engine_error; }
int app_stream_active(void) { return s.active; }
int app_stream_takes_data(void) { return s.active && !(s.flags & APP_FLAG_MICROPHONE); }
uint32_t app_stream_lost_since_reset(void) { return s.lost; }
int8_t *app_stream_window(void) { return kws_stream_window(STREAM, 0); }
void app_stream_totals(app_stream_totals_t *out) { *out = s.totals; }

void app_stream_detector(kws_detector_config_t *out) {
  *out = kws_stream_track(STREAM, 0)->detector.config;
  for (uint32_t i = 1; i < KWS_NUM_MODELS; i++) {
    const kws_detector_config_t *const other = &kws_stream_track(STREAM, i)->detector.config;
    memcpy(out->threshold + out->num_labels, other->threshold, other->num_labels);
    out->num_labels = (uint8_t)(out->num_labels + other->num_labels);
  }
}

static int same_but_thresholds(const kws_detector_config_t *a, const kws_detector_config_t *b) {
  return a->window == b->window && a->min_count == b->min_count && a->rest == b->rest &&
         a->refractory_samples == b->refractory_samples;
}

int app_stream_set_detector(const kws_detector_config_t *config) {
  if (KWS_NUM_MODELS > 1 && !same_but_thresholds(config, &kws_stream_track(STREAM, 0)->detector.config)) return -1;
  for (uint32_t i = 0, labels = 0; i < KWS_NUM_MODELS; labels += kws_image.models[i++].num_labels) {
    const kws_model_t *const m = &kws_image.models[i];
    kws_detector_t *const detector = &kws_stream_track(STREAM, i)->detector;
    kws_detector_config_t own = KWS_NUM_MODELS > 1 ? detector->config : *config;
    own.num_labels = (uint8_t)m->num_labels;
    memmove(own.threshold, config->threshold + labels, m->num_labels);
    own.look = m->detector.look; /* part of the model, not of what the host may set */
    if (kws_detector_init(detector, &own) != 0) return -1;
  }
  return 0;
}

static void clear_state(void) {
  memset(&s.totals, 0, sizeof s.totals);
  kws_ring_clear(&ring);
  s.frontend_ticks = s.frontend_frames = 0;
  if (s.engine_error == KWS_ENGINE_OK) kws_stream_reset(STREAM);
}

int app_stream_start(uint8_t mode, uint8_t flags, uint16_t stride) {
  app_stream_abort();
  s.mode = mode;
  s.flags = flags;
  for (uint32_t i = 0; stride && i < KWS_NUM_MODELS; i++) kws_stream_track(STREAM, i)->stride = stride;
  if ((flags & APP_FLAG_MICROPHONE) && port_audio_start(KWS_SAMPLE_RATE) != 0) return -1;
  app_audio_start(!(flags & APP_FLAG_AUDIO) ? APP_AUDIO_OFF : flags & APP_FLAG_ADPCM ? APP_AUDIO_ADPCM : APP_AUDIO_PCM);
  s.active = 1;
  return 0;
}

void app_stream_abort(void) {
  if (s.active && (s.flags & APP_FLAG_MICROPHONE)) port_audio_stop();
  s.active = 0;
  clear_state();
}

int app_stream_has_room(size_t samples) { return kws_ring_room(&ring) >= samples; }

void app_stream_push(const uint8_t *samples, size_t n) {
  s.totals.samples += (uint32_t)n;
  while (n > 0) {
    size_t room;
    int16_t *const to = kws_ring_free(&ring, &room);
    if (room > n) room = n;
    if (room == 0) return; /* has_room was asked */
    for (size_t i = 0; i < room; i++) to[i] = (int16_t)(samples[2 * i] | (samples[2 * i + 1] << 8));
    kws_ring_wrote(&ring, room);
    samples += 2 * room;
    n -= room;
  }
}

static void take_microphone(void) {
  size_t room;
  for (;;) {
    int16_t *const to = kws_ring_free(&ring, &room);
    if (room == 0) return;
    uint32_t dropped = 0;
    const size_t n = port_audio_read(to, room, &dropped);
    s.totals.dropped += dropped;
    s.lost += dropped;
    kws_ring_wrote(&ring, n);
    s.totals.samples += (uint32_t)n;
    if (n < room) return;
  }
}

static void send_result(uint32_t position, uint32_t inference_ticks, uint32_t detector_ticks) {
  int8_t output[KWS_OUTPUT_BYTES];
  size_t n = 0;
  for (uint32_t i = 0; i < KWS_NUM_MODELS; i++) {
    const uint8_t *const scores = kws_stream_scores(STREAM, i);
    for (uint32_t k = 0; k < kws_image.models[i].num_labels && n < sizeof output; k++) {
      output[n++] = (int8_t)(scores[k] - 128);
    }
  }
  const app_result_t r = {
      .index = s.index++,
      .position = position,
      .frontend_ticks = s.frontend_ticks,
      .frontend_frames = s.frontend_frames,
      .inference_ticks = inference_ticks,
      .detector_ticks = detector_ticks,
      .output = output,
  };
  s.frontend_ticks = s.frontend_frames = 0;
  app_send_result(&r);
}

static uint32_t inference_ticks; /* of the result that is being made */

static int invoke(kws_stream_t *stream, uint32_t model) {
  if (inference_ticks == 0) app_profile_clear();
  const stopwatch_t watch = watch_start();
  app_profile_start();
  const int result = kws_stream_invoke(stream, model);
  inference_ticks += watch_stop(watch);
  return result;
}

/* One result from what the window holds, with the oldest frame in slot `first`. */
static int whole_window(uint32_t position) {
  inference_ticks = 0;
  const int result = kws_stream_whole_window(STREAM, 0, invoke);
  if (result == KWS_ENGINE_OK) send_result(position, inference_ticks, 0);
  return result;
}

int app_stream_infer_window(void) {
  if (s.engine_error != KWS_ENGINE_OK) return s.engine_error;
  kws_stream_track(STREAM, 0)->next_slot = 0; /* who filled the window began there */
  return whole_window(0);
}

/* Continuous mode, after each frame of a front end. */
static void hop(uint32_t ear, const uint16_t *features) {
  uint32_t detector_ticks = 0, results = 0, fired = 0;
  kws_detection_t detections[KWS_NUM_MODELS];
  inference_ticks = 0;
  for (uint32_t i = 0, labels = 0; i < KWS_NUM_MODELS; labels += kws_image.models[i++].num_labels) {
    if (!kws_stream_hears(STREAM, i, ear)) continue;
    if (kws_stream_take(STREAM, i, features) && invoke(STREAM, i) != KWS_ENGINE_OK) {
      app_log(KWS_LOG_ERROR, "the engine failed");
      return;
    }
    if (!kws_stream_result(STREAM, i)) continue;
    results++;
    const stopwatch_t watch = watch_start();
    const int word = kws_stream_decide(STREAM, i, &detections[fired]);
    detector_ticks += watch_stop(watch);
    if (word) detections[fired++].label += (uint8_t)labels;
  }
  if (!results) return;
  s.totals.inferences++;
  if (s.flags & APP_FLAG_RESULTS) send_result(STREAM->position, inference_ticks, detector_ticks);
  for (uint32_t i = 0; i < fired; i++) app_send_detection(&detections[i]);
}

int app_stream_process(void) {
  if (!s.active) return 0;
  if (s.flags & APP_FLAG_MICROPHONE) take_microphone();
  size_t waiting, consumed;
  const int16_t *const from = kws_ring_filled(&ring, &waiting);
  if (waiting == 0) return 0;
  uint16_t features[KWS_CHANNELS];
  const stopwatch_t watch = watch_start();
  const int frame = kws_stream_frame(STREAM, from, waiting, &consumed, features);
  s.frontend_ticks += watch_stop(watch);
  app_audio_take(from, consumed, s.totals.dropped);
  kws_ring_read(&ring, consumed);
  if (!frame) return 1;
  s.frontend_frames++;
  if (frame == 1) { /* of several front ends, the first one's frames are shown and counted */
    if (s.flags & APP_FLAG_FEATURES) app_send_features(s.totals.frames, features);
    s.totals.frames++;
  }
  if (s.mode == APP_MODE_CONTINUOUS) {
    hop((uint32_t)frame - 1, features);
  } else {
    kws_stream_take(STREAM, 0, features);
  }
  return 1;
}

int app_stream_finish(void) {
  if (s.flags & APP_FLAG_MICROPHONE) {
    take_microphone();
    port_audio_stop();
    s.flags &= (uint8_t)~APP_FLAG_MICROPHONE;
  }
  while (app_stream_process()) {}
  app_audio_end(s.totals.dropped);
  s.active = 0;
  if (s.mode != APP_MODE_CLIP) return KWS_ENGINE_OK;
  const int result = whole_window(STREAM->position);
  if (result == KWS_ENGINE_OK) s.totals.inferences++;
  return result;
}
