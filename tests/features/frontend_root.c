/* Checks root() and logarithm-free helpers of kws_frontend.c against plain arithmetic, where rounding changes. */
#include <stdio.h>

#include "kws_frontend.c"

static unsigned long checked, wrong;

static void check(uint64_t n) {
  /* Bit by bit, as a textbook has it. */
  uint64_t r = 0;
  for (int bit = 25; bit >= 0; bit--) {
    const uint64_t candidate = r + (1ull << bit);
    if (candidate * candidate <= n) r = candidate;
  }
  if (n - r * r > r && !(n >> 32 == 0 && r == 0xFFFF)) r++;
  checked++;
  if (root(n) != r && wrong++ < 5)
    printf("root(%llu) is %u, not %llu\n", (unsigned long long)n, root(n), (unsigned long long)r);
}

int main(void) {
  /* Around every place below 2^32 where the rounded root changes: k^2 + k; and around every square. */
  for (uint64_t k = 0; k < 65536; k++)
    for (int d = -2; d <= 2; d++) {
      if (k * k + (uint64_t)d < 1ull << 32) check(k * k + (uint64_t)d);
      if (k * k + k + (uint64_t)d < 1ull << 32) check(k * k + k + (uint64_t)d);
    }
  uint64_t random = 1;
  for (int i = 0; i < 1000000; i++) {
    random = random * 6364136223846793005ull + 1442695040888963407ull;
    const uint64_t k = random >> 38 >> (random % 26);
    for (int d = -1; d <= 1; d++)
      if (k) {
        check(k * k + k + (uint64_t)d);
        check(k * k + (uint64_t)d);
      }
    check(random >> 12);
  }
  printf("%lu checked, %lu wrong\n", checked, wrong);
  return wrong != 0;
}
