/* The way of a sample: ring -> front end -> feature window -> engine -> detector. Used by kws_app.c only. */
#ifndef APP_STREAM_H
#define APP_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "kws_detector.h"

enum { APP_MODE_CLIP = 0, APP_MODE_CONTINUOUS = 1 };
enum { APP_FLAG_FEATURES = 1, APP_FLAG_RESULTS = 2, APP_FLAG_MICROPHONE = 4, APP_FLAG_AUDIO = 8, APP_FLAG_ADPCM = 16 };
#define APP_FLAGS 31u /* all of them; ADPCM only with AUDIO */

typedef struct {
  uint32_t samples; /* taken since STREAM_START */
  uint32_t frames, inferences;
  uint32_t dropped; /* samples that never reached the front end */
} app_stream_totals_t;

int app_stream_init(void); /* KWS_ENGINE_OK or the engine's error */
int app_stream_engine_error(void);
int app_stream_start(uint8_t mode, uint8_t flags, uint16_t stride); /* 0, or -1: no microphone */
void app_stream_push(const uint8_t *samples, size_t n);             /* n little-endian int16; needs room */
int app_stream_finish(void); /* uses up what waits; in clip mode the inference. An engine result. */
void app_stream_abort(void); /* no events; front end, detector and engine as after a reset */
int app_stream_active(void);
int app_stream_takes_data(void); /* active, and not from the microphone */
int app_stream_has_room(size_t samples);
int app_stream_process(void); /* at most one frame; 0 if nothing waited */
void app_stream_totals(app_stream_totals_t *out);
uint32_t app_stream_lost_since_reset(void);
int8_t *app_stream_window(void); /* KWS_INPUT_BYTES; writable while no stream is active */
int app_stream_infer_window(void);
/* Of all models, one after the other; what is not a threshold is the first one's. */
void app_stream_detector(kws_detector_config_t *out);
/* Its look is the model's. Where there are several models, only thresholds may differ from what app_stream_detector() gave:
 * all else is each model's own. 0, or -1: out of range. */
int app_stream_set_detector(const kws_detector_config_t *config);

#endif
