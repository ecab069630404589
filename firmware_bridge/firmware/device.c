#include "device.h"

#include <string.h>

static const char CONTEXT[] = "medledger/device-batch/1";

void device_start(struct device *device, const struct state *state, const uint8_t boot[BOOT_BYTES], const char *name,
                  size_t per_batch)
{
    memset(device, 0, sizeof *device);
    device->name = name;
    device->model = "medledger reference";
    device->firmware = "1.0";
    device->per_batch = per_batch < 1 ? 1 : per_batch > MAX_READINGS ? MAX_READINGS : per_batch;
    memcpy(device->boot, boot, BOOT_BYTES);
    device->state = *state;
    hal_keys(state->seed, device->key, device->secret);
    device->oldest = device->next_to_send = state->counter + 1;
    device->deadline = NEVER;
    device->timeout = FIRST_TIMEOUT_MS;
    device->say_hello = true;
}

bool device_idle(const struct device *device)
{
    return device->oldest > device->state.counter && device->readings == 0;
}

/* --- measuring --------------------------------------------------------------------------------------------------- */

static void write_sample(struct writer *to, const struct sample *sample)
{
    write_array(to, sample->absent ? 4 : 3);
    write_text(to, sample->code);
    if (sample->absent) {
        write_null(to);
        write_text(to, sample->unit);
        write_map(to, 1);
        write_text(to, "absent");
        write_text(to, "not-performed");
    } else {
        write_array(to, 2);
        write_int(to, sample->mantissa);
        write_int(to, sample->exponent);
        write_text(to, sample->unit);
    }
}

/* Add a reading to the open batch; false, and nothing added, where it has no room for it. */
static bool add(struct device *device, uint64_t now, const struct sample *samples, size_t count)
{
    struct writer open = {device->open, device->readings_size, sizeof device->open, false};
    write_array(&open, 2);
    write_uint(&open, now);
    write_array(&open, count);
    for (size_t at = 0; at < count; at++)
        write_sample(&open, &samples[at]);
    if (open.full || device->readings == device->per_batch)
        return false;
    device->readings_size = open.size;
    device->readings++;
    return true;
}

bool device_measure(struct device *device, uint64_t now, const struct sample *samples, size_t count)
{
    if (count > MAX_SAMPLES)
        return false;
    if (!add(device, now, samples, count) && !(device_seal(device, now) && add(device, now, samples, count)))
        return false;
    return device->readings < device->per_batch || device_seal(device, now);
}

/* The fields that are signed, and that come before the signature in a batch. */
static void write_fields(struct writer *to, const struct device *device, uint64_t counter, uint64_t now)
{
    write_text(to, device->name);
    write_bytes(to, device->key, KEY_BYTES);
    write_bytes(to, device->boot, BOOT_BYTES);
    write_uint(to, counter);
    write_uint(to, now);
    write_array(to, device->readings);
    write_raw(to, device->open, device->readings_size);
}

bool device_seal(struct device *device, uint64_t now)
{
    if (device->readings == 0)
        return true;
    struct state next = device->state;
    next.counter++;
    if (next.counter > MAX_COUNTER)
        return false;
    uint8_t signature[SIGNATURE_BYTES];
    struct writer message = {device->packet, 0, sizeof device->packet, false};
    write_array(&message, 7);
    write_text(&message, CONTEXT);
    write_fields(&message, device, next.counter, now);
    if (message.full || !hal_save(&next)) /* durable first: from here on the counter is used up */
        return false;
    hal_sign(device->secret, message.bytes, message.size, signature);

    device->state = next;
    if (next.counter - device->oldest == RING) { /* full: the place of the oldest is this one's */
        device->oldest++;
        device->dropped++;
    }
    struct writer batch = {device->ring[next.counter % RING].bytes, 0, BATCH_BYTES, false};
    write_array(&batch, 7);
    write_fields(&batch, device, next.counter, now);
    write_bytes(&batch, signature, SIGNATURE_BYTES);
    device->ring[next.counter % RING].size = (uint16_t)batch.size;
    device->ring[next.counter % RING].uptime = now;
    device->readings = device->readings_size = 0;
    if (device->next_to_send < device->oldest)
        device->next_to_send = device->oldest;
    return !batch.full;
}

