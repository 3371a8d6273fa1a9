#include "app_stream.h"

#include <string.h>

#include "app_profile.h"
#include "app_watch.h"
#include "engine.h"
#include "kws_frontend.h"
#include "model_config.h"
#include "port.h"

/* That the engine's model is the one of model_config.h is asserted in the engine, and by its hash at the start. */
_Static_assert(KWS_WINDOW_FRAMES * KWS_CHANNELS == KWS_INPUT_BYTES, "the window is not the model's input");
_Static_assert(KWS_NUM_LABELS == KWS_OUTPUT_BYTES, "one output for each label");
_Static_assert(KWS_NUM_LABELS >= 2 && KWS_NUM_LABELS <= KWS_DET_MAX_LABELS, "labels");
_Static_assert(KWS_INPUT_BYTES <= 0xFFFF, "INFER_FEATURES counts in 16 bits");

extern const kws_fe_tables_t kws_frontend_tables;

#define RING_SAMPLES 1024u /* a power of two; 64 ms, and room for two hops while a frame of the link comes in */
_Static_assert((RING_SAMPLES & (RING_SAMPLES - 1)) == 0, "ring");

static struct {
  int engine_error;
  uint8_t active, mode, flags;
  uint16_t stride, hops_until_inference;
  app_stream_totals_t totals;
  uint32_t ring_in, ring_out; /* samples ever written and read */
  uint32_t index;             /* inferences since start */
  uint32_t frontend_ticks, frontend_frames;
  uint32_t window_next;   /* the slot of the window that the next frame goes to: the oldest */
  uint32_t engine_frames; /* frames that a streaming engine has not seen yet */
  uint32_t lost;          /* samples, since reset */
  uint32_t position;      /* samples at the end of the last frame */
} s;

static int16_t ring[RING_SAMPLES];
static int8_t window[KWS_WINDOW_FRAMES][KWS_CHANNELS];
static kws_fe_state_t frontend;
static kws_detector_t detector;

static const kws_detector_config_t detector_default = {
    .num_labels = KWS_NUM_LABELS,
    .window = KWS_DET_WINDOW,
    .min_count = KWS_DET_MIN_COUNT,
    .refractory_samples = KWS_DET_REFRACTORY,
    .threshold = KWS_DET_THRESHOLDS,
};

static uint32_t step_frames(void) { return kws_engine_info()->step_frames; }

int app_stream_init(void) {
  memset(&s, 0, sizeof s);
  s.engine_error = kws_engine_load();
  if (kws_fe_init(&frontend, &kws_frontend_tables) != 0 || kws_detector_init(&detector, &detector_default) != 0) {
    s.engine_error = KWS_ENGINE_ESCHEMA; /* made for another configuration */
  }
  if (s.engine_error == KWS_ENGINE_OK) {
    const kws_engine_info_t *info = kws_engine_info();
    const uint32_t frames = info->step_frames ? info->step_frames : KWS_WINDOW_FRAMES;
    if (info->input_bytes != frames * KWS_CHANNELS || info->output_bytes != KWS_OUTPUT_BYTES ||
        KWS_WINDOW_FRAMES % frames != 0 || strcmp(info->model_hash, KWS_MODEL_HASH) != 0) {
      s.engine_error = KWS_ENGINE_ESCHEMA;
    }
  }
  return s.engine_error;
}

int app_stream_engine_error(void) { return s.engine_error; }
int app_stream_active(void) { return s.active; }
int app_stream_takes_data(void) { return s.active && !(s.flags & APP_FLAG_MICROPHONE); }
uint32_t app_stream_lost_since_reset(void) { return s.lost; }
int8_t *app_stream_window(void) { return &window[0][0]; }
const kws_detector_config_t *app_stream_detector(void) { return &detector.config; }
int app_stream_set_detector(const kws_detector_config_t *config) { return kws_detector_init(&detector, config); }
void app_stream_totals(app_stream_totals_t *out) { *out = s.totals; }

