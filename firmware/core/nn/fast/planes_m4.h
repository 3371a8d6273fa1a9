/* What planes.h's columns of groups have in common in assembly, for the Cortex-M4.
 *
 * r0 weights, r1 data, r2 the first sum (before that the bias), r3 r4 weights, the rest as the shapes say. Stack:
 * 0 count, 4 pitch, 8 out_step, 12 data_step, 16 channels, 20 steps (all copies), 24 out, 28 data, 32 weights; x5: 36 rows,
 * 40 rows left; line: 20 turns, 36 entry of the loop, 40 entry of the stores. */
#ifndef KWS_FAST_PLANES_M4_H
#define KWS_FAST_PLANES_M4_H

#include "planes.h"

#define PROLOGUE                     \
  "push {r4-r11, lr}\n"              \
  "sub sp, #44\n"                    \
  "ldmia r3, {r4-r11}\n"             \
  "stmia.w sp, {r4-r9}\n"            \
  "strd r2, r0, [sp, #24]\n"         \
  "str r1, [sp, #32]\n"

#define BEGIN                        \
  "1:\n"                             \
  "ldrd r1, r0, [sp, #28]\n"

/* r5 r6 r1 r0 are free. */
#define NEXT                         \
  "ldrd r0, r1, [sp, #24]\n"         \
  "ldrd r5, r6, [sp, #8]\n"          \
  "add r0, r0, r5\n"                 \
  "add r1, r1, r6\n"                 \
  "strd r0, r1, [sp, #24]\n"         \
  "ldr r5, [sp]\n"                   \
  "subs r5, r5, #1\n"                \
  "str r5, [sp]\n"                   \
  "bne 1b\n"                         \
  "add sp, #44\n"                    \
  "pop {r4-r11, pc}\n"

/* r3 = m, r4 = c, r5 = n of the channel; r6 is free. */
#define CONSTANTS "ldmia.w r0, {r3, r4, r5}\n"
#define RELU(acc)                     \
  "smmlar " acc ", " acc ", r3, r4\n" \
  "asr " acc ", " acc ", r5\n"        \
  "ssat " acc ", #8, " acc "\n"
#define LINEAR(acc)                   \
  "add r6, r4, " acc ", asr #31\n"    \
  "smmlar " acc ", " acc ", r3, r6\n" \
  "asr " acc ", " acc ", r5\n"        \
  "ssat " acc ", #8, " acc "\n"

#define SMLAD(to, x, w) "smlad " to ", " x ", " w ", " to "\n"
#define FROM_BIAS(to, x, w) "smlad " to ", " x ", " w ", r2\n"
#define WEIGHTS "ldmia.w r0!, {r3, r4}\n"
#define BIAS_AND_WEIGHTS "ldmia.w r0!, {r2, r3, r4}\n"

/* Four outputs: r2 r10-r12. */
#define STORE_G4                    \
  "ldr r6, [sp, #24]\n"             \
  "ldr r7, [sp, #16]\n"             \
  "add r8, r7, r7, lsl #1\n"        \
  "strb r2, [r6]\n"                 \
  "strb r10, [r6, r7]\n"            \
  "strb r11, [r6, r7, lsl #1]\n"    \
  "strb r12, [r6, r8]\n"

#define COLUMN(name, suffix, RQ)                                                                                  \
  __attribute__((naked)) void kws_planes_##name##_##suffix(                                                       \
      const int32_t *data __attribute__((unused)), const int32_t *w __attribute__((unused)),                      \
      int8_t *out __attribute__((unused)), const kws_planes_column_t *a __attribute__((unused))) {                \
    __asm__ volatile(COLUMN_##name(RQ));                                                                          \
  }
#define COLUMNS(name) COLUMN(name, relu, RELU) COLUMN(name, linear, LINEAR)

#endif
