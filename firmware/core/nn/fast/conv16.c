/* conv.c with int16 weights. */
#include "matrix.h"

KWS_CONV(16, relu)
KWS_CONV(16, linear)
KWS_CONV(16, any)
