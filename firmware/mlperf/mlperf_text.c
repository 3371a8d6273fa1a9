#include "mlperf_text.h"

#include "port.h"

static char waiting[64];
static size_t filled;

void text_flush(void) {
  port_watchdog_feed();
  if (filled) port_serial_write((const uint8_t *)waiting, filled); /* what a host does not take is its own loss */
  filled = 0;
}

static void put(char c) {
  if (filled == sizeof waiting) text_flush();
  waiting[filled++] = c;
}

void text_put(const char *text) {
  while (*text) put(*text++);
}

void text_number(uint64_t value) {
  char digits[20]; /* 2^64 has as many */
  size_t n = 0;
  do {
    digits[n++] = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  while (n) put(digits[--n]);
}

void text_hex(uint8_t value) {
  static const char digits[] = "0123456789abcdef";
  put(digits[value >> 4]);
  put(digits[value & 15]);
}

void text_thousandths(float value) {
  if (value < 0) {
    put('-');
    value = -value;
  }
  /* A quantised value is at most 255 steps of its scale; a scale beyond all reason must not leave the integer's range. */
  const uint32_t n = value < 4000000.0f ? (uint32_t)(value * 1000.0f) : 4000000000u;
  text_number(n / 1000);
  put('.');
  put((char)('0' + n / 100 % 10));
  put((char)('0' + n / 10 % 10));
  put((char)('0' + n % 10));
}

void text_echo(const char *text, size_t most) {
  for (; *text && most; text++, most--) put(*text >= ' ' && *text <= '~' ? *text : '?');
}
