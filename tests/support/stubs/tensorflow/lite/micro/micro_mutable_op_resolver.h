// Stand-in for the resolver; see tests/support/stubs/README.md.
#ifndef TENSORFLOW_LITE_MICRO_MICRO_MUTABLE_OP_RESOLVER_H_
#define TENSORFLOW_LITE_MICRO_MICRO_MUTABLE_OP_RESOLVER_H_

#include <cstring>

#include "tensorflow/lite/c/common.h"

namespace tflite {
#ifdef KWS_STUB_MICRO
namespace micro {
#endif

class MicroOpResolver {
public:
  virtual ~MicroOpResolver() {}

private:
  void operator delete(void *) {} // as in the original: nobody deletes through the base
};

template <unsigned int tOpCount> class MicroMutableOpResolver : public MicroOpResolver {
public:
  explicit MicroMutableOpResolver() {
    stub::state.operators = 0;
    stub::state.names[0] = 0;
  }
#define KWS_STUB_ADD(name) \
  TfLiteStatus Add##name() { return add(#name " "); }
  KWS_STUB_ADD(Add)
  KWS_STUB_ADD(AveragePool2D)
  KWS_STUB_ADD(Conv2D)
  KWS_STUB_ADD(DepthwiseConv2D)
  KWS_STUB_ADD(ExpandDims)
  KWS_STUB_ADD(FullyConnected)
  KWS_STUB_ADD(MaxPool2D)
  KWS_STUB_ADD(Mean)
  KWS_STUB_ADD(Pad)
  KWS_STUB_ADD(Quantize)
  KWS_STUB_ADD(Relu)
  KWS_STUB_ADD(Relu6)
  KWS_STUB_ADD(Reshape)
  KWS_STUB_ADD(Softmax)
  KWS_STUB_ADD(Squeeze)
#undef KWS_STUB_ADD

private:
  void operator delete(void *) {}
  TfLiteStatus add(const char *name) {
    if (stub::state.operators >= tOpCount || stub::state.operators >= stub::state.operators_failing_from) {
      return kTfLiteError;
    }
    stub::state.operators++;
    std::strcat(stub::state.names, name);
    return kTfLiteOk;
  }
};

#ifdef KWS_STUB_MICRO
} // namespace micro
#endif
} // namespace tflite

#endif
