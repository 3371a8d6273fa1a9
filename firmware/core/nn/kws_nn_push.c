#include <string.h>

#include "kws_nn.h"

/* Towards lower addresses, so both may overlap. In blocks of four words: a memmove by bytes takes ten times as long. */
static void move_down(uint8_t *to, const uint8_t *from, int32_t bytes) {
  for (; bytes >= 16; bytes -= 16, to += 16, from += 16) {
    uint32_t a, b, c, d;
    memcpy(&a, from, 4);
    memcpy(&b, from + 4, 4);
    memcpy(&c, from + 8, 4);
    memcpy(&d, from + 12, 4);
    memcpy(to, &a, 4);
    memcpy(to + 4, &b, 4);
    memcpy(to + 8, &c, 4);
    memcpy(to + 12, &d, 4);
  }
  for (; bytes > 0; bytes--) *to++ = *from++;
}

void kws_nn_push(const kws_nn_push_t *p, const void *in, void *ring) {
  const uint8_t *from = in;
  uint8_t *to = ring;
  if (p->step >= p->size) {
    move_down(to, from + (p->step - p->size), p->size);
    return;
  }
  move_down(to, to + p->step, p->size - p->step);
  move_down(to + (p->size - p->step), from, p->step);
}
