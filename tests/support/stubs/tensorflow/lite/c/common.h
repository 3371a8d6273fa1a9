// Stand-in with the names of TensorFlow Lite's C API; see tests/support/stubs/README.md.
#ifndef TENSORFLOW_LITE_C_COMMON_H_
#define TENSORFLOW_LITE_C_COMMON_H_

#include <cstddef>
#include <cstdint>

#ifdef KWS_STUB_MICRO // newer trees
namespace tflite {
namespace micro {
#endif

typedef enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 } TfLiteStatus;

typedef enum { kTfLiteNoType = 0, kTfLiteFloat32 = 1, kTfLiteInt32 = 2, kTfLiteUInt8 = 3, kTfLiteInt8 = 9 } TfLiteType;

typedef struct TfLiteQuantizationParams {
  float scale;
  int32_t zero_point;
} TfLiteQuantizationParams;

typedef union TfLitePtrUnion {
  void *data;
  float *f;
  uint8_t *uint8;
  int8_t *int8;
} TfLitePtrUnion;

typedef struct TfLiteTensor {
  TfLiteType type;
  TfLitePtrUnion data;
  TfLiteQuantizationParams params;
  size_t bytes;
} TfLiteTensor;

#ifdef KWS_STUB_MICRO
} // namespace micro
} // namespace tflite
namespace stub {
using namespace tflite::micro;
}
#endif

namespace stub {
// What a test sets before kws_engine_load() and reads afterwards.
struct State {
  uint32_t schema_version = 3;
  unsigned operators_failing_from = 1000; // the number of operators that the resolver takes
  bool allocate_fails = false, invoke_fails = false;
  TfLiteType type = kTfLiteInt8;
  size_t input_bytes = 0, output_bytes = 0, arena_size = 0;
  int32_t input_zero_point = 0;
  const void *model = nullptr;
  unsigned operators = 0, invokes = 0, resets = 0;
  char names[2000] = {0}; // of the operators added, each with a space behind it
};
inline State state;
} // namespace stub

#endif
