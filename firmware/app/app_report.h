/* The link to the host and all that is sent over it, and the LED, which tells of detections without one. Knows nothing of
 * where what it sends comes from. */
#ifndef APP_REPORT_H
#define APP_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "kws_detector.h"
#include "kws_link.h"

/* As the payload of RESULT; ticks without what interrupts took. */
typedef struct {
  uint32_t index, position, frontend_ticks, frontend_frames, inference_ticks, detector_ticks;
  const int8_t *output;
} app_result_t;

extern kws_link_t app_link; /* begun and fed by kws_app.c */

void app_send(uint8_t type, const uint8_t *payload, size_t len);
void app_send_error(uint8_t command, uint8_t code, uint16_t seq, const char *text);
void app_log(uint8_t level, const char *text);
void app_send_result(const app_result_t *result);
void app_send_detection(const kws_detection_t *detection);
void app_send_features(uint32_t frame, const uint16_t *features);
void app_report_poll(void); /* from the main loop: puts the LED out */

#endif
