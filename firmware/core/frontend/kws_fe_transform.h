/* From windowed samples to power, for one frame or, on a computer, for as many frames as a vector has lanes. Whoever
 * includes this defines before it
 *   kws_word, kws_int      uint32_t and int32_t, or vectors of them
 *   KWS_ALL, KWS_ALL_INT   a number as such a word or int
 *   KWS_STAGE              how a stage is declared
 * and kws_fe_simd.h's operations on them. "The reference" is TensorFlow Lite's microfrontend with kissfft in int16. */

#define WINDOW_BITS 12

/* Divides both halves by about 2 or 4 as the reference does: times 16383 or 8191, rounded at bit 15. The constants
 * are doubled, so that the results stand in the upper halves. */
#define BY_2 16383
#define BY_4 8191
static inline kws_word scaled(kws_word x, int32_t twice) {
  return kws_pkhtb(kws_smlatb(x, KWS_ALL(twice), KWS_ALL_INT(1 << 15)),
                   kws_smlabb(x, KWS_ALL(twice), KWS_ALL_INT(1 << 15)), 16);
}

/* a * b of complex numbers, 15 fraction bits, rounded. */
static inline kws_word cmul(kws_word a, kws_word b) {
  const kws_int real = kws_smlsd(a, b, KWS_ALL_INT(1 << 14)), imag = kws_smladx(a, b, KWS_ALL_INT(1 << 14));
  return kws_pkhbt((kws_word)(real >> 15), (kws_word)imag, 1);
}

/* The same for |a| < 16384, where twice a is an int16 too: needs no constant but the one that scaled() has. */
static inline kws_word cmul_small(kws_word a, kws_word b) {
  const kws_word twice = kws_sadd16(a, a);
  return kws_pkhtb(kws_smladx(twice, b, KWS_ALL_INT(1 << 15)), kws_smlsd(twice, b, KWS_ALL_INT(1 << 15)), 16);
}

/* An odd power of two has one stage of radix 2, the innermost. */
static inline uint32_t innermost_radix(uint32_t points) { return points & 0xAAAAAAAAu ? 2 : 4; }

static inline kws_word windowed(kws_word x, uint32_t w) {
  const kws_int lo = kws_smulbb(x, KWS_ALL(w)), hi = kws_smultt(x, KWS_ALL(w));
  return kws_pkhbt((kws_word)(lo >> WINDOW_BITS), (kws_word)hi, 16 - WINDOW_BITS);
}

/* The innermost stage, where all twiddle factors are 1. For |a| <= 8192 the reference's product with 32767/32768
 * rounds to a itself, so there is nothing to multiply. The shift of the input is a part of the division:
 * ((x << s) * c + 2^14) >> 15 = (x * c + 2^(14 - s)) >> (15 - s). */
KWS_STAGE void first_stage(kws_word *x, uint32_t points, kws_int shift, uint32_t radix) {
  const kws_int round = KWS_ALL_INT(1) << (14 - shift);
  const kws_int right = 15 - shift, left = 1 + shift;
#define LOAD(i, c)                                                    \
  kws_pkhbt((kws_word)(kws_smlabb(x[i], KWS_ALL(c), round) >> right), \
            (kws_word)kws_smlatb(x[i], KWS_ALL(c), round) << left, 0)
  const kws_word *end = x + points;
  if (radix == 4) {
    for (; x < end; x += 4) {
      const kws_word a = LOAD(0, BY_4), b = LOAD(1, BY_4), c = LOAD(2, BY_4), d = LOAD(3, BY_4);
      const kws_word e = kws_ssub16(a, c), f = kws_sadd16(a, c), g = kws_sadd16(b, d), h = kws_ssub16(b, d);
      x[0] = kws_sadd16(f, g);
      x[1] = kws_ssax(e, h);
      x[2] = kws_ssub16(f, g);
      x[3] = kws_sasx(e, h);
    }
  } else {
    for (; x < end; x += 2) {
      const kws_word a = LOAD(0, BY_2), b = LOAD(1, BY_2);
      x[0] = kws_sadd16(a, b);
      x[1] = kws_ssub16(a, b);
    }
  }
#undef LOAD
}

