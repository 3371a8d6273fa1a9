/* What a C test program may use on the emulated Cortex-M4. It defines `int main(void)`; any result but 0, a fault,
 * and t_fail() are errors in Python. There is no heap and no printf. */
#ifndef KWS_TEST_M4_H
#define KWS_TEST_M4_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

size_t t_read(void *data, size_t n);      /* next bytes of the input; less than n at its end */
void t_write(const void *data, size_t n); /* appended to the output */
void t_fail(const char *message) __attribute__((noreturn));
void t_record(const char *name, uint32_t instructions); /* use t_end() */

/* uint32_t t = t_begin(); ...work...; t_end("work", t); regions may nest and repeat: Python gets sum and count.
 * Both ends are inline reads of TIM2->CNT: under -icount shift=0 one tick is one instruction. */
static inline uint32_t t_now(void) {
  uint32_t now;
  __asm__ volatile("ldr %0, [%1]" : "=r"(now) : "r"(0x40000024u) : "memory");
  return now;
}
static inline uint32_t t_begin(void) { return t_now(); }
static inline void t_end(const char *name, uint32_t begin) { t_record(name, t_now() - begin); }

#ifdef __cplusplus
}
#endif
#endif
