/* planes.h for windows of one row. */
#include "planes_m4.h"

#if KWS_DSP

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

COLUMNS(line_s1_g6)

#endif

KWS_PLANES_KINDS(KWS_PLANES_LINE_S1_G6, line_s1_g6)
