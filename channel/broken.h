/* broken: mistakes that a build of the tests can switch on, one at a time, to see that the simulator finds them. In what is shipped
 * BROKEN() is the constant false. */
#ifndef PENSTOCK_CHANNEL_BROKEN_H
#define PENSTOCK_CHANNEL_BROKEN_H

enum broken { BROKEN_NOTHING, BROKEN_SYNC, BROKEN_CHECKPOINT_FIRST, BROKEN_ACK_EARLY, BROKEN_CRC, BROKEN_LAP, BROKEN_EPOCH, BROKEN_FENCE,
	      BROKEN_NOTE_EARLY, BROKEN_CARRY, BROKEN_HELD, BROKEN_DONE };

#ifdef CHANNEL_BROKEN
extern enum broken channel_broken;
#define BROKEN(what) (channel_broken == BROKEN_##what)
#else
#define BROKEN(what) 0
#endif

#endif
