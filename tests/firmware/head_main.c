/* Learns all examples of the input on the emulated board: u16 inputs, u8 labels, i8 zero point, the rates, weights, bias,
 * then a label and its features each; writes weights and bias. */
#include "kws_head.h"
#include "m4.h"

static int32_t weights[KWS_HEAD_LABELS * 64], bias[KWS_HEAD_LABELS];
static struct {
  uint16_t inputs;
  uint8_t labels;
  int8_t zero_point;
  kws_head_rate_t rate;
} of;

int main(void) {
  kws_head_t head;
  t_read(&of, sizeof of);
  if (of.inputs > 64 || kws_head_init(&head, weights, bias, of.inputs, of.labels, of.zero_point)) {
    t_fail("no such head");
  }
  const uint32_t bytes = 4u * of.inputs * of.labels;
  t_read(weights, bytes);
  t_read(bias, 4u * of.labels);
  uint8_t label;
  while (t_read(&label, 1) == 1) {
    int8_t features[64];
    uint32_t said[KWS_HEAD_LABELS];
    t_read(features, of.inputs);
    uint32_t begin = t_begin();
    kws_head_run(&head, features, said);
    t_end("run", begin);
    begin = t_begin();
    kws_head_step(&head, features, label, of.rate);
    t_end("step", begin);
  }
  t_write(weights, bytes);
  t_write(bias, 4u * of.labels);
  return 0;
}
