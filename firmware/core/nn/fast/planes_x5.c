/* planes.h for windows of any rows and of four to six columns. */
#include "planes_m4.h"

#if KWS_DSP

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

COLUMNS(x5_s1_g5)
COLUMNS(x5_s2_g4)

#endif

KWS_PLANES_KINDS(KWS_PLANES_X5_S1_G5, x5_s1_g5)
KWS_PLANES_KINDS(KWS_PLANES_X5_S2_G4, x5_s2_g4)
