/* UNIDIRECTIONAL_SEQUENCE_LSTM with int8 activations and an int16 cell, without peepholes, projection or layer norm.
 * Formulas: S. Hochreiter and J. Schmidhuber, "Long short-term memory" (1997), with a forget gate. */
#include <string.h>

#include "kws_nn.h"
#include "kws_nn_dot.h"
#include "kws_nn_math.h"

enum { INPUT, FORGET, CELL, OUTPUT };

static int32_t limit16(int32_t value) {
  return value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value;
}

/* 65536 / (1 + e^-x) for x = |a| / (24 * 2^fraction), between the table's points; a beyond it is 1. 16 + fraction
 * fraction bits. */
static uint32_t sigmoid(const uint16_t *table, uint32_t magnitude, int32_t fraction, uint32_t one) {
  const uint32_t at = magnitude >> fraction;
  if (at >= 255) return one << fraction;
  const uint32_t low = table[at], high = table[at + 1];
  return (low << fraction) + (magnitude & ((1u << fraction) - 1u)) * (high - low);
}

/* Q3.12 to Q0.15. */
static int32_t logistic(const kws_nn_lstm_t *p, int32_t a) {
  const int32_t wide = 3 * a;
  uint32_t value = sigmoid(p->sigmoid, (uint32_t)(wide < 0 ? -wide : wide), 9, 0x7fffu << 1);
  value = wide >= 0 ? value + (1u << 9) : (1u << 25) - value + (1u << 9) - 1u;
  return (int32_t)(value >> 10);
}

/* As 2 logistic(2 a) - 1; a has `multiplier` * 2^-shift * 2^-12 / 3 to a step. To Q0.15. */
static int32_t tanh16(const kws_nn_lstm_t *p, int32_t a, int32_t multiplier, int32_t shift) {
  const int32_t round = shift > 0 ? 1 << (shift - 1) : 0;
  const int32_t wide = (a * multiplier + round) >> shift;
  const int32_t value = (int32_t)sigmoid(p->sigmoid, (uint32_t)(wide < 0 ? -wide : wide), 8, 0xffffu);
  const int32_t centred = wide >= 0 ? value - (1 << 23) + (1 << 7) : -value + (1 << 23) + (1 << 7) - 1;
  return centred >> 8;
}

/* The sum in front of a gate's function, Q3.12: input and state each rounded and limited, then added. */
static int32_t gate_sum(const kws_nn_lstm_t *p, const kws_nn_lstm_gate_t *gate, int32_t unit, const int8_t *in,
                        const int8_t *hidden) {
  const int32_t from_input =
      kws_nn_dot(in, gate->weights + unit * p->in_c, p->in_c, p->in_zero_point) + gate->bias[unit];
  const int32_t from_state =
      kws_nn_dot(hidden, gate->recurrent + unit * p->units, p->units, p->hidden_zero_point);
  return limit16(limit16(kws_nn_requantize(from_input, gate->multiplier, gate->shift)) +
                 limit16(kws_nn_requantize(from_state, gate->recurrent_multiplier, gate->recurrent_shift)));
}

static void step(const kws_nn_lstm_t *p, const int8_t *in, const int8_t *hidden, uint8_t *cells, int8_t *out) {
  for (int32_t unit = 0; unit < p->units; unit++) {
    int16_t cell;
    memcpy(&cell, cells + 2 * unit, 2);
    const int32_t forget = logistic(p, gate_sum(p, &p->gates[FORGET], unit, in, hidden));
    const int32_t input = logistic(p, gate_sum(p, &p->gates[INPUT], unit, in, hidden));
    const int32_t value = tanh16(p, gate_sum(p, &p->gates[CELL], unit, in, hidden), 3, 0);
    const int32_t kept = limit16(kws_nn_requantize(forget * cell, p->forget_multiplier, p->forget_shift));
    const int32_t added = limit16(kws_nn_requantize(input * value, p->input_multiplier, p->input_shift));
    int32_t now = limit16(kept + added);
    if (p->cell_clip > 0) now = now > p->cell_clip ? p->cell_clip : now < -p->cell_clip ? -p->cell_clip : now;
    cell = (int16_t)now;
    memcpy(cells + 2 * unit, &cell, 2);
    const int32_t gate = logistic(p, gate_sum(p, &p->gates[OUTPUT], unit, in, hidden));
    const int32_t product = tanh16(p, cell, p->tanh_multiplier, p->tanh_shift) * gate;
    out[unit] = kws_nn_output(product, p->hidden_multiplier, p->hidden_shift, p->hidden_zero_point, INT8_MIN,
                              INT8_MAX);
  }
}

void kws_nn_lstm(const kws_nn_lstm_t *p, const int8_t *in, int8_t *hidden, void *cells, int8_t *out) {
  for (int32_t batch = 0; batch < p->batches; batch++) {
    const int8_t *x = in + batch * p->in_batch;
    int8_t *y = out + batch * p->out_batch;
    int8_t *h = hidden + batch * p->units;
    uint8_t *c = (uint8_t *)cells + 2 * batch * p->units;
    for (int32_t t = 0; t < p->steps; t++, x += p->in_step, y += p->out_step) {
      step(p, x, h, c, y);
      memcpy(h, y, (size_t)p->units); /* only now: every unit reads the state of the step before */
    }
  }
}
