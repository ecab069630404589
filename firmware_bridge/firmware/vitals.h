/* Vital signs without a patient: the same for the same seed, in C and in Python. */
#ifndef MEDLEDGER_VITALS_H
#define MEDLEDGER_VITALS_H

#include "device.h"

struct vitals {
    uint32_t state;
    int64_t heart, saturation;
};

void vitals_start(struct vitals *vitals, uint32_t seed);
size_t vitals_next(struct vitals *vitals, struct sample *to); /* 2 samples */

#endif
