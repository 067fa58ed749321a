#include "py/ring.h"

static struct cmpy_parcel **place_of(const struct cmpy_ring *ring, Py_ssize_t position)
{
    return &ring->places[position & (ring->nplaces - 1)];
}

int cmpy_ring_reach(struct cmpy_ring *ring, Py_ssize_t position)
{
    Py_ssize_t wanted = ring->nplaces > 0 ? ring->nplaces : 64;
    while (position - ring->first >= wanted) wanted *= 2;
    if (wanted == ring->nplaces) return 0;
    struct cmpy_parcel **places = PyMem_Calloc((size_t)wanted, sizeof *places);
    if (places == NULL) return -1;
    for (Py_ssize_t p = ring->first; p < ring->first + ring->nplaces; p++)
        places[p & (wanted - 1)] = *place_of(ring, p);
    PyMem_Free(ring->places);
    ring->places = places;
    ring->nplaces = wanted;
    return 0;
}

void cmpy_ring_put(struct cmpy_ring *ring, Py_ssize_t position, struct cmpy_parcel *parcel)
{
    *place_of(ring, position) = parcel;
}

struct cmpy_parcel *cmpy_ring_front(const struct cmpy_ring *ring)
{
    return ring->nplaces == 0 ? NULL : *place_of(ring, ring->first);
}

struct cmpy_parcel *cmpy_ring_take(struct cmpy_ring *ring)
{
    struct cmpy_parcel *parcel = cmpy_ring_front(ring);
    *place_of(ring, ring->first++) = NULL;
    return parcel;
}

void cmpy_ring_put_back(struct cmpy_ring *ring, Py_ssize_t position, struct cmpy_parcel *parcel)
{
    bool fits = ring->first == position + 1;
    /* What has arrived since may have its place: then the ring has to be larger. */
    if (fits && *place_of(ring, position) != NULL) fits = cmpy_ring_reach(ring, ring->first + ring->nplaces) == 0;
    if (!fits) {
        cmpy_parcel_drop(parcel);
        return;
    }
    ring->first = position;
    cmpy_ring_put(ring, position, parcel);
}

void cmpy_ring_clear(struct cmpy_ring *ring)
{
    for (Py_ssize_t i = 0; i < ring->nplaces; i++) {
        struct cmpy_parcel *parcel = ring->places[i];
        ring->places[i] = NULL;
        if (parcel != NULL) cmpy_parcel_drop(parcel);
    }
}

void cmpy_ring_free(struct cmpy_ring *ring)
{
    cmpy_ring_clear(ring);
    PyMem_Free(ring->places);
}

int cmpy_ring_traverse(const struct cmpy_ring *ring, visitproc visit, void *arg)
{
    for (Py_ssize_t i = 0; i < ring->nplaces; i++)
        if (ring->places[i] != NULL) Py_VISIT(ring->places[i]->object);
    return 0;
}
