/* As much of Arduino's public API as firmware/ports/arduino uses, for a Linux process; see arduino_stub.cpp. */
#ifndef ARDUINO_STUB_H
#define ARDUINO_STUB_H

#include <stddef.h>
#include <stdint.h>

#define HIGH 1
#define LOW 0
#define OUTPUT 1
#define LED_BUILTIN 13
#define F_CPU 64000000L

void setup();
void loop();

unsigned long millis();
unsigned long micros();
void delay(unsigned long ms);
void delayMicroseconds(unsigned int us);
void pinMode(int pin, int mode);
void digitalWrite(int pin, int value);
void interrupts();
void noInterrupts();
extern "C" void NVIC_SystemReset(void);

class SerialStub {
 public:
  void begin(unsigned long baud);
  int available();
  int read();
  size_t write(const uint8_t *data, size_t n);
  void flush();
  operator bool();
};
extern SerialStub Serial;

#endif
