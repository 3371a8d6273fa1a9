/* matrix.h's tiles with int16 weights. For the Cortex-M4 in assembly: no compiler keeps six sums, five operands, two
 * pointers and a counter in the fourteen registers that there are.
 *
 * r0 weights, r1 positions, r2 r3 weights of the two channels, r4-r6 positions, r7-r9 sums of the even channel, r10-r12
 * those of the odd one, lr turns left. The loop has eight copies of a step and is entered where a whole number of turns is
 * left. With several positions the first step lies apart, for it adds to the bias. */
#include "matrix.h"

#if KWS_DSP

/* Stack: 0 positions, 4 turns, 8 entry, 12 out, 16 weights' end, 20 out_c. `steps` leaves in r6 how often the step of
 * `size` bytes is done; it is at least 1. The loop is entered at copy -steps mod 8. */
#define PROLOGUE(steps, size) \
  "push {r4-r11, lr}\n"       \
  "ldr r4, [sp, #36]\n"      \
  "sub sp, #24\n" steps      \
  "add r5, r6, #7\n"         \
  "lsr r5, r5, #3\n"         \
  "rsb r6, r6, #0\n"         \
  "and r6, r6, #7\n"         \
  "mov r7, #" #size "\n"     \
  "adr.w r8, 2f\n"           \
  "mla r6, r6, r7, r8\n"     \
  "orr r6, r6, #1\n"         \
  "lsl r7, r2, #3\n"         \
  "add r7, r7, #32\n"        \
  "lsr r8, r3, #1\n"         \
  "mla r7, r7, r8, r0\n"     \
  "strd r1, r5, [sp]\n"      \
  "strd r6, r4, [sp, #8]\n"  \
  "strd r7, r3, [sp, #16]\n"
#define ALL_BUT_FIRST "sub r6, r2, #1\n"
#define HALF "lsr r6, r2, #1\n"

#define EPILOGUE       \
  "add sp, #24\n"      \
  "pop {r4-r11, pc}\n"

#define HEAD                \
  "ldr r1, [sp]\n"          \
  "ldr lr, [sp, #4]\n"

/* r2 = m, r3 = c, r4 = n of a channel; the sum becomes the result. */
#define RELU(acc)                     \
  "smmlar " acc ", " acc ", r2, r3\n" \
  "asr " acc ", " acc ", r4\n"        \
  "ssat " acc ", #8, " acc "\n"
#define LINEAR(acc)                   \
  "add r1, r3, " acc ", asr #31\n"    \
  "smmlar " acc ", " acc ", r2, r1\n" \
  "asr " acc ", " acc ", r4\n"        \
  "ssat " acc ", #8, " acc "\n"

#define LOAD_OUT "ldr r5, [sp, #12]\n" "ldr r6, [sp, #20]\n"
#define CONSTANTS "ldmia.w r0!, {r2, r3, r4}\n"
#define NEXT            \
  "ldr r6, [sp, #16]\n" \
  "str r5, [sp, #12]\n" \
  "cmp r0, r6\n"        \
  "bne 1b\n"

#define STEP_3                  \
  "ldmia.w r1!, {r4, r5, r6}\n" \
  "ldmia.w r0!, {r2, r3}\n"     \
  "smlad r7, r2, r4, r7\n"      \
  "smlad r8, r2, r5, r8\n"      \
  "smlad r9, r2, r6, r9\n"      \
  "smlad r10, r3, r4, r10\n"    \
  "smlad r11, r3, r5, r11\n"    \
  "smlad r12, r3, r6, r12\n"
#define FIRST_3                 \
  "ldmia.w r0!, {r7, r10}\n"    \
  "ldmia.w r1!, {r4, r5, r6}\n" \
  "ldmia.w r0!, {r2, r3}\n"     \
  "smlad r9, r2, r6, r7\n"      \
  "smlad r8, r2, r5, r7\n"      \
  "smlad r7, r2, r4, r7\n"      \
  "smlad r12, r3, r6, r10\n"    \
  "smlad r11, r3, r5, r10\n"    \
  "smlad r10, r3, r4, r10\n"
