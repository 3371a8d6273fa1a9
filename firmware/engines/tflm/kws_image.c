#include "kws_image.h"

#include "engine.h"

_Static_assert(KWS_NUM_MODELS == 1, "engine tflm runs one model");

extern const kws_fe_tables_t kws_frontend_tables;

static int8_t *input(void *memory) {
  (void)memory;
  return kws_engine_input();
}

static int invoke(void *memory) {
  (void)memory;
  return kws_engine_invoke();
}

static const int8_t *output(void *memory) {
  (void)memory;
  return kws_engine_output();
}

static void reset(void *memory) {
  (void)memory;
  kws_engine_reset();
}

static const kws_network_t network = {input, invoke, output, reset};
#ifdef KWS_LOOK_STEPS
static const int8_t look_weights[] = KWS_LOOK_WEIGHTS, look_out[] = KWS_LOOK_OUT;
static const int32_t look_bias[] = KWS_LOOK_BIAS;
static const kws_look_t look = {
    .steps = KWS_LOOK_STEPS,
    .hidden = KWS_LOOK_HIDDEN,
    .shift = KWS_LOOK_SHIFT,
    .out_shift = KWS_LOOK_OUT_SHIFT,
    .frames = KWS_LOOK_FRAMES,
    .out_bias = KWS_LOOK_OUT_BIAS,
    .weights = look_weights,
    .bias = look_bias,
    .out = look_out,
};
#define LOOK &look
#else
#define LOOK NULL
#endif

static const kws_model_t model = {
    .name = KWS_MODEL_NAME,
    .network = &network,
    .num_labels = KWS_NUM_LABELS,
    .window_frames = KWS_WINDOW_FRAMES,
    .step_frames = KWS_ENGINE_STEP_FRAMES,
    .slots = KWS_WINDOW_FRAMES,
    .stride_frames = KWS_STRIDE_HOPS,
    .output_flip = 0x80,
    .input_zero_point = KWS_INPUT_ZERO_POINT,
    .feature_shift = KWS_FEATURE_SHIFT,
    .feature_multiplier = KWS_FEATURE_MULTIPLIER,
    .detector =
        {
            .num_labels = KWS_NUM_LABELS,
            .window = KWS_DET_WINDOW,
            .min_count = KWS_DET_MIN_COUNT,
            .rest = KWS_DET_REST,
            .refractory_samples = KWS_DET_REFRACTORY,
            .threshold = KWS_DET_THRESHOLDS,
            .look = LOOK,
        },
    .track_at = offsetof(kws_state_t, track),
    .window_at = offsetof(kws_state_t, window0),
};

const kws_image_t kws_image = {.frontend = &kws_frontend_tables, .models = &model, .num_models = 1};
