/* planes.h for windows of 3x3. */
#include "planes_m4.h"

#if KWS_DSP

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
#define COLUMN_3x3_s2_g4(RQ)                                                                              \
  PROLOGUE BEGIN "ldr lr, [sp, #4]\n" FIRST_ROW_G4 ROW_G4 ROW_G4 CONSTANTS RQ("r2") RQ("r10") RQ("r11")   \
  RQ("r12") STORE_G4 NEXT

COLUMNS(3x3_s1_g5)
COLUMNS(3x3_s1_g6)
COLUMNS(3x3_s2_g4)

#endif

KWS_PLANES_KINDS(KWS_PLANES_3X3_S1_G5, 3x3_s1_g5)
KWS_PLANES_KINDS(KWS_PLANES_3X3_S1_G6, 3x3_s1_g6)
KWS_PLANES_KINDS(KWS_PLANES_3X3_S2_G4, 3x3_s2_g4)
