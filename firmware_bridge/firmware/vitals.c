#include "vitals.h"

static uint32_t draw(struct vitals *vitals, uint32_t below) /* xorshift32 */
{
    vitals->state ^= vitals->state << 13;
    vitals->state ^= vitals->state >> 17;
    vitals->state ^= vitals->state << 5;
    return vitals->state % below;
}

static int64_t wander(struct vitals *vitals, int64_t value, int64_t least, int64_t most)
{
    value += (int64_t)draw(vitals, 3) - 1;
    return value < least ? least : value > most ? most : value;
}

void vitals_start(struct vitals *vitals, uint32_t seed)
{
    vitals->state = seed ? seed : 1;
    vitals->heart = 72;
    vitals->saturation = 970;
}

size_t vitals_next(struct vitals *vitals, struct sample *to)
{
    vitals->heart = wander(vitals, vitals->heart, 50, 140);
    vitals->saturation = wander(vitals, vitals->saturation, 920, 995);
    to[0] = (struct sample){"8867-4", "/min", vitals->heart, 0, false};
    to[1] = (struct sample){"59408-5", "%", vitals->saturation, -1, draw(vitals, 61) == 0};
    return 2;
}
