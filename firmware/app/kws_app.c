#include "kws_app.h"

#include <string.h>

#include "app_profile.h"
#include "app_report.h"
#include "app_stream.h"
#include "engine.h"
#include "kws_image.h"
#include "kws_link.h"
#include "model_config.h"
#include "port.h"
#if __has_include("kws_build.h")
#include "kws_build.h" /* made by the build: board, version, build id */
#else                  /* of another build system, which may define them */
#ifndef KWS_BOARD_ID
#define KWS_BOARD_ID "unknown"
#endif
#ifndef KWS_FIRMWARE_VERSION
#define KWS_FIRMWARE_VERSION "unknown"
#endif
#ifndef KWS_BUILD_ID
#define KWS_BUILD_ID "unknown"
#endif
#endif

#define INFO_MORE_BYTES 3 /* of the field that says "more follows" */
#define DIE_MAGIC 0x5AFEDEADu

static int fault_pending;
/* Feature values of INFER_FEATURES that came so far. */
static uint16_t infer_filled;

static void send_stream_done(void) {
  app_stream_totals_t t;
  uint8_t p[16];
  app_stream_totals(&t);
  kws_put32(p, t.samples);
  kws_put32(p + 4, t.frames);
  kws_put32(p + 8, t.inferences);
  kws_put32(p + 12, t.dropped);
  app_send(KWS_EVT_STREAM_DONE, p, sizeof p);
}

/* ---- commands ---- */

static void on_hello(void) {
  uint8_t p[8];
  app_stream_abort(); /* whoever streamed before is gone */
  infer_filled = 0;
  kws_put16(p, KWS_LINK_PROTOCOL);
  kws_put16(p + 2, app_link.window);
  kws_put16(p + 4, KWS_LINK_MAX_PAYLOAD);
  p[6] = (uint8_t)port_reset_reason();
  p[7] = (uint8_t)fault_pending;
  app_send(KWS_EVT_HELLO_REPLY, p, sizeof p);
  const port_fault_t *fault = port_fault();
  if (fault_pending && fault) {
    const uint32_t values[7] = {fault->kind, fault->pc, fault->lr,       fault->cfsr,
                                fault->hfar, fault->sp, fault->uptime_ms};
    uint8_t record[28];
    for (size_t i = 0; i < 7; i++) kws_put32(record + 4 * i, values[i]);
    app_send(KWS_EVT_FAULT, record, sizeof record);
    fault_pending = 0;
  }
  if (app_stream_engine_error() != KWS_ENGINE_OK) app_log(KWS_LOG_ERROR, "the engine refused its model");
}

typedef struct {
  uint8_t bytes[KWS_LINK_MAX_PAYLOAD];
  size_t n;
} fields_t;

static void field(fields_t *f, uint8_t tag, const void *value, size_t len) {
  if (len > 255 || f->n + 2 + len > sizeof f->bytes) return; /* sizes are checked by a test of INFO */
  f->bytes[f->n] = tag;
  f->bytes[f->n + 1] = (uint8_t)len;
  memcpy(f->bytes + f->n + 2, value, len);
  f->n += 2 + len;
}

static void field_text(fields_t *f, uint8_t tag, const char *text) {
  size_t n = strlen(text);
  for (; n > 255; n -= 255, text += 255) field(f, tag, text, 255);
  field(f, tag, text, n);
}

static void field_words(fields_t *f, uint8_t tag, const uint32_t *values, size_t n) {
  uint8_t bytes[32];
  for (size_t i = 0; i < n; i++) kws_put32(bytes + 4 * i, values[i]);
  field(f, tag, bytes, 4 * n);
}

/* What does not fit goes over to a further INFO_REPLY, and a field tells so. */
static void info_room(fields_t *f, size_t len) {
  if (f->n + 2 + len + INFO_MORE_BYTES <= sizeof f->bytes) return;
  const uint8_t more = 1;
  field(f, KWS_INFO_MORE, &more, 1);
  app_send(KWS_EVT_INFO_REPLY, f->bytes, f->n);
  f->n = 0;
}

