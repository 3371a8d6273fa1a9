/* matrix.h's tiles with the weights of two channels in a word. For the Cortex-M4 in assembly, as in matrix16.c.
 *
 * r0 weights, r1 positions, r2 r3 weights, r4-r6 (r4-r7) positions, then up to three sums of the words and as many of the
 * even channel. Three positions leave no register for a counter: the loop ends with the positions. */
#include "matrix.h"

#if KWS_DSP

/* Stack: 0 positions, 4 their end, 8 entry, 12 out, 16 weights' end, 20 out_c. A step is two pairs of k. The loop has
 * four copies of a step and is entered where a whole number of turns is left; `steps` leaves in r6 how many there are
 * inside, at least 1, and the first position word of them comes `skip` bytes late. */
#define PROLOGUE(count, steps, size)    \
  "push {r4-r11, lr}\n"                 \
  "ldr r4, [sp, #36]\n"                 \
  "sub sp, #24\n" steps                 \
  "mov r5, #4 * " #count "\n"           \
  "mla r5, r5, r2, r1\n"                \
  "rsb r6, r6, #0\n"                    \
  "and r6, r6, #3\n"                    \
  "mov r7, #" #size "\n"                \
  "adr.w r8, 2f\n"                      \
  "mla r6, r6, r7, r8\n"                \
  "orr r6, r6, #1\n"                    \
  "lsl r7, r2, #2\n"                    \
  "add r7, r7, #32\n"                   \
  "lsr r8, r3, #1\n"                    \
  "mla r7, r7, r8, r0\n"                \
  "strd r1, r5, [sp]\n"                 \
  "strd r6, r4, [sp, #8]\n"             \
  "strd r7, r3, [sp, #16]\n"
#define ALL "lsr r6, r2, #1\n"
#define ALL_BUT_FIRST "lsr r6, r2, #1\n" "sub r6, r6, #1\n"

#define EPILOGUE       \
  "add sp, #24\n"      \
  "pop {r4-r11, pc}\n"

#define SMLAD(to, x, w) "smlad " to ", " x ", " w ", " to "\n"
#define FROM(to, x, w, bias) "smlad " to ", " x ", " w ", " bias "\n"

/* r2 = m, r3 = c, r4 = n; r1 is free. The even channel's sum is doubled first, the odd one's is 256 times the sum. */
#define RELU_EVEN(acc)                      \
  "lsl " acc ", " acc ", #1\n"              \
  "smmlar " acc ", " acc ", r2, r3\n"       \
  "asr " acc ", " acc ", r4\n"              \
  "ssat " acc ", #8, " acc "\n"
#define LINEAR_EVEN(acc)                    \
  "lsl " acc ", " acc ", #1\n"              \
  "add r1, r3, " acc ", asr #31\n"          \
  "smmlar " acc ", " acc ", r2, r1\n"       \
  "asr " acc ", " acc ", r4\n"              \
  "ssat " acc ", #8, " acc "\n"
#define RELU_ODD(acc)                       \
  "smmla " acc ", " acc ", r2, r3\n"        \
  "asr " acc ", " acc ", r4\n"              \
  "ssat " acc ", #8, " acc "\n"
#define LINEAR_ODD(acc)                     \
  "asr r1, " acc ", #31\n"                  \
  "add r1, r3, r1, lsl #7\n"                \
  "smmla " acc ", " acc ", r2, r1\n"        \
  "asr " acc ", " acc ", r4\n"              \
  "ssat " acc ", #8, " acc "\n"

#define DIFFERENCE(odd, even) "sub " odd ", " odd ", " even "\n"
#define LOAD_OUT "ldr r5, [sp, #12]\n" "ldr r6, [sp, #20]\n"
#define CONSTANTS "ldmia.w r0!, {r2, r3, r4}\n"
#define NEXT            \
  "ldr r6, [sp, #16]\n" \
  "str r5, [sp, #12]\n" \
  "cmp r0, r6\n"        \
  "bne 1b\n"

/* Sums of the words r8-r10, of the even channel r11 r12 lr. */
#define DATA_3 "ldmia.w r1!, {r4, r5, r6}\n"
#define SIX(w)                                                                            \
  SMLAD("r8", "r4", w) SMLAD("r9", "r5", w) SMLAD("r10", "r6", w)                         \
  SMLAD("r11", "r4", "r7") SMLAD("r12", "r5", "r7") SMLAD("lr", "r6", "r7")
#define STEP_3                                                                            \
  "ldmia.w r0!, {r2, r3}\n" DATA_3 "sxtb16 r7, r2\n" SIX("r2")                            \
  DATA_3 "sxtb16 r7, r3\n" SIX("r3")
