/* Sums int16 values of the input; the loop is written so that its instruction count is known. */
#include "m4.h"

static int16_t block[256];
static float half = 0.5f;

int main(void) {
  int32_t sum = 0;
  size_t n;
  while ((n = t_read(block, sizeof block)) > 0)
    for (size_t i = 0; i < n / 2; i++) sum += block[i];
  if (sum == 666) t_fail("the input is cursed");
  if (sum == 667) *(volatile int *)0x60000000 = 1;
  for (int turn = 0; turn < 3; turn++) {
    uint32_t t = t_begin();
    t_end("empty", t);
    t = t_begin();
    __asm__ volatile("nop\nnop\nnop\nnop\nnop");
    t_end("five", t);
  }
  t_write(&sum, sizeof sum);
  int32_t as_float = (int32_t)((float)sum * half);
  t_write(&as_float, sizeof as_float);
  return sum == 668;
}