#define FINISH_3(RQ)                                                                                     \
  LOAD_OUT CONSTANTS RQ("r7") RQ("r8") RQ("r9")                                                          \
  "strb r8, [r5, r6]\n" "strb r9, [r5, r6, lsl #1]\n" "strb r7, [r5], #1\n"                              \
  CONSTANTS RQ("r10") RQ("r11") RQ("r12")                                                                \
  "strb r11, [r5, r6]\n" "strb r12, [r5, r6, lsl #1]\n" "strb r10, [r5], #1\n"

#define STEP_2               \
  "ldmia.w r1!, {r4, r5}\n"  \
  "ldmia.w r0!, {r2, r3}\n"  \
  "smlad r7, r2, r4, r7\n"   \
  "smlad r8, r2, r5, r8\n"   \
  "smlad r10, r3, r4, r10\n" \
  "smlad r11, r3, r5, r11\n"
#define FIRST_2              \
  "ldmia.w r0!, {r7, r10}\n" \
  "ldmia.w r1!, {r4, r5}\n"  \
  "ldmia.w r0!, {r2, r3}\n"  \
  "smlad r8, r2, r5, r7\n"   \
  "smlad r7, r2, r4, r7\n"   \
  "smlad r11, r3, r5, r10\n" \
  "smlad r10, r3, r4, r10\n"
#define FINISH_2(RQ)                                  \
  LOAD_OUT CONSTANTS RQ("r7") RQ("r8")                \
  "strb r8, [r5, r6]\n" "strb r7, [r5], #1\n"         \
  CONSTANTS RQ("r10") RQ("r11")                       \
  "strb r11, [r5, r6]\n" "strb r10, [r5], #1\n"

/* Two pairs at a time. */
#define STEP_1                      \
  "ldmia.w r1!, {r5, r6}\n"         \
  "ldmia.w r0!, {r2, r3, r4, r8}\n" \
  "smlad r7, r2, r5, r7\n"          \
  "smlad r10, r3, r5, r10\n"        \
  "smlad r7, r4, r6, r7\n"          \
  "smlad r10, r8, r6, r10\n"
#define FIRST_1 "ldmia.w r0!, {r7, r10}\n"
#define FINISH_1(RQ)                   \
  LOAD_OUT CONSTANTS RQ("r7")          \
  "strb r7, [r5], #1\n"                \
  CONSTANTS RQ("r10")                  \
  "strb r10, [r5], #1\n"

#define EIGHT(STEP) STEP STEP STEP STEP STEP STEP STEP STEP

#define TILE(count, suffix, RQ, steps, size)                                                            \
  KWS_TILE_ASM(count, suffix,                                                                           \
               PROLOGUE(steps, size) "1:\n" HEAD FIRST_##count "ldr pc, [sp, #8]\n"                     \
               ".balign 4\n2:\n" EIGHT(STEP_##count) "subs lr, lr, #1\n" "bne 2b\n" FINISH_##count(RQ)   \
               NEXT EPILOGUE)
#define TILES(suffix, RQ)                 \
  TILE(1, suffix, RQ, HALF, 24)           \
  TILE(2, suffix, RQ, ALL_BUT_FIRST, 24)  \
  TILE(3, suffix, RQ, ALL_BUT_FIRST, 32)  \
  KWS_TILES(16, suffix)
TILES(relu, RELU)
TILES(linear, LINEAR)
#else
KWS_TILES_C(16, relu, KWS_RQ_RELU)
KWS_TILES_C(16, linear, KWS_RQ_LINEAR)
#endif
KWS_TILES_C(16, any, KWS_RQ_ANY)

KWS_MATRIX(16, relu)
KWS_MATRIX(16, linear)
KWS_MATRIX(16, any)
