/* Monitor numerics from a CSV file: `t_seconds`, then columns such as `HR [bpm]`; one row is one reading. */
#ifndef MEDLEDGER_RECORDED_H
#define MEDLEDGER_RECORDED_H

#include "../device.h"

#include <stdio.h>

#define MAX_COLUMNS 32

struct recorded {
    FILE *file;
    int measure[MAX_COLUMNS]; /* of each column after the first; -1 where this device measures no such thing */
    size_t columns;
    unsigned long line; /* the one that was read last */
    bool damaged;       /* it is too long, no text, or holds a cell that is no figure that this device measures */
};

/* False where there is no such file, no column that this device measures, or damage. */
bool recorded_open(struct recorded *recorded, const char *path);

/* The number of samples of the next row; -1 at the end or where it is damaged: nothing behind that is a row. */
int recorded_next(struct recorded *recorded, struct sample *to);

#endif
