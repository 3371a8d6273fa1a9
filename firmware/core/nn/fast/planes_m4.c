/* planes.h's columns of groups for the Cortex-M4, in assembly.
 *
 * r0 weights, r1 data, r2 the first sum (before that the bias), r3 r4 weights, the rest as the shapes say. Stack:
 * 0 count, 4 pitch, 8 out_step, 12 data_step, 16 channels, 20 steps (all copies), 24 out, 28 data, 32 weights; x5: 36 rows,
 * 40 rows left; line: 20 turns, 36 entry of the loop, 40 entry of the stores. */
#include "planes.h"

#if KWS_DSP

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

/* 3x3, stride 1, five outputs: words r5-r8, sums r2 r9-r12, pitch lr. */
#define DATA_G5 "ldmia.w r1, {r5, r6, r7, r8}\n" "add r1, r1, lr\n"
#define SECOND_G5 \
  WEIGHTS SMLAD("r2", "r6", "r3") SMLAD("r9", "r6", "r4") SMLAD("r10", "r7", "r3") SMLAD("r11", "r7", "r4") \
  SMLAD("r12", "r8", "r3")
#define FIRST_ROW_G5 \
  BIAS_AND_WEIGHTS DATA_G5 FROM_BIAS("r9", "r5", "r4") FROM_BIAS("r10", "r6", "r3") FROM_BIAS("r11", "r6", "r4") \
  FROM_BIAS("r12", "r7", "r3") SMLAD("r2", "r5", "r3") SECOND_G5
#define ROW_G5 \
  WEIGHTS DATA_G5 SMLAD("r2", "r5", "r3") SMLAD("r9", "r5", "r4") SMLAD("r10", "r6", "r3") SMLAD("r11", "r6", "r4") \
  SMLAD("r12", "r7", "r3") SECOND_G5
#define STORE_G5                    \
  "ldr r6, [sp, #24]\n"             \
  "ldr r7, [sp, #16]\n"             \
  "add r8, r7, r7, lsl #1\n"        \
  "add r8, r8, r6\n"                \
  "strb r2, [r6]\n"                 \
  "strb r9, [r6, r7]\n"             \
  "strb r10, [r6, r7, lsl #1]\n"    \
  "strb r11, [r8]\n"                \
  "strb r12, [r8, r7]\n"
#define COLUMN_3x3_s1_g5(RQ)                                                                              \
  PROLOGUE BEGIN "ldr lr, [sp, #4]\n" FIRST_ROW_G5 ROW_G5 ROW_G5 CONSTANTS RQ("r2") RQ("r9") RQ("r10")    \
  RQ("r11") RQ("r12") STORE_G5 NEXT

/* The same with six outputs: sums r2 r9-r12 lr. */
#define DATA_G6 "ldmia.w r1, {r5, r6, r7, r8}\n"
#define SECOND_G6 SECOND_G5 SMLAD("lr", "r8", "r4") "ldr r5, [sp, #4]\n" "add r1, r1, r5\n"
#define FIRST_ROW_G6 \
  BIAS_AND_WEIGHTS DATA_G6 FROM_BIAS("r9", "r5", "r4") FROM_BIAS("r10", "r6", "r3") FROM_BIAS("r11", "r6", "r4") \
  FROM_BIAS("r12", "r7", "r3") FROM_BIAS("lr", "r7", "r4") SMLAD("r2", "r5", "r3") SECOND_G6
#define ROW_G6 \
  WEIGHTS DATA_G6 SMLAD("r2", "r5", "r3") SMLAD("r9", "r5", "r4") SMLAD("r10", "r6", "r3") SMLAD("r11", "r6", "r4") \
  SMLAD("r12", "r7", "r3") SMLAD("lr", "r7", "r4") SECOND_G6
#define STORE_G6 STORE_G5 "strb lr, [r8, r7, lsl #1]\n"
#define COLUMN_3x3_s1_g6(RQ)                                                                              \
  PROLOGUE BEGIN FIRST_ROW_G6 ROW_G6 ROW_G6 CONSTANTS RQ("r2") RQ("r9") RQ("r10") RQ("r11") RQ("r12")     \
  RQ("lr") STORE_G6 NEXT

/* 3x3, stride 2, four outputs: words r5-r9, sums r2 r10-r12, pitch lr. */
#define DATA_G4 "ldmia.w r1, {r5, r6, r7, r8, r9}\n" "add r1, r1, lr\n"
#define SECOND_G4 \
  SMLAD("r2", "r6", "r4") SMLAD("r10", "r7", "r4") SMLAD("r11", "r8", "r4") SMLAD("r12", "r9", "r4")
#define FIRST_ROW_G4 \
  BIAS_AND_WEIGHTS DATA_G4 FROM_BIAS("r10", "r6", "r3") FROM_BIAS("r11", "r7", "r3") FROM_BIAS("r12", "r8", "r3") \
  SMLAD("r2", "r5", "r3") SECOND_G4