/* Of several models, which labels are whose. */
static void info_parts(fields_t *f) {
  for (uint32_t i = 0; KWS_NUM_MODELS > 1 && i < kws_image.num_models; i++) {
    const kws_model_t *const m = &kws_image.models[i];
    const kws_fe_tables_t *const t = m->ear ? kws_image.more[m->ear - 1] : kws_image.frontend;
    uint8_t p[8 + 128] = {(uint8_t)m->num_labels, m->role, m->detector.window, m->detector.rest};
    kws_put16(p + 4, t->hop_samples);
    kws_put16(p + 6, m->stride_frames);
    const size_t name = strnlen(m->name, sizeof p - 8);
    memcpy(p + 8, m->name, name);
    info_room(f, 8 + name);
    field(f, KWS_INFO_PART, p, 8 + name);
  }
}

static void on_info(void) {
  static fields_t f;
  const kws_engine_info_t *engine = kws_engine_info();
  const port_clock_t *clock = port_clock();
  port_memory_t memory;
  port_memory(&memory);
  f.n = 0;
  const uint32_t shape[8] = {KWS_SAMPLE_RATE,   KWS_WINDOW_SAMPLES, KWS_HOP_SAMPLES,  KWS_CHANNELS,
                             KWS_WINDOW_FRAMES, KWS_INPUT_BYTES,    KWS_OUTPUT_BYTES, KWS_STRIDE_HOPS};
  const uint32_t timer[5] = {clock->hz, clock->core_hz, clock->calibration_expected, clock->calibration_ticks, 0};
  const uint32_t space[5] = {engine->arena_bytes, engine->macs, memory.stack_bytes, memory.stack_used, memory.free_ram};
  field_words(&f, KWS_INFO_SHAPE, shape, 8);
  field_words(&f, KWS_INFO_TIMER, timer, 5);
  field_words(&f, KWS_INFO_MEMORY, space, 5);
  field_text(&f, KWS_INFO_TIMER_SOURCE, clock->source);
  field_text(&f, KWS_INFO_ENGINE, engine->name);
  field_text(&f, KWS_INFO_MODEL_HASH, engine->model_hash);
  field_text(&f, KWS_INFO_BOARD, KWS_BOARD_ID);
  field_text(&f, KWS_INFO_FIRMWARE, KWS_FIRMWARE_VERSION);
  field_text(&f, KWS_INFO_BUILD, KWS_BUILD_ID);
  kws_detector_config_t d;
  app_stream_detector(&d);
  uint8_t detector[9 + KWS_DET_MAX_LABELS] = {d.window, d.min_count, d.rest, 0};
  kws_put32(detector + 4, d.refractory_samples);
  detector[8] = d.num_labels;
  memcpy(detector + 9, d.threshold, d.num_labels);
  field(&f, KWS_INFO_DETECTOR, detector, 9u + d.num_labels);
  info_parts(&f);
  /* The labels can be long. */
  static const char labels[] = KWS_LABELS;
  size_t at = 0;
  while (at < sizeof labels - 1) {
    info_room(&f, 1);
    size_t part = sizeof labels - 1 - at;
    const size_t room = sizeof f.bytes - f.n - 2 - INFO_MORE_BYTES;
    if (part > 255) part = 255;
    if (part > room) part = room;
    field(&f, KWS_INFO_LABELS, labels + at, part);
    at += part;
  }
  app_send(KWS_EVT_INFO_REPLY, f.bytes, f.n);
}

