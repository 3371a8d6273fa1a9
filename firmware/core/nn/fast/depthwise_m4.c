/* depthwise.h's groups of four channels for the Cortex-M4, in assembly.
 *
 * r0 taps, r1 weights, r2 offset, r4 r5 addresses, then values of a pair of taps, r3 r6-r8 temporaries, r9-r12 sums of
 * channels 0, 2, 1, 3, lr turns left. The loop has four copies of a step and is entered where a whole number of turns is
 * left. */
#include "depthwise.h"

#if KWS_DSP

/* r4, r6: channels 0 and 2, 1 and 3 of the first tap; r5, r7: of the second; the sums take a pair each. */
#define STEP                    \
  "ldrd r4, r5, [r0], #8\n"     \
  "ldr.w r4, [r4, r2]\n"        \
  "ldr.w r5, [r5, r2]\n"        \
  "sxtb16 r6, r4, ror #8\n"     \
  "sxtb16 r4, r4\n"             \
  "sxtb16 r7, r5, ror #8\n"     \
  "sxtb16 r5, r5\n"             \
  "pkhbt r8, r4, r5, lsl #16\n" \
  "pkhtb r5, r5, r4, asr #16\n" \
  "pkhbt r4, r6, r7, lsl #16\n" \
  "pkhtb r7, r7, r6, asr #16\n" \
  "ldmia.w r1!, {r3, r6}\n"     \
  "smlad r9, r8, r3, r9\n"      \
  "smlad r10, r5, r6, r10\n"    \
  "ldmia.w r1!, {r3, r6}\n"     \
  "smlad r11, r4, r3, r11\n"    \
  "smlad r12, r7, r6, r12\n"

#define RELU(acc, at)                 \
  "ldmia.w r1!, {r4, r5, r6}\n"       \
  "smmlar " acc ", " acc ", r4, r5\n" \
  "asr " acc ", " acc ", r6\n"        \
  "ssat " acc ", #8, " acc "\n"       \
  "strb " acc ", [r3, #" at "]\n"
#define LINEAR(acc, at)               \
  "ldmia.w r1!, {r4, r5, r6}\n"       \
  "add r5, r5, " acc ", asr #31\n"    \
  "smmlar " acc ", " acc ", r4, r5\n" \
  "asr " acc ", " acc ", r6\n"        \
  "ssat " acc ", #8, " acc "\n"       \
  "strb " acc ", [r3, #" at "]\n"

/* Stack: 0 taps, 4 turns, 8 entry, 12 quads left, 16 out. */
#define QUADS(suffix, RQ)                                                                                             \
  __attribute__((naked)) void kws_depthwise_quads_##suffix(                                                           \
      const int32_t *taps __attribute__((unused)), const int32_t *w __attribute__((unused)),                          \
      int32_t pairs __attribute__((unused)), int32_t offset __attribute__((unused)),                                  \
      int32_t quads __attribute__((unused)), int8_t *out __attribute__((unused))) {                                   \
    __asm__ volatile(                                                                                                 \
        "push {r4-r11, lr}\n"                                                                                         \
        "ldrd r4, r5, [sp, #36]\n" /* quads, out */                                                                   \
        "sub sp, #20\n"                                                                                               \
        "add r6, r2, #3\n"                                                                                            \
        "lsr r6, r6, #2\n"                                                                                            \
        "rsb r7, r2, #0\n"                                                                                            \
        "and r7, r7, #3\n"                                                                                            \
        "mov r8, #68\n" /* bytes of a step */                                                                         \
        "adr.w r9, 2f\n"                                                                                              \
        "mla r7, r7, r8, r9\n"                                                                                        \
        "orr r7, r7, #1\n"                                                                                            \
        "strd r0, r6, [sp]\n"                                                                                         \
        "strd r7, r4, [sp, #8]\n"                                                                                     \
        "str r5, [sp, #16]\n"                                                                                         \
        "mov r2, r3\n"                                                                                                \
        "1:\n"                                                                                                        \
        "ldmia.w r1!, {r9, r10, r11, r12}\n"                                                                          \
        "ldrd r0, lr, [sp]\n"                                                                                         \
        "ldr pc, [sp, #8]\n"                                                                                          \
        ".balign 4\n"                                                                                                 \
        "2:\n" STEP STEP STEP STEP                                                                                    \
        "subs lr, lr, #1\n"                                                                                           \
        "bne 2b\n"                                                                                                    \
        "ldrd r7, r3, [sp, #12]\n"                                                                                    \
        "add r3, r3, r2\n" RQ("r9", "0") RQ("r10", "2") RQ("r11", "1") RQ("r12", "3")                                 \
        "add r2, r2, #4\n"                                                                                            \
        "subs r7, r7, #1\n"                                                                                           \
        "str r7, [sp, #12]\n"                                                                                         \
        "bne 1b\n"                                                                                                    \
        "add sp, #20\n"                                                                                               \
        "pop {r4-r11, pc}\n");                                                                                        \
  }

QUADS(relu, RELU)
QUADS(linear, LINEAR)

#else
typedef int kws_depthwise_m4_is_for_the_board; /* an empty file is no C */
#endif
