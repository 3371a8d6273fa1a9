/* The packed arithmetic of the Cortex-M4 (DSP extension), each with the same function in portable C, so that host and
 * board run one control flow. Words hold two int16 lanes: the low half is lane 0. Instruction semantics: ARM DDI 0403
 * (Armv7-M Architecture Reference Manual), chapter A7. */
#ifndef KWS_FAST_DSP_H
#define KWS_FAST_DSP_H

#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && defined(__OPTIMIZE__) && defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define KWS_DSP 1
#include <arm_acle.h>
#else
#define KWS_DSP 0
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && !defined(KWS_NN_PORTABLE)
#pragma message("without optimisation the DSP instructions are not used: right, but several times slower (-O2)")
#endif
#endif

#define KWS_INLINE static inline __attribute__((always_inline))
/* Before a short loop of a constant number of turns, whose arrays then become registers. */
#define KWS_UNROLL _Pragma("GCC unroll 8")

/* Four bytes from any address. */
KWS_INLINE uint32_t kws_load32(const void *at) {
  uint32_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

KWS_INLINE int32_t kws_lane0(uint32_t x) { return (int16_t)(x & 0xFFFFu); }
KWS_INLINE int32_t kws_lane1(uint32_t x) { return (int16_t)(x >> 16); }

/* acc + x0*y0 + x1*y1, wrapping. */
KWS_INLINE int32_t kws_smlad(uint32_t x, uint32_t y, int32_t acc) {
#if KWS_DSP
  return __smlad((int16x2_t)x, (int16x2_t)y, acc);
#else
  return (int32_t)((uint32_t)acc + (uint32_t)(kws_lane0(x) * kws_lane0(y)) + (uint32_t)(kws_lane1(x) * kws_lane1(y)));
#endif
}

/* Bytes 0 and 2 sign-extended into the lanes; the other one takes bytes 1 and 3. */
KWS_INLINE uint32_t kws_sxtb16(uint32_t x) {
#if KWS_DSP
  return (uint32_t)__sxtb16((int8x4_t)x);
#else
  return ((uint32_t)(int8_t)x & 0xFFFFu) | ((uint32_t)(int8_t)(x >> 16) << 16);
#endif
}

KWS_INLINE uint32_t kws_sxtb16_ror8(uint32_t x) {
#if KWS_DSP
  uint32_t result;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(x));
  return result;
#else
  return kws_sxtb16(x >> 8);
#endif
}

/* The same, added to the lanes of acc, which wrap. */
KWS_INLINE uint32_t kws_sxtab16(uint32_t acc, uint32_t x) {
#if KWS_DSP
  return (uint32_t)__sxtab16((int16x2_t)acc, (int8x4_t)x);
#else
  const int32_t low = (int8_t)x, high = (int8_t)(x >> 16);
  return ((acc + (uint32_t)low) & 0xFFFFu) | (((acc >> 16) + (uint32_t)high) << 16);
#endif
}

KWS_INLINE uint32_t kws_sxtab16_ror8(uint32_t acc, uint32_t x) {
#if KWS_DSP
  uint32_t result;
  __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(acc), "r"(x));
  return result;
#else
  return kws_sxtab16(acc, x >> 8);
#endif
}

/* (x0, y0) */
KWS_INLINE uint32_t kws_pack00(uint32_t x, uint32_t y) {
#if KWS_DSP
  uint32_t result;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(x), "r"(y));
  return result;
#else
  return (x & 0xFFFFu) | (y << 16);
#endif
}

/* (x1, y1) */
KWS_INLINE uint32_t kws_pack11(uint32_t x, uint32_t y) {
#if KWS_DSP
  uint32_t result;
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(y), "r"(x));
  return result;
#else
  return (x >> 16) | (y & 0xFFFF0000u);
#endif
}

/* Both lanes doubled; they must not overflow. */
KWS_INLINE uint32_t kws_double(uint32_t x) {
#if KWS_DSP
  return (uint32_t)__sadd16((int16x2_t)x, (int16x2_t)x);
#else
  return ((x << 1) & 0xFFFFu) | ((x & 0xFFFF0000u) << 1);
#endif
}