static void on_stats(int clear) {
  /* The port counts since reset; this is what it had at the last clearing. */
  static port_serial_stats_t base;
  static uint32_t audio_base;
  port_serial_stats_t s;
  port_serial_stats(&s);
  const uint32_t audio = app_stream_lost_since_reset();
  const kws_link_stats_t *k = &app_link.stats;
  const uint32_t values[16] = {
      k->rx_frames,
      k->rx_malformed,
      k->rx_crc,
      k->rx_oversized,
      k->rx_length,
      k->rx_missing,
      k->rx_duplicate,
      k->rx_version,
      s.rx_ring_overflow - base.rx_ring_overflow,
      s.rx_overrun - base.rx_overrun,
      s.rx_framing - base.rx_framing,
      k->tx_frames,
      k->tx_dropped,
      s.rx_bytes - base.rx_bytes,
      s.tx_bytes - base.tx_bytes,
      audio - audio_base,
  };
  uint8_t p[64];
  for (size_t i = 0; i < 16; i++) kws_put32(p + 4 * i, values[i]);
  app_send(KWS_EVT_STATS_REPLY, p, sizeof p);
  if (clear) {
    memset(&app_link.stats, 0, sizeof app_link.stats);
    base = s;
    audio_base = audio;
  }
}

static void on_infer(uint16_t seq, const uint8_t *payload, uint16_t len) {
  const uint8_t command = KWS_CMD_INFER_FEATURES;
  if (len < 5) {
    app_send_error(command, KWS_ERROR_PAYLOAD, seq, "too short");
    return;
  }
  if (app_stream_active()) {
    app_send_error(command, KWS_ERROR_STATE, seq, "a stream is running");
    return;
  }
  if (KWS_NUM_MODELS > 1) {
    app_send_error(command, KWS_ERROR_UNSUPPORTED, seq, "there are several models");
    return;
  }
  const uint16_t offset = kws_get16(payload), total = kws_get16(payload + 2), n = (uint16_t)(len - 4);
  if (total != KWS_INPUT_BYTES) {
    infer_filled = 0;
    app_send_error(command, KWS_ERROR_PAYLOAD, seq, "total is not the model's input");
    return;
  }
  if (offset == 0) infer_filled = 0;
  if (offset != infer_filled || n > KWS_INPUT_BYTES - offset) {
    infer_filled = 0;
    app_send_error(command, KWS_ERROR_POSITION, seq, "offset is not the next one");
    return;
  }
  memcpy(app_stream_window() + offset, payload + 4, n);
  infer_filled = (uint16_t)(infer_filled + n);
  if (infer_filled < KWS_INPUT_BYTES) return;
  infer_filled = 0;
  if (app_stream_infer_window() != KWS_ENGINE_OK) app_send_error(command, KWS_ERROR_ENGINE, seq, "the engine failed");
}

static void on_stream_start(uint16_t seq, const uint8_t *payload, uint16_t len) {
  const uint8_t command = KWS_CMD_STREAM_START;
  if (len != 4 || payload[0] > 1 || (payload[1] & ~APP_FLAGS) ||
      ((payload[1] & APP_FLAG_MICROPHONE) && payload[0] == APP_MODE_CLIP) ||
      ((payload[1] & APP_FLAG_ADPCM) && !(payload[1] & APP_FLAG_AUDIO))) {
    app_send_error(command, KWS_ERROR_PAYLOAD, seq, "mode or flags");
    return;
  }
  if (app_stream_engine_error() != KWS_ENGINE_OK) {
    app_send_error(command, KWS_ERROR_ENGINE, seq, "the engine refused its model");
    return;
  }
  if (KWS_NUM_MODELS > 1 && payload[0] == APP_MODE_CLIP) {
    app_send_error(command, KWS_ERROR_UNSUPPORTED, seq, "there are several models");
    return;
  }
  infer_filled = 0; /* the window is the stream's now */
  if (app_stream_start(payload[0], payload[1], kws_get16(payload + 2)) != 0) {
    app_send_error(command, KWS_ERROR_UNSUPPORTED, seq, "no microphone on this board");
  }
}

