/* What the codec keeps in each module object between messages: caches only, nothing that means anything. */
#ifndef CMP_PY_CODEC_H
#define CMP_PY_CODEC_H

#include "py/instance.h"
#include "py/memo.h"
#include "py/names.h"
#include "py/state.h"

struct cmpy_codec {
    struct cmpy_memo memo;
    bool memo_taken; /* by an encoder that has not come to its end */
    struct cmpy_names names;
    struct cmpy_instance_kinds kinds;
};

/* Adds the codec's types and its two functions for tests, and fills in the state's entries. */
int cmpy_codec_add(PyObject *module);
/* From module_clear and module_free: drops Python objects, then memory. */
void cmpy_codec_clear(struct cmpy_state *state);
void cmpy_codec_free(struct cmpy_state *state);

#endif
