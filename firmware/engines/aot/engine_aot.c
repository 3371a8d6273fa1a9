/* The engine over the plan that model_pipeline/compiler made of the model. */
#include "engine.h"
#include "model_aot.h"
#include "model_config.h"

_Static_assert(KWS_AOT_MODEL_ID == KWS_MODEL_ID, "model_aot and model_config are of different models");
_Static_assert(KWS_AOT_INPUT_BYTES ==
                   (KWS_AOT_STEP_FRAMES ? KWS_AOT_STEP_FRAMES * KWS_CHANNELS : KWS_INPUT_BYTES), "input size");
_Static_assert(KWS_AOT_OUTPUT_BYTES == KWS_OUTPUT_BYTES, "output size");
_Static_assert(KWS_AOT_INPUT_ZERO_POINT == KWS_INPUT_ZERO_POINT, "input zero point");
_Static_assert(KWS_AOT_INPUT_SCALE_BITS == KWS_INPUT_SCALE_BITS, "input scale");
_Static_assert(KWS_AOT_OUTPUT_BYTES == KWS_NUM_LABELS, "one output a label");

static int loaded;

int kws_engine_load(void) {
  kws_aot_reset();
  loaded = 1;
  return KWS_ENGINE_OK;
}

int8_t *kws_engine_input(void) { return kws_aot_input(); }

int kws_engine_invoke(void) {
  if (!loaded) return KWS_ENGINE_ESTATE;
  kws_aot_invoke();
  return KWS_ENGINE_OK;
}

const int8_t *kws_engine_output(void) { return kws_aot_output(); }

void kws_engine_reset(void) { kws_aot_reset(); }

const kws_engine_info_t *kws_engine_info(void) {
  static const kws_engine_info_t info = {
      .name = "aot",
      .model_hash = KWS_AOT_MODEL_HASH,
      .input_bytes = KWS_AOT_INPUT_BYTES,
      .output_bytes = KWS_AOT_OUTPUT_BYTES,
      .arena_bytes = KWS_AOT_ARENA_BYTES,
      .macs = KWS_AOT_MACS,
      .window_frames = KWS_WINDOW_FRAMES,
      .step_frames = KWS_AOT_STEP_FRAMES,
  };
  return &info;
}
