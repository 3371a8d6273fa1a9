// The engine over TensorFlow Lite Micro's public API. Needs its sources or library, which are not part of this
// project. Nothing is allocated outside the static buffers. Names are looked up as model_resolver.h says.
#include <new>

#include "engine.h"
#include "model_config.h"
#include "model_data.h"
#include "model_resolver.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

static_assert(KWS_MODEL_DATA_ID == KWS_MODEL_ID, "model_data and model_config are of different models");
static_assert(KWS_RESOLVER_MODEL_ID == KWS_MODEL_ID, "model_resolver and model_config are of different models");

namespace kws_tflm {
namespace {

alignas(16) uint8_t arena[KWS_TFLM_ARENA_BYTES];
// Placement new: no constructor before main and no destructor at exit.
alignas(OpResolver) uint8_t resolver_memory[sizeof(OpResolver)];
alignas(MicroInterpreter) uint8_t interpreter_memory[sizeof(MicroInterpreter)];
MicroInterpreter *interpreter;
kws_engine_info_t info = {"tflm", KWS_MODEL_HASH, KWS_INPUT_BYTES, KWS_OUTPUT_BYTES, 0, 0, KWS_WINDOW_FRAMES, 0};

bool is_int8(const TfLiteTensor *tensor, size_t bytes) {
  return tensor != nullptr && tensor->type == kTfLiteInt8 && tensor->bytes == bytes;
}

} // namespace

extern "C" int kws_engine_load(void) {
  interpreter = nullptr;
  const Model *model = GetModel(kws_model_data);
  if (model->version() != TFLITE_SCHEMA_VERSION) return KWS_ENGINE_ESCHEMA;
  auto *resolver = new (resolver_memory) OpResolver;
  if (!add_operators(resolver)) return KWS_ENGINE_EOP;
  auto *made = new (interpreter_memory) MicroInterpreter(model, *resolver, arena, sizeof arena);
  if (made->AllocateTensors() != kTfLiteOk) return KWS_ENGINE_EARENA;
  const TfLiteTensor *input = made->input(0);
  if (!is_int8(input, KWS_INPUT_BYTES) || input->params.zero_point != KWS_INPUT_ZERO_POINT ||
      !is_int8(made->output(0), KWS_OUTPUT_BYTES)) {
    return KWS_ENGINE_ESCHEMA;
  }
  info.arena_bytes = static_cast<uint32_t>(made->arena_used_bytes());
  interpreter = made;
  return KWS_ENGINE_OK;
}

extern "C" int8_t *kws_engine_input(void) {
  return interpreter != nullptr ? interpreter->input(0)->data.int8 : nullptr;
}

extern "C" int kws_engine_invoke(void) {
  if (interpreter == nullptr) return KWS_ENGINE_ESTATE;
  return interpreter->Invoke() == kTfLiteOk ? KWS_ENGINE_OK : KWS_ENGINE_EINVOKE;
}

extern "C" const int8_t *kws_engine_output(void) {
  return interpreter != nullptr ? interpreter->output(0)->data.int8 : nullptr;
}

extern "C" void kws_engine_reset(void) {
  // Clears resource variables; its status can only tell that they could not be, which the next invoke tells too.
  if (interpreter != nullptr) (void)interpreter->Reset();
}

extern "C" const kws_engine_info_t *kws_engine_info(void) { return &info; }

} // namespace kws_tflm