#define ROW_G4 \
  WEIGHTS DATA_G4 SMLAD("r2", "r5", "r3") SMLAD("r10", "r6", "r3") SMLAD("r11", "r7", "r3") SMLAD("r12", "r8", "r3") \
  SECOND_G4
#define STORE_G4                    \
  "ldr r6, [sp, #24]\n"             \
  "ldr r7, [sp, #16]\n"             \
  "add r8, r7, r7, lsl #1\n"        \
  "strb r2, [r6]\n"                 \
  "strb r10, [r6, r7]\n"            \
  "strb r11, [r6, r7, lsl #1]\n"    \
  "strb r12, [r6, r8]\n"
#define COLUMN_3x3_s2_g4(RQ)                                                                              \
  PROLOGUE BEGIN "ldr lr, [sp, #4]\n" FIRST_ROW_G4 ROW_G4 ROW_G4 CONSTANTS RQ("r2") RQ("r10") RQ("r11")   \
  RQ("r12") STORE_G4 NEXT

/* Any rows of three words of weights, stride 1, five outputs: words r5-r9, sums r2 r10-r12 lr. */
#define FIVE(a, b, c) \
  WEIGHTS SMLAD("r2", a, "r3") SMLAD("r10", a, "r4") SMLAD("r11", b, "r3") SMLAD("r12", b, "r4") SMLAD("lr", c, "r3")
#define ROWS_LEFT                    \
  "ldr r6, [sp, #40]\n"              \
  "subs r6, r6, #1\n"                \
  "str r6, [sp, #40]\n"
#define COLUMN_x5_s1_g5(RQ)                                                                               \
  PROLOGUE "str r11, [sp, #36]\n" BEGIN                                                                   \
  "ldr r5, [sp, #36]\n" "str r5, [sp, #40]\n" "ldr r2, [r0], #4\n"                                        \
  "mov r10, r2\n" "mov r11, r2\n" "mov r12, r2\n" "mov lr, r2\n"                                          \
  "2:\n" "ldmia.w r1, {r5, r6, r7, r8, r9}\n"                                                            \
  FIVE("r5", "r6", "r7") FIVE("r6", "r7", "r8") FIVE("r7", "r8", "r9")                                    \
  "ldr r5, [sp, #4]\n" "add r1, r1, r5\n" ROWS_LEFT "bne 2b\n"                                           \
  CONSTANTS RQ("r2") RQ("r10") RQ("r11") RQ("r12") RQ("lr")                                               \
  "ldr r6, [sp, #24]\n" "ldr r7, [sp, #16]\n" "add r8, r7, r7, lsl #1\n" "add r8, r8, r6\n"               \
  "strb r2, [r6]\n" "strb r10, [r6, r7]\n" "strb r11, [r6, r7, lsl #1]\n" "strb r12, [r8]\n"             \
  "strb lr, [r8, r7]\n" NEXT

/* The same with stride 2, four outputs: words r4-r9, sums r2 r10-r12, rows left lr. */
#define FOUR(a, b, c, d) \
  "ldr r3, [r0], #4\n" SMLAD("r2", a, "r3") SMLAD("r10", b, "r3") SMLAD("r11", c, "r3") SMLAD("r12", d, "r3")
#define COLUMN_x5_s2_g4(RQ)                                                                               \
  PROLOGUE "str r11, [sp, #36]\n" BEGIN                                                                   \
  "ldr lr, [sp, #36]\n" "ldr r2, [r0], #4\n" "mov r10, r2\n" "mov r11, r2\n" "mov r12, r2\n"             \
  "2:\n" "ldmia.w r1, {r4, r5, r6, r7, r8, r9}\n"                                                        \
  FOUR("r4", "r5", "r6", "r7") FOUR("r5", "r6", "r7", "r8") FOUR("r6", "r7", "r8", "r9")                  \
  "ldr r5, [sp, #4]\n" "add r1, r1, r5\n" "subs lr, lr, #1\n" "bne 2b\n"                                 \
  CONSTANTS RQ("r2") RQ("r10") RQ("r11") RQ("r12") STORE_G4 NEXT

/* One row of any length, stride 1, six outputs: words r5-r7, sums r2 r8-r12, turns lr. The loop has four copies of a
 * step and is entered where a whole number of turns is left; the first step lies apart. There are at least two steps. */
#define STEP_LINE                    \
  WEIGHTS                            \
  "ldmia.w r1, {r5, r6, r7}\n"       \
  "add.w r1, r1, #4\n"               \
  SMLAD("r2", "r5", "r3") SMLAD("r8", "r5", "r4") SMLAD("r9", "r6", "r3") SMLAD("r10", "r6", "r4") \
  SMLAD("r11", "r7", "r3") SMLAD("r12", "r7", "r4")
