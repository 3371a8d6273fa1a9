/* conv.c with both channels' weights in one word. */
#include "matrix.h"

KWS_CONV(8, relu)
KWS_CONV(8, linear)
KWS_CONV(8, any)