#define FIRST_3                                                                           \
  "ldmia.w r0!, {r8, r11}\n" "ldmia.w r0!, {r2, r3}\n" DATA_3 "sxtb16 r7, r2\n"           \
  FROM("r9", "r5", "r2", "r8") FROM("r10", "r6", "r2", "r8") SMLAD("r8", "r4", "r2")      \
  FROM("r12", "r5", "r7", "r11") FROM("lr", "r6", "r7", "r11") SMLAD("r11", "r4", "r7")   \
  DATA_3 "sxtb16 r7, r3\n" SIX("r3")
#define FINISH_3(RQ)                                                                      \
  LOAD_OUT DIFFERENCE("r8", "r11") DIFFERENCE("r9", "r12") DIFFERENCE("r10", "lr")        \
  CONSTANTS RQ##_EVEN("r11") RQ##_EVEN("r12") RQ##_EVEN("lr")                             \
  "strb r12, [r5, r6]\n" "strb lr, [r5, r6, lsl #1]\n" "strb r11, [r5], #1\n"             \
  CONSTANTS RQ##_ODD("r8") RQ##_ODD("r9") RQ##_ODD("r10")                                 \
  "strb r9, [r5, r6]\n" "strb r10, [r5, r6, lsl #1]\n" "strb r8, [r5], #1\n"

/* Sums of the words r8 r9, of the even channel r11 r12; t lr. */
#define FOUR(w, x, y)                                                                     \
  SMLAD("r8", x, w) SMLAD("r9", y, w) SMLAD("r11", x, "lr") SMLAD("r12", y, "lr")
#define STEP_2                                                                            \
  "ldmia.w r0!, {r2, r3}\n" "ldmia.w r1!, {r4, r5, r6, r7}\n"                             \
  "sxtb16 lr, r2\n" FOUR("r2", "r4", "r5") "sxtb16 lr, r3\n" FOUR("r3", "r6", "r7")
#define FIRST_2 "ldmia.w r0!, {r8, r11}\n" "mov r9, r8\n" "mov r12, r11\n"
#define FINISH_2(RQ)                                                                      \
  LOAD_OUT DIFFERENCE("r8", "r11") DIFFERENCE("r9", "r12")                                \
  CONSTANTS RQ##_EVEN("r11") RQ##_EVEN("r12") "strb r12, [r5, r6]\n" "strb r11, [r5], #1\n" \
  CONSTANTS RQ##_ODD("r8") RQ##_ODD("r9") "strb r9, [r5, r6]\n" "strb r8, [r5], #1\n"

/* Sum of the words r8, of the even channel r11. */
#define STEP_1                                                                            \
  "ldmia.w r0!, {r2, r3}\n" "ldmia.w r1!, {r4, r5}\n" "sxtb16 r6, r2\n" "sxtb16 r7, r3\n" \
  SMLAD("r8", "r4", "r2") SMLAD("r11", "r4", "r6") SMLAD("r8", "r5", "r3") SMLAD("r11", "r5", "r7")
#define FIRST_1 "ldmia.w r0!, {r8, r11}\n"
#define FINISH_1(RQ)                                                                      \
  LOAD_OUT DIFFERENCE("r8", "r11")                                                        \
  CONSTANTS RQ##_EVEN("r11") "strb r11, [r5], #1\n"                                       \
  CONSTANTS RQ##_ODD("r8") "strb r8, [r5], #1\n"

#define TILE(count, suffix, RQ, steps, size)                                                            \
  KWS_TILE_ASM(count, suffix,                                                                           \
               PROLOGUE(count, steps, size) "1:\n" "ldr r1, [sp]\n" FIRST_##count "ldr pc, [sp, #8]\n"   \
               ".balign 4\n2:\n" STEP_##count STEP_##count STEP_##count STEP_##count                     \
               "ldr r7, [sp, #4]\n" "cmp r1, r7\n" "bne 2b\n" FINISH_##count(RQ) NEXT EPILOGUE)
#define TILES(suffix, RQ)                 \
  TILE(1, suffix, RQ, ALL, 32)            \
  TILE(2, suffix, RQ, ALL, 48)            \
  TILE(3, suffix, RQ, ALL_BUT_FIRST, 68)  \
  KWS_TILES(8, suffix)
TILES(relu, RELU)
TILES(linear, LINEAR)
#else
KWS_TILES_C(8, relu, KWS_RQ_RELU)
KWS_TILES_C(8, linear, KWS_RQ_LINEAR)
#endif
KWS_TILES_C(8, any, KWS_RQ_ANY)

KWS_MATRIX(8, relu)
KWS_MATRIX(8, linear)
KWS_MATRIX(8, any)
