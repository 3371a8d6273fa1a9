/* CONV_2D with windows of several rows: input rows are expanded once, then gathered into the matrix kernel's order. */
#include "matrix.h"

/* int8 [n] to int16 [n]. */
static void expand_row(const int8_t *in, int32_t n, int16_t *out) {
  for (; n >= 4; n -= 4, in += 4, out += 4) {
    const uint32_t x = kws_load32(in);
    const uint32_t even = kws_sxtb16(x), odd = kws_sxtb16_ror8(x);
    const uint32_t low = kws_pack00(even, odd), high = kws_pack11(even, odd);
    memcpy(out, &low, sizeof low);
    memcpy(out + 2, &high, sizeof high);
  }
  for (; n; n--) *out++ = *in++;
}

/* Input rows first to last - 1 into `rows`; a row outside of the image stays as padding. */
static void fill_rows(const kws_fast_conv_t *p, const int8_t *in, int32_t first, int32_t count, int16_t *rows) {
  for (int32_t y = first; y < first + count; y++, rows += p->row) {
    if (y >= 0 && y < p->in_h) {
      expand_row(in + y * p->in_line, p->in_line, rows + p->row_pad);
    } else {
      for (int32_t x = 0; x < p->in_line; x++) rows[p->row_pad + x] = (int16_t)p->in_zero_point;
    }
  }
}

/* Windows that begin at at[0..count-1] into interleaved pairs. */
static void gather(int32_t count, const kws_fast_conv_t *p, const int16_t *const at[3], int32_t *a) {
  const int32_t skip = 2 * (p->row - 2 * p->run_words);
  if (count == 3) {
    const int8_t *from[3] = {(const int8_t *)at[0], (const int8_t *)at[1], (const int8_t *)at[2]};
    for (int32_t y = p->k_h; y; y--) {
      for (int32_t n = p->run_words; n; n--) kws_copy3(from, &a);
      for (int s = 0; s < 3; s++) from[s] += skip;
    }
    return;
  }
  for (int32_t s = 0; s < count; s++) {
    const int8_t *row = (const int8_t *)at[s];
    int32_t *to = a + s;
    for (int32_t y = p->k_h; y; y--, row += skip) {
      for (int32_t n = p->run_words; n; n--, row += 4, to += count) *to = (int32_t)kws_load32(row);
    }
  }
}

/* `band` output rows from the input rows in `rows`. */
static void conv_band(const kws_tiles_t *tiles, const kws_fast_conv_t *p, int32_t band, const int16_t *rows,
                      int32_t *a, int8_t *out) {
  const int16_t *at[3] = {rows, rows, rows};
  const int16_t *line = rows, *next = rows;
  int32_t left = band * p->out_w, x = 0;
  while (left) {
    const int32_t count = left < 3 ? left : 3;
    for (int32_t s = 0; s < count; s++) {
      at[s] = next;
      next += p->step;
      if (++x == p->out_w) x = 0, next = line += p->stride_h * p->row;
    }
    gather(count, p, at, a);
    kws_matrix_block(tiles, &p->matrix, count, a, out);
    out += count * p->matrix.out_c;
    left -= count;
  }
}

void kws_conv_tiles(const kws_tiles_t *tiles, const kws_fast_conv_t *p, const int8_t *in, int8_t *out,
                    int8_t *scratch) {
  int32_t *a = (int32_t *)(void *)scratch;
  int16_t *rows = (int16_t *)(a + 3 * p->matrix.pairs);
  const int32_t held = (p->band - 1) * p->stride_h + p->k_h;
  const int32_t advance = p->band * p->stride_h;
  const int32_t kept = held > advance ? held - advance : 0;
  /* Pairs beyond the window have weights of zero; their values only have to be defined. */
  memset(a, 0, (size_t)p->matrix.pairs * 12u);
  for (int32_t i = 0; i < held * p->row; i++) rows[i] = (int16_t)p->in_zero_point;
  for (int32_t b = 0; b < p->batches; b++, in += p->in_h * p->in_line) {
    int32_t have = 0;
    for (int32_t oy = 0; oy < p->out_h; oy += p->band) {
      const int32_t band = p->out_h - oy < p->band ? p->out_h - oy : p->band;
      fill_rows(p, in, oy * p->stride_h - p->pad_h + have, held - have, rows + have * p->row);
      conv_band(tiles, p, band, rows, a, out);
      out += band * p->out_w * p->matrix.out_c;
      have = kept;
      const int16_t *from = rows + (held - kept) * p->row;
      int16_t *to = rows;
      for (int32_t n = kept * p->row; n; n -= 2, from += 2, to += 2) memcpy(to, from, 4);
    }
  }
}
