/* Arduino's PDM library, as far as it is used. */
#ifndef PDM_STUB_H
#define PDM_STUB_H

#include <stddef.h>

class PDMClass {
 public:
  int begin(int channels, int sample_rate);
  void end();
  int available();
  int read(void *buffer, size_t size);
  void onReceive(void (*callback)(void));
  void setBufferSize(int bytes);
  void setGain(int gain);
};
extern PDMClass PDM;

#endif