static void on_stream_data(uint16_t seq, const uint8_t *payload, uint16_t len) {
  const uint8_t command = KWS_CMD_STREAM_DATA;
  if (len < 6 || (len & 1u)) {
    app_send_error(command, KWS_ERROR_PAYLOAD, seq, "no whole samples");
    return;
  }
  if (!app_stream_takes_data()) {
    app_send_error(command, KWS_ERROR_STATE, seq, "no stream was started");
    return;
  }
  app_stream_totals_t t;
  app_stream_totals(&t);
  if (kws_get32(payload) != t.samples) {
    app_send_error(command, KWS_ERROR_POSITION, seq, "position is not the next one");
    return;
  }
  app_stream_push(payload + 4, (size_t)(len - 4) / 2);
}

static void on_stream_stop(uint16_t seq, const uint8_t *payload, uint16_t len) {
  const uint8_t command = KWS_CMD_STREAM_STOP;
  if (len != 4) {
    app_send_error(command, KWS_ERROR_PAYLOAD, seq, "total is missing");
    return;
  }
  if (!app_stream_active()) {
    app_send_error(command, KWS_ERROR_STATE, seq, "no stream was started");
    return;
  }
  app_stream_totals_t t;
  app_stream_totals(&t);
  if (app_stream_takes_data() && kws_get32(payload) != t.samples) {
    app_send_error(command, KWS_ERROR_POSITION, seq, "total is not what came");
    return;
  }
  if (app_stream_finish() != KWS_ENGINE_OK) app_send_error(command, KWS_ERROR_ENGINE, seq, "the engine failed");
  send_stream_done();
}

static void on_reset(uint16_t seq, const uint8_t *payload, uint16_t len) {
  if (len != 1 || payload[0] > 1) {
    app_send_error(KWS_CMD_RESET, KWS_ERROR_PAYLOAD, seq, "kind");
    return;
  }
  app_stream_abort();
  infer_filled = 0;
  app_send(KWS_EVT_RESET_OK, payload, 1);
  if (payload[0] == 1) {
    kws_link_idle(&app_link); /* the host shall know that its command was taken */
    port_reset();
  }
}

static void on_set_detector(uint16_t seq, const uint8_t *payload, uint16_t len) {
  kws_detector_config_t c;
  memset(&c, 0, sizeof c);
  if (len < 9 || payload[8] != KWS_NUM_LABELS || len != 9 + KWS_NUM_LABELS) {
    app_send_error(KWS_CMD_SET_DETECTOR, KWS_ERROR_PAYLOAD, seq, "one threshold for each label is needed");
    return;
  }
  c.window = payload[0];
  c.min_count = payload[1];
  c.rest = payload[2];
  c.refractory_samples = kws_get32(payload + 4);
  c.num_labels = KWS_NUM_LABELS;
  memcpy(c.threshold, payload + 9, KWS_NUM_LABELS);
  if (app_stream_set_detector(&c) != 0) {
    app_send_error(KWS_CMD_SET_DETECTOR, KWS_ERROR_PAYLOAD, seq,
                   KWS_NUM_MODELS > 1 ? "only thresholds can be set" : "window or min_count");
    return;
  }
  const uint8_t n = KWS_NUM_LABELS;
  app_send(KWS_EVT_SET_DETECTOR_OK, &n, 1);
}

static void on_die(uint16_t seq, const uint8_t *payload, uint16_t len) {
  if (len != 5 || kws_get32(payload) != DIE_MAGIC || payload[4] > PORT_DIE_HANG) {
    app_send_error(KWS_CMD_DIE, KWS_ERROR_PAYLOAD, seq, "magic or kind");
    return;
  }
  kws_link_idle(&app_link);
  if (port_die((port_die_t)payload[4]) != 0)
    app_send_error(KWS_CMD_DIE, KWS_ERROR_UNSUPPORTED, seq, "not on this board");
}