/* c + a*b / 2^32, rounded to nearest, halves up; c wraps. */
KWS_INLINE int32_t kws_smmlar(int32_t a, int32_t b, int32_t c) {
#if KWS_DSP
  int32_t result;
  __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
#else
  return (int32_t)((uint32_t)c + (uint32_t)(((int64_t)a * b + (INT64_C(1) << 31)) >> 32));
#endif
}

/* acc + (a * x0 >> 16), wrapping; the other one takes x1. */
KWS_INLINE int32_t kws_smlaw0(int32_t a, uint32_t x, int32_t acc) {
#if KWS_DSP
  return __smlawb(a, (int32_t)x, acc);
#else
  return (int32_t)((uint32_t)acc + (uint32_t)(((int64_t)a * kws_lane0(x)) >> 16));
#endif
}

KWS_INLINE int32_t kws_smlaw1(int32_t a, uint32_t x, int32_t acc) {
#if KWS_DSP
  return __smlawt(a, (int32_t)x, acc);
#else
  return (int32_t)((uint32_t)acc + (uint32_t)(((int64_t)a * kws_lane1(x)) >> 16));
#endif
}

/* c + a*b / 2^32, rounded down; c wraps. */
KWS_INLINE int32_t kws_smmla(int32_t a, int32_t b, int32_t c) {
#if KWS_DSP
  int32_t result;
  __asm__("smmla %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(c));
  return result;
#else
  return (int32_t)((uint32_t)c + (uint32_t)(((int64_t)a * b) >> 32));
#endif
}

/* x limited to int8. */
KWS_INLINE int32_t kws_ssat8(int32_t x) {
#if KWS_DSP
  int32_t result;
  __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(x));
  return result;
#else
  return x < INT8_MIN ? INT8_MIN : x > INT8_MAX ? INT8_MAX : x;
#endif
}

/* A word from each of three places (any address) to three words at `to`; all pointers move on. */
KWS_INLINE void kws_copy3(const int8_t *from[3], int32_t **to) {
#if KWS_DSP
  __asm__ volatile(
      "ldr r4, [%0], #4\n"
      "ldr r5, [%1], #4\n"
      "ldr r6, [%2], #4\n"
      "stmia %3!, {r4, r5, r6}\n"
      : "+r"(from[0]), "+r"(from[1]), "+r"(from[2]), "+r"(*to)
      :
      : "r4", "r5", "r6", "memory");
#else
  for (int i = 0; i < 3; i++, from[i - 1] += 4) *(*to)++ = (int32_t)kws_load32(from[i]);
#endif
}

/* Four bytes from each of three places to three words of kws_sxtb16() and three of kws_sxtb16_ror8(). */
KWS_INLINE void kws_expand3(const int8_t *from[3], int32_t **to) {
#if KWS_DSP
  __asm__ volatile(
      "ldr r4, [%0], #4\n"
      "ldr r5, [%1], #4\n"
      "ldr r6, [%2], #4\n"
      "sxtb16 r8, r4, ror #8\n"
      "sxtb16 r4, r4\n"
      "sxtb16 r9, r5, ror #8\n"
      "sxtb16 r5, r5\n"
      "sxtb16 r10, r6, ror #8\n"
      "sxtb16 r6, r6\n"
      "stmia.w %3!, {r4, r5, r6, r8, r9, r10}\n"
      : "+r"(from[0]), "+r"(from[1]), "+r"(from[2]), "+r"(*to)
      :
      : "r4", "r5", "r6", "r8", "r9", "r10", "memory");
#else
  for (int i = 0; i < 3; i++, from[i - 1] += 4) {
    const uint32_t x = kws_load32(from[i]);
    (*to)[i] = (int32_t)kws_sxtb16(x);
    (*to)[i + 3] = (int32_t)kws_sxtb16_ror8(x);
  }
  *to += 6;
#endif
}

#endif
