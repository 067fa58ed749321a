/* Ring: the parcels of an imap that wait to be handed out, each at its position.
 *
 * The parcel of position p waits at p mod nplaces, for first <= p < first + nplaces. Each place is made before its
 * position is given (cmpy_ring_reach), so that an outcome never lacks one. It is used with the GIL held. */
#ifndef CMP_PY_RING_H
#define CMP_PY_RING_H

#include "py/parcel.h"

/* All 0 to begin with. */
struct cmpy_ring {
    Py_ssize_t first;             /* position of the parcel to hand out next */
    struct cmpy_parcel **places;
    Py_ssize_t nplaces;           /* a power of two, or 0 */
};

/* Makes places up to this position. -1 if there is no memory, without an exception: it is as it was. */
int cmpy_ring_reach(struct cmpy_ring *ring, Py_ssize_t position);
/* Takes the parcel over; its place has been made. */
void cmpy_ring_put(struct cmpy_ring *ring, Py_ssize_t position, struct cmpy_parcel *parcel);
/* The parcel at the front, which stays there, or NULL. */
struct cmpy_parcel *cmpy_ring_front(const struct cmpy_ring *ring);
/* Takes the parcel at the front out, where there is one; the next position is the front from now on. */
struct cmpy_parcel *cmpy_ring_take(struct cmpy_ring *ring);
/* The parcel of this position, taken out last, goes back to the front, unless others have been taken from behind it:
 * then it is dropped, as it is where there is no memory. */
void cmpy_ring_put_back(struct cmpy_ring *ring, Py_ssize_t position, struct cmpy_parcel *parcel);
/* Drops all that wait. */
void cmpy_ring_clear(struct cmpy_ring *ring);
/* Drops all that wait, and the places. */
void cmpy_ring_free(struct cmpy_ring *ring);
int cmpy_ring_traverse(const struct cmpy_ring *ring, visitproc visit, void *arg);

#endif