static void clear_state(void) {
  memset(&s.totals, 0, sizeof s.totals);
  s.ring_in = s.ring_out = 0;
  s.frontend_ticks = s.frontend_frames = 0;
  s.window_next = s.engine_frames = s.position = 0;
  memset(window, KWS_INPUT_ZERO_POINT, sizeof window);
  kws_fe_reset(&frontend);
  kws_detector_reset(&detector);
  kws_engine_reset();
}

int app_stream_start(uint8_t mode, uint8_t flags, uint16_t stride) {
  app_stream_abort();
  clear_state();
  s.mode = mode;
  s.flags = flags;
  s.stride = stride ? stride : KWS_STRIDE_HOPS;
  s.hops_until_inference = KWS_WINDOW_FRAMES;
  if ((flags & APP_FLAG_MICROPHONE) && port_audio_start(KWS_SAMPLE_RATE) != 0) return -1;
  s.active = 1;
  return 0;
}

void app_stream_abort(void) {
  if (s.active && (s.flags & APP_FLAG_MICROPHONE)) port_audio_stop();
  s.active = 0;
  clear_state();
}

int app_stream_has_room(size_t samples) { return RING_SAMPLES - (s.ring_in - s.ring_out) >= samples; }

void app_stream_push(const uint8_t *samples, size_t n) {
  for (size_t i = 0; i < n; i++) {
    ring[(s.ring_in + i) % RING_SAMPLES] = (int16_t)(samples[2 * i] | (samples[2 * i + 1] << 8));
  }
  s.ring_in += n;
  s.totals.samples += n;
}

static void take_microphone(void) {
  while (app_stream_has_room(1)) {
    const size_t at = s.ring_in % RING_SAMPLES;
    size_t room = RING_SAMPLES - (s.ring_in - s.ring_out);
    if (room > RING_SAMPLES - at) room = RING_SAMPLES - at;
    uint32_t dropped = 0;
    const size_t n = port_audio_read(ring + at, room, &dropped);
    s.totals.dropped += dropped;
    s.lost += dropped;
    s.ring_in += n;
    s.totals.samples += n;
    if (n < room) return;
  }
}

static void send_result(uint32_t inference_ticks, uint32_t detector_ticks) {
  const app_result_t r = {
      .index = s.index++,
      .position = s.position,
      .frontend_ticks = s.frontend_ticks,
      .frontend_frames = s.frontend_frames,
      .inference_ticks = inference_ticks,
      .detector_ticks = detector_ticks,
      .output = kws_engine_output(),
  };
  s.frontend_ticks = s.frontend_frames = 0;
  app_send_result(&r);
}

/* Runs the engine on `frames` of the window beginning with slot `first`; ticks are added to *ticks. */
static int invoke(uint32_t first, uint32_t frames, uint32_t *ticks) {
  int8_t *input = kws_engine_input();
  const uint32_t to_end = KWS_WINDOW_FRAMES - first;
  const uint32_t head = frames < to_end ? frames : to_end;
  memcpy(input, window[first], head * KWS_CHANNELS);
  memcpy(input + head * KWS_CHANNELS, window[0], (frames - head) * KWS_CHANNELS);
  if (*ticks == 0) app_profile_clear();
  const stopwatch_t watch = watch_start();
  app_profile_start();
  const int result = kws_engine_invoke();
  *ticks += watch_stop(watch);
  return result;
}

/* A whole window from the state of a reset, whichever kind of engine it is. */
static int invoke_window(uint32_t first, uint32_t *ticks) {
  const uint32_t step = step_frames();
  if (step == 0) return invoke(first, KWS_WINDOW_FRAMES, ticks);
  kws_engine_reset();
  int result = KWS_ENGINE_OK;
  for (uint32_t i = 0; i < KWS_WINDOW_FRAMES && result == KWS_ENGINE_OK; i += step) {
    result = invoke((first + i) % KWS_WINDOW_FRAMES, step, ticks);
  }
  return result;
}

