// Stand-in for the interpreter; see tests/support/stubs/README.md.
#ifndef TENSORFLOW_LITE_MICRO_MICRO_INTERPRETER_H_
#define TENSORFLOW_LITE_MICRO_MICRO_INTERPRETER_H_

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

#define TFLITE_SCHEMA_VERSION (3)

namespace tflite {
#ifdef KWS_STUB_MICRO
namespace micro {
#endif

class MicroResourceVariables;
class MicroProfilerInterface;

class MicroInterpreter {
public:
  MicroInterpreter(const Model *, const MicroOpResolver &, uint8_t *tensor_arena, size_t tensor_arena_size,
                   MicroResourceVariables * = nullptr, MicroProfilerInterface * = nullptr,
                   bool /*preserve_all_tensors*/ = false)
      : arena_(tensor_arena) {
    stub::state.arena_size = tensor_arena_size;
  }
  ~MicroInterpreter() {}

  TfLiteStatus AllocateTensors() {
    if (stub::state.allocate_fails) return kTfLiteError;
    const stub::State &s = stub::state;
    input_ = {s.type, {arena_}, {1.0f, s.input_zero_point}, s.input_bytes};
    output_ = {s.type, {arena_ + s.input_bytes}, {1.0f / 256, -128}, s.output_bytes};
    return kTfLiteOk;
  }
  TfLiteStatus Invoke() {
    stub::state.invokes++;
    return stub::state.invoke_fails ? kTfLiteError : kTfLiteOk;
  }
  TfLiteStatus Reset() {
    stub::state.resets++;
    return kTfLiteOk;
  }
  TfLiteTensor *input(size_t) { return &input_; }
  TfLiteTensor *output(size_t) { return &output_; }
  size_t arena_used_bytes() const { return stub::state.input_bytes + stub::state.output_bytes; }

private:
  void operator delete(void *) {}
  uint8_t *arena_;
  TfLiteTensor input_{}, output_{};
};

#ifdef KWS_STUB_MICRO
} // namespace micro
#endif
} // namespace tflite

#endif