static void on_profile(uint16_t seq) {
  if (!APP_PROFILE) {
    app_send_error(KWS_CMD_PROFILE, KWS_ERROR_UNSUPPORTED, seq, "built without --profile");
    return;
  }
  const uint32_t total = app_profile_calls();
  uint8_t p[KWS_LINK_MAX_PAYLOAD];
  uint32_t at = 0;
  do { /* one reply even for nothing */
    kws_put16(p, (uint16_t)at);
    kws_put16(p + 2, (uint16_t)total);
    size_t n = 4;
    for (; at < total && n + 4 <= sizeof p; n += 4) kws_put32(p + n, app_profile_ticks(at++));
    app_send(KWS_EVT_PROFILE_REPLY, p, n);
  } while (at < total);
}

static void on_frame(void *context, uint8_t type, uint16_t seq, const uint8_t *payload, uint16_t len) {
  (void)context;
  const int bare = len == 0;
  switch (type) {
    case KWS_CMD_HELLO:
      if (len >= 2) on_hello(); /* a later version may add to it */
      else app_send_error(type, KWS_ERROR_PAYLOAD, seq, "protocol is missing");
      return;
    case KWS_CMD_INFO:
      if (bare) on_info();
      else app_send_error(type, KWS_ERROR_PAYLOAD, seq, "takes nothing");
      return;
    case KWS_CMD_STATS:
      if (len == 1 && payload[0] <= 1) on_stats(payload[0]);
      else app_send_error(type, KWS_ERROR_PAYLOAD, seq, "clear is 0 or 1");
      return;
    case KWS_CMD_STREAM_START: on_stream_start(seq, payload, len); return;
    case KWS_CMD_STREAM_DATA: on_stream_data(seq, payload, len); return;
    case KWS_CMD_STREAM_STOP: on_stream_stop(seq, payload, len); return;
    case KWS_CMD_INFER_FEATURES: on_infer(seq, payload, len); return;
    case KWS_CMD_RESET: on_reset(seq, payload, len); return;
    case KWS_CMD_SET_DETECTOR: on_set_detector(seq, payload, len); return;
    case KWS_CMD_PROFILE:
      if (bare) on_profile(seq);
      else app_send_error(type, KWS_ERROR_PAYLOAD, seq, "takes nothing");
      return;
    case KWS_CMD_DIE: on_die(seq, payload, len); return;
    default: app_send_error(type, KWS_ERROR_UNKNOWN, seq, "unknown command"); return;
  }
}

/* ---- main loop ---- */

static size_t serial_write(void *context, const uint8_t *data, size_t n) {
  (void)context;
  return port_serial_write(data, n);
}

/* Bytes taken from the port that the link has not looked at yet. */
static uint8_t chunk[256];
static size_t chunk_at, chunk_len;

void kws_app_init(void) {
  uint8_t protocol[2];
  kws_put16(protocol, KWS_LINK_PROTOCOL);
  kws_link_init(&app_link, (uint16_t)(port_serial_capacity() / (KWS_LINK_MAX_RUN + 1)), serial_write, on_frame, NULL);
  fault_pending = port_fault() != NULL;
  const int error = app_stream_init();
  app_send(KWS_EVT_READY, protocol, sizeof protocol);
  if (error != KWS_ENGINE_OK) app_log(KWS_LOG_ERROR, "the engine refused its model");
}

int kws_app_poll(void) {
  int busy = app_stream_process();
  app_report_poll();
  /* With no room for the longest STREAM_DATA, bytes wait where they are: the host has credit for no more. */
  if (app_stream_takes_data() && !app_stream_has_room(KWS_LINK_MAX_PAYLOAD / 2)) return 1;
  if (chunk_at == chunk_len) {
    chunk_len = port_serial_read(chunk, sizeof chunk);
    chunk_at = 0;
  }
  if (chunk_at < chunk_len) {
    chunk_at += kws_link_receive(&app_link, chunk + chunk_at, chunk_len - chunk_at);
    busy = 1;
  } else {
    kws_link_idle(&app_link);
  }
  return busy;
}
