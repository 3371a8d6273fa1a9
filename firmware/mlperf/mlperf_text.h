/* Text to the host, piece by piece, without printf: what is sent has no length that somebody else chooses. */
#ifndef MLPERF_TEXT_H
#define MLPERF_TEXT_H

#include <stddef.h>
#include <stdint.h>

void text_put(const char *text);
void text_number(uint64_t value);
void text_hex(uint8_t value);                  /* two digits */
void text_thousandths(float value);            /* "0.996": three digits, cut off, as the reference prints */
void text_echo(const char *text, size_t most); /* what came from outside: printable characters, at most that many */
void text_flush(void); /* to the port, and tells the watchdog that we live: 9600 baud are slow */

#endif
