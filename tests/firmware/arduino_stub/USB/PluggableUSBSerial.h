/* What is behind Serial on a board with USB: the CDC device of the core, as far as it is used. */
#ifndef USBSERIAL_STUB_H
#define USBSERIAL_STUB_H

#include "Arduino.h"

#define CDC_MAX_PACKET_SIZE 64

namespace arduino {

class USBCDC {
public:
  bool send(uint8_t *buffer, uint32_t size);
  void send_nb(uint8_t *buffer, uint32_t size, uint32_t *actual, bool now = true);
};

class USBSerial : public USBCDC {
public:
  bool connected();
};

} // namespace arduino

extern arduino::USBSerial _SerialUSB;

#endif
