/* The samples that the front end took, in blocks to the host. Used by app_stream.c only. */
#ifndef APP_AUDIO_H
#define APP_AUDIO_H

#include <stddef.h>
#include <stdint.h>

enum { APP_AUDIO_OFF = 0, APP_AUDIO_PCM = 1, APP_AUDIO_ADPCM = 2 };

void app_audio_start(uint8_t coding); /* a stream begins */
/* dropped: samples of this stream that the front end never got, so far. */
void app_audio_take(const int16_t *samples, size_t n, uint32_t dropped);
void app_audio_end(uint32_t dropped); /* what is left goes out, in a shorter block */

#endif
