/* Host only: the firmware's detector over a whole recording in one call. */
#include "kws_detector.h"

/* levels: one of each row, or NULL. Result i lies at outputs + i * row_bytes and ends at sample first + i * step. At most `room` detections to out.
 * Returns how many there were (it may be more than room), or -1 if the configuration is refused. */
long kws_det_run(const kws_detector_config_t *config, const int8_t *outputs, const uint8_t *levels, size_t row_bytes,
                 size_t rows, uint32_t first, uint32_t step, kws_detection_t *out, size_t room) {
  kws_detector_t detector;
  if (kws_detector_init(&detector, config) != 0) return -1;
  size_t found = 0;
  for (size_t i = 0; i < rows; i++) {
    uint8_t posteriors[KWS_DET_MAX_LABELS];
    for (size_t k = 0; k < config->num_labels; k++) posteriors[k] = (uint8_t)(outputs[i * row_bytes + k] + 128);
    kws_detection_t detection;
    if (!kws_detector_step(&detector, posteriors, levels ? levels[i] : 0, first + (uint32_t)i * step, &detection))
      continue;
    if (found < room) out[found] = detection;
    found++;
  }
  return (long)found;
}

size_t kws_det_config_size(void) { return sizeof(kws_detector_config_t); }
size_t kws_det_look_size(void) { return sizeof(kws_look_t); }
size_t kws_det_detection_size(void) { return sizeof(kws_detection_t); }
