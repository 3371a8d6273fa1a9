// Stand-in for the generated schema; see tests/support/stubs/README.md.
#ifndef TENSORFLOW_LITE_SCHEMA_SCHEMA_GENERATED_H_
#define TENSORFLOW_LITE_SCHEMA_SCHEMA_GENERATED_H_

#include "tensorflow/lite/c/common.h"

namespace tflite {

struct Model {
  uint32_t version() const { return stub::state.schema_version; }
};

inline const Model *GetModel(const void *buffer) {
  static const Model model{};
  stub::state.model = buffer;
  return &model;
}

} // namespace tflite

#endif
