/* Host only: kws_fe_simd.h's operations on vectors, whose lanes are frames of different clips. */
#ifndef KWS_FE_LANES_SIMD_H
#define KWS_FE_LANES_SIMD_H

#include <stdint.h>

#include "lanes.h"

typedef uint32_t kws_word __attribute__((vector_size(4 * KWS_LANES)));
typedef int32_t kws_int __attribute__((vector_size(4 * KWS_LANES)));
typedef uint16_t kws_half __attribute__((vector_size(4 * KWS_LANES)));

#define KWS_ALL(x) ((kws_word){0} + (uint32_t)(x))
#define KWS_ALL_INT(x) ((kws_int){0} + (int32_t)(x))
#define KWS_LANE_OP static inline __attribute__((always_inline))

KWS_LANE_OP kws_int kws_lo(kws_word x) { return (kws_int)(x << 16) >> 16; }
KWS_LANE_OP kws_int kws_hi(kws_word x) { return (kws_int)x >> 16; }
KWS_LANE_OP kws_word kws_pack(kws_int lo, kws_int hi) { return (kws_word)hi << 16 | ((kws_word)lo & 0xFFFFu); }
KWS_LANE_OP kws_int kws_smulbb(kws_word a, kws_word b) { return kws_lo(a) * kws_lo(b); }
KWS_LANE_OP kws_int kws_smultt(kws_word a, kws_word b) { return kws_hi(a) * kws_hi(b); }
KWS_LANE_OP kws_int kws_smlabb(kws_word a, kws_word b, kws_int c) { return kws_lo(a) * kws_lo(b) + c; }
KWS_LANE_OP kws_int kws_smlatb(kws_word a, kws_word b, kws_int c) { return kws_hi(a) * kws_lo(b) + c; }
KWS_LANE_OP kws_int kws_smlatt(kws_word a, kws_word b, kws_int c) { return kws_hi(a) * kws_hi(b) + c; }
/* Sums in unsigned words, since they may wrap. */
KWS_LANE_OP kws_int kws_smlsd(kws_word a, kws_word b, kws_int c) {
  return (kws_int)((kws_word)c + (kws_word)kws_smulbb(a, b) - (kws_word)kws_smultt(a, b));
}
KWS_LANE_OP kws_int kws_smladx(kws_word a, kws_word b, kws_int c) {
  return (kws_int)((kws_word)c + (kws_word)(kws_lo(a) * kws_hi(b)) + (kws_word)(kws_hi(a) * kws_lo(b)));
}
KWS_LANE_OP kws_int kws_smuad(kws_word a, kws_word b) {
  return (kws_int)((kws_word)kws_smulbb(a, b) + (kws_word)kws_smultt(a, b));
}
KWS_LANE_OP kws_word kws_sadd16(kws_word a, kws_word b) { return (kws_word)((kws_half)a + (kws_half)b); }
KWS_LANE_OP kws_word kws_ssub16(kws_word a, kws_word b) { return (kws_word)((kws_half)a - (kws_half)b); }
KWS_LANE_OP kws_word kws_sasx(kws_word a, kws_word b) {
  const kws_word swapped = b << 16 | b >> 16;
  return (kws_ssub16(a, swapped) & 0xFFFFu) | (kws_sadd16(a, swapped) & 0xFFFF0000u);
}
KWS_LANE_OP kws_word kws_ssax(kws_word a, kws_word b) {
  const kws_word swapped = b << 16 | b >> 16;
  return (kws_sadd16(a, swapped) & 0xFFFFu) | (kws_ssub16(a, swapped) & 0xFFFF0000u);
}
KWS_LANE_OP kws_word kws_shadd16(kws_word a, kws_word b) {
  return kws_pack((kws_lo(a) + kws_lo(b)) >> 1, (kws_hi(a) + kws_hi(b)) >> 1);
}
KWS_LANE_OP kws_word kws_shsub16(kws_word a, kws_word b) {
  return kws_pack((kws_lo(a) - kws_lo(b)) >> 1, (kws_hi(a) - kws_hi(b)) >> 1);
}
/* Low half of a, high half of b << shift. */
KWS_LANE_OP kws_word kws_pkhbt(kws_word a, kws_word b, int shift) {
  return (a & 0xFFFFu) | ((b << shift) & 0xFFFF0000u);
}
/* High half of a, low half of b >> shift. */
KWS_LANE_OP kws_word kws_pkhtb(kws_int a, kws_int b, int shift) {
  return ((kws_word)a & 0xFFFF0000u) | ((kws_word)(b >> shift) & 0xFFFFu);
}

#endif
