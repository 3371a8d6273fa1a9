/* ADD, four values at a time. */
#include "kws_fast.h"

/* Values lie in the high bytes of the lanes: eight bits of precision for nothing. */
KWS_INLINE void add4(const kws_fast_add_t *p, uint32_t x, uint32_t y, int8_t *out, int32_t n) {
  const uint32_t high = 0xFF00FF00u;
  const uint32_t x02 = (x << 8) & high, x13 = x & high, y02 = (y << 8) & high, y13 = y & high;
  const int32_t r0 = kws_ssat8(kws_smlaw0(p->b, y02, kws_smlaw0(p->a, x02, p->c)) >> 20);
  const int32_t r1 = kws_ssat8(kws_smlaw0(p->b, y13, kws_smlaw0(p->a, x13, p->c)) >> 20);
  const int32_t r2 = kws_ssat8(kws_smlaw1(p->b, y02, kws_smlaw1(p->a, x02, p->c)) >> 20);
  const int32_t r3 = kws_ssat8(kws_smlaw1(p->b, y13, kws_smlaw1(p->a, x13, p->c)) >> 20);
  out[0] = (int8_t)r0;
  if (n > 1) out[1] = (int8_t)r1;
  if (n > 2) out[2] = (int8_t)r2;
  if (n > 3) out[3] = (int8_t)r3;
}

void kws_fast_add(const kws_fast_add_t *p, const int8_t *in1, const int8_t *in2, int8_t *out) {
  const kws_fast_add_t q = *p; /* out may hide anything from the compiler; a copy of its own stays in registers */
  for (int32_t n = q.size >> 2; n; n--, in1 += 4, in2 += 4, out += 4) add4(&q, kws_load32(in1), kws_load32(in2), out, 4);
  const int32_t left = q.size & 3;
  if (!left) return;
  uint32_t x = 0, y = 0;
  memcpy(&x, in1, (size_t)left);
  memcpy(&y, in2, (size_t)left);
  add4(&q, x, y, out, left);
}