/* --- the host ----------------------------------------------------------------------------------------------------- */

/* Say everything again from `counter` on; the timer starts anew with the first. */
static void go_back(struct device *device, uint64_t counter)
{
    device->next_to_send = counter;
    device->deadline = NEVER;
}

void device_acknowledged(struct device *device, uint64_t now, uint64_t counter)
{
    if (counter < device->oldest || counter > device->state.counter)
        return;
    device->oldest = counter + 1;
    if (device->next_to_send < device->oldest)
        device->next_to_send = device->oldest;
    device->timeout = FIRST_TIMEOUT_MS;
    device->deadline = device->next_to_send > device->oldest ? now + device->timeout : NEVER;
}

static void take(struct device *device, uint64_t now, const struct frame *frame)
{
    struct reader body = {frame->body, frame->size, false};
    size_t fields = read_array(&body);

    if (frame->version != LINK_VERSION || body.bad)
        return;
    if (frame->kind == ACK && fields == 2) {
        const uint8_t *boot = read_bytes(&body, BOOT_BYTES);
        uint64_t counter = read_uint(&body);
        if (!body.bad && body.left == 0 && memcmp(boot, device->boot, BOOT_BYTES) == 0)
            device_acknowledged(device, now, counter);
    } else if (frame->kind == ASK && fields == 0 && body.left == 0) {
        device->say_hello = true;
        device->timeout = FIRST_TIMEOUT_MS;
        go_back(device, device->oldest);
    } else if (frame->kind == ERROR_REPORT && fields == 3) {
        size_t size = 0;
        uint64_t sequence = read_uint(&body);
        const char *reason = read_text(&body, MAX_TEXT, &size);
        uint64_t counter = read_uint(&body);
        if (!body.bad && body.left == 0 && sequence <= UINT16_MAX && size == 5 && memcmp(reason, "order", 5) == 0 &&
            device->oldest <= counter && counter < device->next_to_send)
            go_back(device, counter);
    }
}

void device_receive(struct device *device, uint64_t now, const uint8_t *bytes, size_t size)
{
    struct frame frame;
    for (size_t at = 0; at < size; at++)
        if (deframer_take(&device->deframer, bytes[at], &frame))
            take(device, now, &frame);
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static size_t wrap(struct device *device, enum kind kind, const struct writer *body)
{
    return body->full ? 0 : frame_wrap(device->packet, body->size, kind, device->sequence++, device->frame);
}

size_t device_send(struct device *device, uint64_t now)
{
    struct writer body = {device->packet + 4, 0, sizeof device->packet - 8, false};

    if (now >= device->deadline) {
        device->timeout = device->timeout > LAST_TIMEOUT_MS / 2 ? LAST_TIMEOUT_MS : 2 * device->timeout;
        go_back(device, device->oldest);
        device->say_hello = true;
    }
    if (device->say_hello) {
        device->say_hello = false;
        write_array(&body, 9);
        write_text(&body, device->name);
        write_bytes(&body, device->key, KEY_BYTES);
        write_bytes(&body, device->boot, BOOT_BYTES);
        write_uint(&body, device->state.counter + 1);
        write_uint(&body, device->oldest);
        write_uint(&body, device->dropped);
        write_text(&body, device->model);
        write_text(&body, device->firmware);
        write_null(&body); /* calibrated: a simulated sensor never was */
        return wrap(device, HELLO, &body);
    }
    uint64_t counter = device->next_to_send;
    if (counter > device->state.counter || counter - device->oldest >= WINDOW)
        return 0;
    device->next_to_send++;
    if (device->deadline == NEVER)
        device->deadline = now + device->timeout;
    write_array(&body, 3);
    write_uint(&body, device->oldest);
    write_uint(&body, now - device->ring[counter % RING].uptime);
    write_raw(&body, device->ring[counter % RING].bytes, device->ring[counter % RING].size);
    return wrap(device, BATCH, &body);
}