#define FIRST_LINE                   \
  BIAS_AND_WEIGHTS                   \
  "ldmia.w r1, {r5, r6, r7}\n"       \
  "add.w r1, r1, #4\n"               \
  FROM_BIAS("r8", "r5", "r4") FROM_BIAS("r9", "r6", "r3") FROM_BIAS("r10", "r6", "r4") \
  FROM_BIAS("r11", "r7", "r3") FROM_BIAS("r12", "r7", "r4") SMLAD("r2", "r5", "r3")
#define ENTRY_LINE                   \
  "sub r4, r9, #1\n"                 \
  "add r5, r4, #3\n"                 \
  "lsr r5, r5, #2\n"                 \
  "str r5, [sp, #20]\n"              \
  "rsb r4, r4, #0\n"                 \
  "and r4, r4, #3\n"                 \
  "mov r5, #36\n" /* bytes of a step */ \
  "adr.w r6, 2f\n"                   \
  "mla r4, r4, r5, r6\n"             \
  "orr r4, r4, #1\n"                 \
  "str r4, [sp, #36]\n"              \
  "rsb r5, r10, #6\n" /* r10 = last; the last group's entry takes the place of `pitch` */ \
  "adr.w r6, 3f\n"                   \
  "orr r6, r6, #1\n"                 \
  "str r6, [sp, #40]\n"              \
  "add r5, r6, r5, lsl #2\n"         \
  "str r5, [sp, #4]\n"               \
  "ldr r4, [sp]\n"                   \
  "cmp r4, #1\n"                     \
  "beq.w 5f\n"
/* Of the last group only some are stored: it enters the stores later. */
#define STORE_LINE                  \
  "ldr r6, [sp, #24]\n"             \
  "ldr r7, [sp, #16]\n"             \
  "add r5, r7, r7, lsl #1\n"        \
  "add r5, r5, r6\n"                \
  "ldr pc, [sp, #40]\n"             \
  ".balign 4\n"                     \
  "3:\n"                            \
  "strb.w r12, [r5, r7, lsl #1]\n"  \
  "strb.w r11, [r5, r7]\n"          \
  "strb.w r10, [r5]\n"              \
  "strb.w r9, [r6, r7, lsl #1]\n"   \
  "strb.w r8, [r6, r7]\n"           \
  "strb.w r2, [r6]\n"
#define NEXT_LINE                    \
  "ldrd r0, r1, [sp, #24]\n"         \
  "ldrd r5, r6, [sp, #8]\n"          \
  "add r0, r0, r5\n"                 \
  "add r1, r1, r6\n"                 \
  "strd r0, r1, [sp, #24]\n"         \
  "ldr r5, [sp]\n"                   \
  "subs r5, r5, #1\n"                \
  "str r5, [sp]\n"                   \
  "beq 4f\n"                         \
  "cmp r5, #1\n"                     \
  "bne 1b\n"                         \
  "5:\n"                             \
  "ldr r5, [sp, #4]\n"               \
  "str r5, [sp, #40]\n"              \
  "b 1b\n"                           \
  "4:\n"                             \
  "add sp, #44\n"                    \
  "pop {r4-r11, pc}\n"

#define COLUMN_line_s1_g6(RQ)                                                                                      \
  PROLOGUE ENTRY_LINE BEGIN "ldr lr, [sp, #20]\n" FIRST_LINE "ldr pc, [sp, #36]\n" ".balign 4\n" "2:\n"            \
  STEP_LINE STEP_LINE STEP_LINE STEP_LINE "subs lr, lr, #1\n" "bne 2b\n" CONSTANTS RQ("r2") RQ("r8") RQ("r9")      \
  RQ("r10") RQ("r11") RQ("r12") STORE_LINE NEXT_LINE

#define COLUMN(name, suffix, RQ)                                                                                  \
  __attribute__((naked)) void kws_planes_##name##_##suffix(                                                       \
      const int32_t *data __attribute__((unused)), const int32_t *w __attribute__((unused)),                      \
      int8_t *out __attribute__((unused)), const kws_planes_column_t *a __attribute__((unused))) {                \
    __asm__ volatile(COLUMN_##name(RQ));                                                                          \
  }

COLUMN(3x3_s1_g5, relu, RELU)
COLUMN(3x3_s1_g5, linear, LINEAR)
COLUMN(3x3_s1_g6, relu, RELU)
COLUMN(3x3_s1_g6, linear, LINEAR)
COLUMN(3x3_s2_g4, relu, RELU)
COLUMN(3x3_s2_g4, linear, LINEAR)
COLUMN(x5_s1_g5, relu, RELU)
COLUMN(x5_s1_g5, linear, LINEAR)
COLUMN(x5_s2_g4, relu, RELU)
COLUMN(x5_s2_g4, linear, LINEAR)
COLUMN(line_s1_g6, relu, RELU)
COLUMN(line_s1_g6, linear, LINEAR)

#else
typedef int kws_planes_m4_is_for_the_board; /* an empty file is no C */
#endif
