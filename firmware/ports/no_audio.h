/* The audio functions of a port without a microphone: to be included once, by one of its sources. */
#include "port.h"

int port_audio_start(uint32_t sample_rate_hz) {
  (void)sample_rate_hz;
  return -1;
}
size_t port_audio_read(int16_t *out, size_t max, uint32_t *dropped) {
  (void)out;
  (void)max;
  *dropped = 0;
  return 0;
}
void port_audio_stop(void) {}
