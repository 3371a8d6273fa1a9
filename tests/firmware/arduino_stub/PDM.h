/* Arduino's PDM library, as far as it is used. */
#ifndef PDM_STUB_H
#define PDM_STUB_H

#include <Arduino.h>

class PDMClass {
public:
  PDMClass(int dinPin, int clkPin, int pwrPin);
  virtual ~PDMClass();

  int begin(int channels, int sampleRate);
  void end();
  virtual int available();
  virtual int read(void *buffer, size_t size);
  void onReceive(void (*)(void));
  void setGain(int gain);
  void setBufferSize(int bufferSize);
  size_t getBufferSize();

private:
  int _gain;
  size_t _size;
};
extern PDMClass PDM;

#endif
