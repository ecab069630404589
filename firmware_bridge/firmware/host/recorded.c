#include "recorded.h"

#include <string.h>

enum { MAX_LINE = 1023, BUFFER = MAX_LINE + sizeof "\r", MAX_DIGITS = 9 };

static const struct {
    const char *column, *code, *unit;
} MEASURES[] = {
    {"HR [bpm]", "8867-4", "/min"},          {"RESP [pm]", "9279-1", "/min"},
    {"RESP [bpm]", "9279-1", "/min"},        {"SpO2 [%]", "59408-5", "%"},
    {"NBPSys [mmHg]", "8480-6", "mm[Hg]"},   {"NBPDias [mmHg]", "8462-4", "mm[Hg]"},
    {"NBPMean [mmHg]", "8478-0", "mm[Hg]"},
};
enum { MEASURE_COUNT = sizeof MEASURES / sizeof MEASURES[0] };

/* The next cell of a line, which is cut there; NULL after the last. */
static char *next_cell(char **line)
{
    char *cell = *line;
    if (cell == NULL)
        return NULL;
    char *comma = strchr(cell, ',');
    *line = comma ? comma + 1 : NULL;
    if (comma)
        *comma = 0;
    return cell;
}

/* The next line, without its end, in a buffer of BUFFER bytes; NULL after the last or where it is damaged. */
static char *next_line(struct recorded *recorded, char *line)
{
    size_t size = 0;
    int byte;

    if (recorded->damaged)
        return NULL;
    recorded->line++;
    while ((byte = getc(recorded->file)) != EOF && byte != '\n') {
        if (byte == 0 || size == BUFFER - 1)
            return recorded->damaged = true, NULL;
        line[size++] = (char)byte;
    }
    if (byte == EOF && (size == 0 || ferror(recorded->file)))
        return recorded->damaged = ferror(recorded->file), NULL;
    size -= size > 0 && line[size - 1] == '\r';
    line[size] = 0;
    recorded->damaged = size > MAX_LINE || strchr(line, '\r') != NULL;
    return recorded->damaged ? NULL : line;
}

bool recorded_open(struct recorded *recorded, const char *path)
{
    char buffer[BUFFER], *line, *cell;
    bool any = false;

    recorded->columns = recorded->line = 0;
    recorded->damaged = false;
    recorded->file = fopen(path, "r");
    if (!recorded->file || !(line = next_line(recorded, buffer)))
        return false;
    next_cell(&line);
    while ((cell = next_cell(&line)) && recorded->columns < MAX_COLUMNS) {
        int found = -1;
        for (int at = 0; at < MEASURE_COUNT; at++)
            if (strcmp(cell, MEASURES[at].column) == 0)
                found = at;
        recorded->measure[recorded->columns++] = found;
        any = any || found >= 0;
    }
    return any;
}

/* Digits with an optional sign and point, exactly: 97.50 is 9750 * 10^-2. */
static bool parse(const char *cell, struct sample *sample)
{
    bool negative = *cell == '-', point = false;
    size_t digits = 0;

    sample->mantissa = 0;
    sample->exponent = 0;
    for (cell += negative; *cell; cell++) {
        if (*cell == '.' && !point) {
            point = true;
            continue;
        }
        if (*cell < '0' || *cell > '9' || ++digits > MAX_DIGITS)
            return false;
        sample->mantissa = 10 * sample->mantissa + (*cell - '0');
        sample->exponent -= point;
    }
    if (negative)
        sample->mantissa = -sample->mantissa;
    sample->absent = sample->mantissa == 0; /* in these recordings, nothing was connected */
    return digits > 0;
}

int recorded_next(struct recorded *recorded, struct sample *to)
{
    char buffer[BUFFER], *line = next_line(recorded, buffer), *cell;
    int count = 0;

    if (!line)
        return -1;
    next_cell(&line);
    for (size_t at = 0; at < recorded->columns && (cell = next_cell(&line)); at++) {
        int measure = recorded->measure[at];
        if (measure < 0 || *cell == 0)
            continue;
        if (count == MAX_SAMPLES || !parse(cell, &to[count])) {
            recorded->damaged = true;
            return -1;
        }
        to[count].code = MEASURES[measure].code;
        to[count].unit = MEASURES[measure].unit;
        count++;
    }
    return count;
}
