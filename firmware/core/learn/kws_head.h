/* The last layer of a keyword network, learning on the device: one step of gradient descent on cross-entropy, in
 * integers alone, the same on every core. No heap; weights and biases are the caller's.
 *
 * The layer's inputs are the int8 values that the network has there (of real value scale * (x - zero_point)); with
 * x' = x - zero_point the logits are W x' + b, W = scale * weights, W and b in 2^-24. */
#ifndef KWS_HEAD_H
#define KWS_HEAD_H

#include <stdint.h>

#define KWS_HEAD_INPUTS 1024 /* most */
#define KWS_HEAD_LABELS 32   /* most */

typedef struct {
  int32_t *weights; /* [labels][inputs], 2^-24 */
  int32_t *bias;    /* [labels], 2^-24 */
  uint16_t inputs;
  uint8_t labels;
  int8_t zero_point;
} kws_head_t;

typedef struct {
  uint32_t weights; /* learning rate * scale^2, 2^-32 */
  uint32_t bias;    /* learning rate, 2^-24 */
} kws_head_rate_t;

/* Returns 0, or -1 where there are no inputs or labels, or more than the most. */
int kws_head_init(kws_head_t *head, int32_t *weights, int32_t *bias, uint16_t inputs, uint8_t labels,
                  int8_t zero_point);

/* Probabilities of the labels, 2^-16: what the layer and a softmax say of `features` [inputs]. */
void kws_head_run(const kws_head_t *head, const int8_t *features, uint32_t *probabilities);

/* One step towards `label`. Returns the probability that it had before, 2^-16; -1, and nothing is learnt, where there is
 * no such label. */
int32_t kws_head_step(kws_head_t *head, const int8_t *features, uint8_t label, kws_head_rate_t rate);

#endif
