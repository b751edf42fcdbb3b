/* reference: docs/options.md, made of the option tables (`penstock kinds --markdown`). Control thread. */
#ifndef PENSTOCK_CTRLPLANE_REFERENCE_H
#define PENSTOCK_CTRLPLANE_REFERENCE_H

struct text;
/* All kinds in the registry and the properties of the process. */
void reference_print(struct text *text);

#endif
