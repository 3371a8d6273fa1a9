/* As much of the API of Arduino's mbed core as firmware/ports/arduino uses, for a Linux process; see arduino_stub.cpp. The
 * names, types and macros are those of ArduinoCore-mbed b4ad4e7 with its variant ARDUINO_NANO33BLE, and nothing is declared
 * that is not there: F_CPU is not, for one. */
#ifndef ARDUINO_STUB_H
#define ARDUINO_STUB_H

#include <stddef.h>
#include <stdint.h>
#include <string.h> /* as api/String.h does */

typedef enum { LOW = 0, HIGH = 1, CHANGE = 2, FALLING = 3, RISING = 4 } PinStatus;
/* The variant's own, in the place of the general API's. */
typedef enum {
  PullNone = 0,
  PullDown = 1,
  PullUp = 3,
  PullDefault = PullNone,
  INPUT = 0,
  OUTPUT = 1,
  INPUT_PULLUP = 2,
  INPUT_PULLDOWN = 3
} PinMode;
typedef uint8_t pin_size_t;

extern "C" {
extern uint32_t SystemCoreClock; /* CMSIS */
void NVIC_SystemReset(void);
void __enable_irq(void);
void __disable_irq(void);
void setup(void);
void loop(void);
unsigned long millis(void);
unsigned long micros(void);
void delay(unsigned long);
void delayMicroseconds(unsigned int us);
void yield(void);
void digitalWrite(pin_size_t pinNumber, PinStatus status);
PinStatus digitalRead(pin_size_t pinNumber);
}
void pinMode(pin_size_t pinNumber, PinMode pinMode);

#define abs(x) ((x) > 0 ? (x) : -(x))
#define interrupts() __enable_irq()
#define noInterrupts() __disable_irq()

#define PIN_LED (13u)
#define LED_BUILTIN PIN_LED
#define PIN_PDM_PWR (27)
#define PIN_PDM_CLK (28)
#define PIN_PDM_DIN (29)

namespace arduino {

class UART {
public:
  void begin(unsigned long);
  void end();
  int available(void);
  int peek(void);
  int read(void);
  void flush(void);
  size_t write(uint8_t c);
  size_t write(const uint8_t *, size_t);
  /* Of Print, which a sketch uses. */
  size_t print(const char[]);
  size_t print(char);
  size_t println(const char[]);
  size_t println(unsigned char, int = 10);
  operator bool();
};

} // namespace arduino
using namespace arduino;

extern arduino::UART _UART_USB_;
#define Serial _UART_USB_
#define SerialUSB _UART_USB_

#endif
