/* Two int16 in a 32-bit word, low and high half: the Cortex-M DSP extension's instructions by their names, and the
 * same in portable C. Additions wrap, as both the instructions and the reference do. */
#ifndef KWS_FE_SIMD_H
#define KWS_FE_SIMD_H

#include <stdint.h>

static inline int32_t kws_lo(uint32_t x) { return (int16_t)(uint16_t)x; }
static inline int32_t kws_hi(uint32_t x) { return (int16_t)(uint16_t)(x >> 16); }
static inline uint32_t kws_pack(int32_t lo, int32_t hi) { return ((uint32_t)hi << 16) | ((uint32_t)lo & 0xFFFFu); }

/* gcc makes SMULBB and SMULTT of these. */
static inline int32_t kws_smulbb(uint32_t a, uint32_t b) { return kws_lo(a) * kws_lo(b); }
static inline int32_t kws_smultt(uint32_t a, uint32_t b) { return kws_hi(a) * kws_hi(b); }

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP && !defined(KWS_FE_PORTABLE)
#include <arm_acle.h>

#define kws_smlabb(a, b, c) __smlabb((int32_t)(a), (int32_t)(b), (c))
#define kws_smlatb(a, b, c) __smlatb((int32_t)(a), (int32_t)(b), (c))
#define kws_smlatt(a, b, c) __smlatt((int32_t)(a), (int32_t)(b), (c))
#define kws_smlsd(a, b, c) __smlsd((int16x2_t)(a), (int16x2_t)(b), (c))
#define kws_smladx(a, b, c) __smladx((int16x2_t)(a), (int16x2_t)(b), (c))
#define kws_smuad(a, b) __smuad((int16x2_t)(a), (int16x2_t)(b))
#define kws_sadd16(a, b) ((uint32_t)__sadd16((int16x2_t)(a), (int16x2_t)(b)))
#define kws_ssub16(a, b) ((uint32_t)__ssub16((int16x2_t)(a), (int16x2_t)(b)))
#define kws_sasx(a, b) ((uint32_t)__sasx((int16x2_t)(a), (int16x2_t)(b)))
#define kws_ssax(a, b) ((uint32_t)__ssax((int16x2_t)(a), (int16x2_t)(b)))
#define kws_shadd16(a, b) ((uint32_t)__shadd16((int16x2_t)(a), (int16x2_t)(b)))
#define kws_shsub16(a, b) ((uint32_t)__shsub16((int16x2_t)(a), (int16x2_t)(b)))

/* Low half of a >> shift, high half of b << (16 - shift...): gcc does not find these by itself. */
#define kws_pkhbt(a, b, shift)                                                     \
  ({                                                                               \
    uint32_t pkh_;                                                                 \
    __asm__("pkhbt %0, %1, %2, lsl %3" : "=r"(pkh_) : "r"(a), "r"(b), "I"(shift)); \
    pkh_;                                                                          \
  })
#define kws_pkhtb(a, b, shift)                                                     \
  ({                                                                               \
    uint32_t pkh_;                                                                 \
    __asm__("pkhtb %0, %1, %2, asr %3" : "=r"(pkh_) : "r"(a), "r"(b), "I"(shift)); \
    pkh_;                                                                          \
  })

/* |x| in each half; -32768 stays. */
static inline uint32_t kws_abs16(uint32_t x) {
  uint32_t r;
  __asm__("ssub16 %0, %2, %1\n\tsel %0, %0, %1" : "=&r"(r) : "r"(x), "r"(0) : "cc");
  return r;
}

#else

static inline int32_t kws_smlabb(uint32_t a, uint32_t b, int32_t c) { return kws_lo(a) * kws_lo(b) + c; }
static inline int32_t kws_smlatb(uint32_t a, uint32_t b, int32_t c) { return kws_hi(a) * kws_lo(b) + c; }
static inline int32_t kws_smlatt(uint32_t a, uint32_t b, int32_t c) { return kws_hi(a) * kws_hi(b) + c; }
static inline int32_t kws_smlsd(uint32_t a, uint32_t b, int32_t c) {
  return (int32_t)((uint32_t)c + (uint32_t)(kws_lo(a) * kws_lo(b)) - (uint32_t)(kws_hi(a) * kws_hi(b)));
}
static inline int32_t kws_smladx(uint32_t a, uint32_t b, int32_t c) {
  return (int32_t)((uint32_t)c + (uint32_t)(kws_lo(a) * kws_hi(b)) + (uint32_t)(kws_hi(a) * kws_lo(b)));
}
static inline int32_t kws_smuad(uint32_t a, uint32_t b) {
  return (int32_t)((uint32_t)(kws_lo(a) * kws_lo(b)) + (uint32_t)(kws_hi(a) * kws_hi(b)));
}
static inline uint32_t kws_sadd16(uint32_t a, uint32_t b) {
  return kws_pack(kws_lo(a) + kws_lo(b), kws_hi(a) + kws_hi(b));
}
static inline uint32_t kws_ssub16(uint32_t a, uint32_t b) {
  return kws_pack(kws_lo(a) - kws_lo(b), kws_hi(a) - kws_hi(b));
}
static inline uint32_t kws_sasx(uint32_t a, uint32_t b) {
  return kws_pack(kws_lo(a) - kws_hi(b), kws_hi(a) + kws_lo(b));
}
static inline uint32_t kws_ssax(uint32_t a, uint32_t b) {
  return kws_pack(kws_lo(a) + kws_hi(b), kws_hi(a) - kws_lo(b));
}
static inline uint32_t kws_shadd16(uint32_t a, uint32_t b) {
  return kws_pack((kws_lo(a) + kws_lo(b)) >> 1, (kws_hi(a) + kws_hi(b)) >> 1);
}
static inline uint32_t kws_shsub16(uint32_t a, uint32_t b) {
  return kws_pack((kws_lo(a) - kws_lo(b)) >> 1, (kws_hi(a) - kws_hi(b)) >> 1);
}
/* Low half of a, high half of b << shift. */
static inline uint32_t kws_pkhbt(uint32_t a, uint32_t b, int shift) {
  return (a & 0xFFFFu) | ((b << shift) & 0xFFFF0000u);
}
/* High half of a, low half of b >> shift. */
static inline uint32_t kws_pkhtb(int32_t a, int32_t b, int shift) {
  return ((uint32_t)a & 0xFFFF0000u) | ((uint32_t)(b >> shift) & 0xFFFFu);
}
static inline uint32_t kws_abs16(uint32_t x) {
  const int32_t lo = kws_lo(x), hi = kws_hi(x);
  return kws_pack(lo < 0 ? -lo : lo, hi < 0 ? -hi : hi);
}

#endif
#endif
