/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "vmm/engine/pv/domain_internal.h"
#include "vmm/engine/pv/sigframe.h"

#define MXCSR_DEFAULT 0xffbfu /* where the mask reads as zero: SDM volume 1, 11.6.6 */

/* A signal to this thread, whose frame shows what frames look like on this host. */
static struct {
	struct pv_sigframe_words words;
	uint32_t mxcsr_mask;
	bool seen;
} frame;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	const uint8_t *image = (const uint8_t *)uc->uc_mcontext.fpregs;

	(void)signal;
	(void)info;
	if (!image)
		return;
	memcpy(&frame.words, image + PV_XSAVE_WORDS, sizeof(frame.words));
	memcpy(&frame.mxcsr_mask, image + PV_XSAVE_MXCSR_MASK, 4);
	frame.seen = true;
}

static int look_at_frame(void)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO}, old;
	sigset_t set, old_set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	if (sigaction(SIGUSR2, &action, &old) < 0)
		return -errno;
	pthread_sigmask(SIG_UNBLOCK, &set, &old_set);
	pthread_kill(pthread_self(), SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &old_set, NULL);
	sigaction(SIGUSR2, &old, NULL);
	return frame.seen ? 0 : -ENOSYS;
}

int pv_xstate_find(struct pv_xstate *xstate, struct error *err)
{
	int r = look_at_frame();

	if (r < 0)
		return error_system(err, r, "pv: cannot see what a signal frame has");
	if (frame.words.magic1 != PV_SIGFRAME_MAGIC1 ||
	    frame.words.xstate_size < PV_XSAVE_EXTENDED)
		return error_set(err, -ENOSYS, "pv: the processor or kernel lacks XSAVE");
	xstate->size = frame.words.xstate_size;
	xstate->features = frame.words.features;
	xstate->mxcsr_mask = frame.mxcsr_mask ? frame.mxcsr_mask : MXCSR_DEFAULT;
	if (PV_XSTATE + xstate->size + sizeof(uint32_t) > PV_AREA_STACK ||
	    xstate->size + 1024 > PV_AREA_SIZE - PV_AREA_STACK)
		return error_set(err, -ENOSYS, "pv: %zu bytes of processor state are too many",
				 xstate->size);
	return 0;
}

bool pv_xstate_valid(const struct pv_xstate *xstate, const void *image, size_t len)
{
	static const uint8_t zero[PV_XSAVE_EXTENDED - PV_XSAVE_HEADER - 8];
	uint64_t features;
	uint32_t mxcsr;

	if (len != xstate->size)
		return false;
	memcpy(&features, (const uint8_t *)image + PV_XSAVE_HEADER, 8);
	memcpy(&mxcsr, (const uint8_t *)image + PV_XSAVE_MXCSR, 4);
	/* XCOMP_BV, for the compacted form, and reserved words: all zero or #GP. */
	return !(features & ~xstate->features) && !(mxcsr & ~xstate->mxcsr_mask) &&
	       !memcmp((const uint8_t *)image + PV_XSAVE_HEADER + 8, zero, sizeof(zero));
}
