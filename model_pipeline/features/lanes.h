/* Host only: many clips at once. */
#ifndef KWS_FE_LANES_H
#define KWS_FE_LANES_H

#include "kws_frontend.h"

#define KWS_LANES 16

/* samples[lane]: where its window begins. power[lane]: its bins, from bin 0 on; shift[lane]: by how much they are too
 * large, as apply_window() in kws_frontend.c returns it. */
void kws_fe_power_lanes(const kws_fe_tables_t *t, const int16_t *const *samples, uint32_t *const *power, int *shift);

#endif