int app_stream_infer_window(void) {
  if (s.engine_error != KWS_ENGINE_OK) return s.engine_error;
  uint32_t ticks = 0;
  s.position = 0;
  const int result = invoke_window(0, &ticks);
  if (result == KWS_ENGINE_OK) send_result(ticks, 0);
  return result;
}

/* Continuous mode, after each frame. */
static void hop(void) {
  uint32_t inference_ticks = 0;
  const uint32_t step = step_frames();
  if (step) { /* a streaming plan must see every frame, asked or not */
    if (++s.engine_frames < step) {
      if (s.hops_until_inference > 1) s.hops_until_inference--;
      return;
    }
    s.engine_frames = 0;
    const uint32_t first = (s.window_next + KWS_WINDOW_FRAMES - step) % KWS_WINDOW_FRAMES;
    if (invoke(first, step, &inference_ticks) != KWS_ENGINE_OK) {
      app_log(3, "the engine failed");
      return;
    }
  }
  if (s.hops_until_inference > 1) {
    s.hops_until_inference--;
    return;
  }
  s.hops_until_inference = s.stride;
  if (!step && invoke(s.window_next, KWS_WINDOW_FRAMES, &inference_ticks) != KWS_ENGINE_OK) {
    app_log(3, "the engine failed");
    return;
  }
  s.totals.inferences++;
  kws_detection_t detection;
  const stopwatch_t watch = watch_start();
  const int fired = kws_detector_step(&detector, kws_engine_output(), s.position, &detection);
  const uint32_t detector_ticks = watch_stop(watch);
  if (s.flags & APP_FLAG_RESULTS) send_result(inference_ticks, detector_ticks);
  if (fired) app_send_detection(&detection);
}

int app_stream_process(void) {
  if (!s.active) return 0;
  if (s.flags & APP_FLAG_MICROPHONE) take_microphone();
  const uint32_t waiting = s.ring_in - s.ring_out;
  if (waiting == 0) return 0;
  const uint32_t at = s.ring_out % RING_SAMPLES;
  const uint32_t run = waiting < RING_SAMPLES - at ? waiting : RING_SAMPLES - at;
  uint16_t features[KWS_CHANNELS];
  size_t consumed = 0;
  const stopwatch_t watch = watch_start();
  const int whole = kws_fe_process(&frontend, ring + at, run, &consumed, features);
  s.frontend_ticks += watch_stop(watch);
  s.ring_out += consumed;
  if (!whole) return 1;
  s.frontend_frames++;
  s.position = KWS_WINDOW_SAMPLES + s.totals.frames * KWS_HOP_SAMPLES;
  int8_t *slot = window[s.window_next];
  for (size_t i = 0; i < KWS_CHANNELS; i++) {
    slot[i] = kws_fe_quantize(features[i], KWS_FEATURE_MULTIPLIER, KWS_FEATURE_SHIFT, KWS_INPUT_ZERO_POINT);
  }
  s.window_next = s.window_next + 1 == KWS_WINDOW_FRAMES ? 0 : s.window_next + 1;
  if (s.flags & APP_FLAG_FEATURES) app_send_features(s.totals.frames, features);
  s.totals.frames++;
  if (s.mode == APP_MODE_CONTINUOUS) hop();
  return 1;
}

int app_stream_finish(void) {
  if (s.flags & APP_FLAG_MICROPHONE) {
    take_microphone();
    port_audio_stop();
    s.flags &= (uint8_t)~APP_FLAG_MICROPHONE;
  }
  while (app_stream_process()) {
  }
  s.active = 0;
  if (s.mode != APP_MODE_CLIP) return KWS_ENGINE_OK;
  uint32_t ticks = 0;
  const int result = invoke_window(s.window_next, &ticks);
  if (result != KWS_ENGINE_OK) return result;
  s.totals.inferences++;
  send_result(ticks, 0);
  return result;
}
