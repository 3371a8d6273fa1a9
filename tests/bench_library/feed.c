/* Instructions of a library's feed over sound, after a second that fills its windows. */
#include "front_door.h"
#include "m4.h"

static front_door_t k;

int main(void) {
  static int16_t pcm[160];
  if (front_door_init(&k) != 0) return 1;
  for (uint32_t block = 0; t_read(pcm, sizeof pcm) == sizeof pcm; block++) {
    const uint32_t begin = t_begin();
    front_door_feed(&k, pcm, 160, NULL, NULL);
    if (block >= 100) t_end("feed", begin);
  }
  return 0;
}
