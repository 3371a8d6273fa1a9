/* As the generated one of a compiled plan, for the one model that TensorFlow Lite Micro runs in memory of its own. */
#ifndef KWS_IMAGE_H
#define KWS_IMAGE_H

#include "kws_stream.h"
#include "model_config.h"

#define KWS_IMAGE_MODELS 1
#ifndef KWS_ENGINE_STEP_FRAMES
#define KWS_ENGINE_STEP_FRAMES 0 /* an invoke takes the whole window */
#endif

typedef struct {
  kws_stream_t stream; /* first */
  kws_track_t track[KWS_IMAGE_MODELS];
  int8_t window0[KWS_WINDOW_FRAMES * KWS_CHANNELS];
} kws_state_t;

extern const kws_image_t kws_image;

#endif