/* One butterfly of radix 4 over p[0], p[m], p[2m], p[3m]. */
static inline void butterfly(kws_word *p, uint32_t m, uint32_t w1, uint32_t w2, uint32_t w3) {
  const int32_t by4 = 2 * BY_4;
  kws_word *const q = p + m;
  const kws_word b = cmul_small(scaled(q[0], by4), KWS_ALL(w1));
  const kws_word d = cmul_small(scaled(q[2 * m], by4), KWS_ALL(w3));
  const kws_word g = kws_sadd16(b, d), h = kws_ssub16(b, d);
  const kws_word c = cmul_small(scaled(q[m], by4), KWS_ALL(w2)), a = scaled(p[0], by4);
  const kws_word e = kws_ssub16(a, c), f = kws_sadd16(a, c);
  p[0] = kws_sadd16(f, g);
  q[0] = kws_ssax(e, h);
  q[m] = kws_ssub16(f, g);
  q[2 * m] = kws_sasx(e, h);
}

/* The same where all factors are 1, as in the first stage. */
static inline void plain_butterfly(kws_word *p, uint32_t m) {
  const int32_t by4 = 2 * BY_4;
  const kws_word a = scaled(p[0], by4), b = scaled(p[m], by4), c = scaled(p[2 * m], by4), d = scaled(p[3 * m], by4);
  const kws_word e = kws_ssub16(a, c), f = kws_sadd16(a, c), g = kws_sadd16(b, d), h = kws_ssub16(b, d);
  p[0] = kws_sadd16(f, g);
  p[m] = kws_ssax(e, h);
  p[2 * m] = kws_ssub16(f, g);
  p[3 * m] = kws_sasx(e, h);
}

/* A stage between the first and the last: the blocks of 4m share their m - 1 sets of factors. */
KWS_STAGE void middle_stage(kws_word *x, uint32_t points, uint32_t m, const uint32_t *twiddles) {
  const kws_word *const end = x + points;
  const uint32_t stride = points / 4 / m * 3;
  for (kws_word *p = x; p < end; p += 4 * m) plain_butterfly(p, m);
  for (uint32_t k = 1; k < m; k++) {
    twiddles += stride;
    const uint32_t w1 = twiddles[0], w2 = twiddles[1], w3 = twiddles[2];
    kws_word *p = x + k;
    do {
      butterfly(p, m, w1, w2, w3);
      p += 4 * m;
    } while (p < end);
  }
}

/* The last stage: one block, each butterfly with factors of its own. */
KWS_STAGE void last_stage(kws_word *x, uint32_t m, const uint32_t *twiddles) {
  const kws_word *const end = x + m;
  plain_butterfly(x, m);
  while (++x < end) {
    twiddles += 3;
    butterfly(x, m, twiddles[0], twiddles[1], twiddles[2]);
  }
}

/* From the transform of (even + i odd) samples to the power of the real signal's bins, in place. */
KWS_STAGE void power_spectrum(kws_word *x, uint32_t points, const kws_fe_tables_t *t) {
  const uint32_t *super_twiddles = t->super_twiddles;
  /* Bins come in pairs k and points - k; those where neither is in the band are left out. */
  const uint32_t mirrored = points - t->end_bin + 1u;
  for (uint32_t k = t->first_bin < mirrored ? t->first_bin : mirrored; k <= points / 2; k++) {
    const kws_word p = x[k], n = x[points - k];
    const uint32_t by2 = 2 * BY_2, minus = (uint32_t)(-2 * BY_2);
    const kws_word a = scaled(p, (int32_t)by2);
    const kws_word b = kws_pkhtb(kws_smlatb(n, KWS_ALL(minus), KWS_ALL_INT(1 << 15)),
                                 kws_smlabb(n, KWS_ALL(by2), KWS_ALL_INT(1 << 15)), 16); /* conjugate */
    const kws_word sum = kws_sadd16(a, b), difference = kws_ssub16(a, b);
    const kws_word odd = cmul(difference, KWS_ALL(super_twiddles[k - 1]));
    const kws_word u = kws_shadd16(sum, odd), v = kws_shsub16(sum, odd), w = kws_shsub16(odd, sum);
    x[k] = (kws_word)kws_smuad(u, u);
    x[points - k] = (kws_word)kws_smlatt(w, w, kws_smulbb(v, v)); /* at k = points / 2 the last word, as there */
  }
}

/* All stages, of what lies in the order of the FFT's leaves. */
static inline void transform(kws_word *x, kws_int shift, const kws_fe_tables_t *t) {
  const uint32_t points = t->fft_size / 2u, radix = innermost_radix(points);
  first_stage(x, points, shift, radix);
  uint32_t m = radix;
  for (; m < points / 4; m *= 4) middle_stage(x, points, m, t->twiddles);
  last_stage(x, m, t->twiddles);
  power_spectrum(x, points, t);
}
