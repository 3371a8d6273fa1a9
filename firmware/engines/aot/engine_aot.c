/* The engine over the plans that model_pipeline/compiler made of the models. */
#include "engine.h"
#include "kws_image.h"
#include "model_config.h"

_Static_assert(KWS_IMAGE_ID == KWS_MODEL_ID, "kws_image and model_config are of different models");
_Static_assert(KWS_IMAGE_MODELS == KWS_NUM_MODELS, "models");

int kws_engine_load(void) { return KWS_ENGINE_OK; }

const kws_engine_info_t *kws_engine_info(void) {
  static const kws_engine_info_t info = {
      .name = "aot",
      .model_hash = KWS_MODEL_HASH,
      .input_bytes = KWS_IMAGE_INPUT_BYTES,
      .output_bytes = KWS_OUTPUT_BYTES,
      .arena_bytes = KWS_IMAGE_ARENA_BYTES,
      .macs = KWS_IMAGE_MACS,
      .window_frames = KWS_WINDOW_FRAMES,
      .step_frames = KWS_IMAGE_STEP_FRAMES,
  };
  return &info;
}
