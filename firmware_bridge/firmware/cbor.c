#include "cbor.h"

#include <string.h>

enum { UNSIGNED = 0x00, NEGATIVE = 0x20, BYTES = 0x40, TEXT = 0x60, ARRAY = 0x80, MAP = 0xa0, NULL_VALUE = 0xf6 };

void write_raw(struct writer *to, const uint8_t *bytes, size_t size)
{
    if (to->full || size > to->room - to->size) {
        to->full = true;
        return;
    }
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

/* The shortest head; its argument is big-endian, as everywhere in CBOR. */
static void write_head(struct writer *to, uint8_t major, uint64_t argument)
{
    uint8_t head[9];
    size_t width = argument < 24 ? 0 : argument <= 0xff ? 1 : argument <= 0xffff ? 2 : argument <= 0xffffffff ? 4 : 8;
    uint8_t code = width == 0 ? (uint8_t)argument : width == 1 ? 24 : width == 2 ? 25 : width == 4 ? 26 : 27;

    head[0] = (uint8_t)(major | code);
    for (size_t at = 0; at < width; at++)
        head[1 + at] = (uint8_t)(argument >> (8 * (width - 1 - at)));
    write_raw(to, head, 1 + width);
}

void write_uint(struct writer *to, uint64_t value) { write_head(to, UNSIGNED, value); }
void write_array(struct writer *to, size_t count) { write_head(to, ARRAY, count); }
void write_map(struct writer *to, size_t count) { write_head(to, MAP, count); }

void write_int(struct writer *to, int64_t value)
{
    if (value < 0)
        write_head(to, NEGATIVE, (uint64_t)(-(value + 1)));
    else
        write_uint(to, (uint64_t)value);
}

void write_bytes(struct writer *to, const uint8_t *bytes, size_t size)
{
    write_head(to, BYTES, size);
    write_raw(to, bytes, size);
}

void write_text(struct writer *to, const char *text)
{
    write_head(to, TEXT, strlen(text));
    write_raw(to, (const uint8_t *)text, strlen(text));
}

void write_null(struct writer *to)
{
    const uint8_t byte = NULL_VALUE;
    write_raw(to, &byte, 1);
}

static uint64_t bad(struct reader *from)
{
    from->bad = true;
    return 0;
}

/* The argument of a head of this major type, which must be the shortest one. */
static uint64_t read_head(struct reader *from, uint8_t major)
{
    if (from->bad || from->left == 0 || (from->at[0] & 0xe0) != major)
        return bad(from);
    uint8_t code = from->at[0] & 0x1f;
    if (code < 24) {
        from->at += 1, from->left -= 1;
        return code;
    }
    if (code > 27)
        return bad(from);
    size_t width = (size_t)1 << (code - 24);
    if (from->left < 1 + width)
        return bad(from);
    uint64_t argument = 0;
    for (size_t at = 0; at < width; at++)
        argument = argument << 8 | from->at[1 + at];
    if (width == 1 ? argument < 24 : argument >> (4 * width) == 0)
        return bad(from);
    from->at += 1 + width, from->left -= 1 + width;
    return argument;
}

uint64_t read_uint(struct reader *from) { return read_head(from, UNSIGNED); }

size_t read_array(struct reader *from)
{
    uint64_t count = read_head(from, ARRAY);
    return count > 23 ? (size_t)bad(from) : (size_t)count; /* longer ones occur in no message */
}

static const uint8_t *read_string(struct reader *from, uint8_t major, size_t least, size_t most, size_t *size)
{
    uint64_t length = read_head(from, major);
    if (from->bad || length > from->left || length < least || length > most) {
        bad(from);
        return NULL;
    }
    const uint8_t *start = from->at;
    from->at += length, from->left -= (size_t)length;
    *size = (size_t)length;
    return start;
}

const uint8_t *read_bytes(struct reader *from, size_t size)
{
    size_t got;
    return read_string(from, BYTES, size, size, &got);
}

const char *read_text(struct reader *from, size_t most, size_t *size)
{
    return (const char *)read_string(from, TEXT, 1, most, size);
}
