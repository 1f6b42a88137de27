/* SPDX-License-Identifier: Apache-2.0 */
/* The host's system calls, by every way there is into its kernel. */
#include "escape.h"

extern const char u_syscall[], u_syscall_next[], u_int80[], u_sysenter[], u_lcall[], u_call[],
    u_undefined[];

#define X32      0x40000000ull
#define VSYSCALL 0xffffffffff600000ull
#define CODE32   0x23u /* Linux's selector of 32-bit code */

/*
 * uretprobe and uprobe: kernels from 6.14 on answer these two before any filter, with SIGILL or
 * an error unless they come from a place that only tracing makes. The guest's kernel does not
 * hear of them.
 */
static bool unfiltered(uint64_t number)
{
	return number == 335 || number == 336;
}

/* ---- from kernel mode ---- */

static uint64_t call_number, call_args[6];
static int64_t call_result;

static void call_host(uint64_t number)
{
	call_result = hv6(number, call_args[0], call_args[1], call_args[2], call_args[3],
			  call_args[4], call_args[5]);
}

static void call_int80(uint64_t number)
{
	__asm__ volatile("int $0x80"
			 : "=a"(call_result)
			 : "a"(number), "b"(call_args[0]), "c"(call_args[1]), "d"(call_args[2])
			 : "memory");
}

static void escape_kernel_calls(void)
{
	static char text[256];

	escape_strings(text);
	for (call_number = 0; call_number <= HOST_CALLS; call_number++)
		for (unsigned way = 0; way < ESCAPE_WAYS; way++) {
			escape_arguments(call_number, way, (uint64_t)text, call_args);
			if (try(call_host, call_number, NULL))
				EXPECT(unfiltered(call_number));
			else if (!unfiltered(call_number))
				EXPECT_EQ(call_result, SEGUE_PV_ENOSYS);
			/* x32 and int 0x80 are nobody's: a trap, or no such call. */
			if (!try(call_host, X32 | call_number, NULL))
				EXPECT_EQ(call_result, SEGUE_PV_ENOSYS);
			if (!try(call_int80, call_number, NULL))
				EXPECT_EQ(call_result, SEGUE_PV_ENOSYS);
		}
	try(call_host, 0xffffffff, NULL);
	try(call_host, ~0ull, NULL);
	EXPECT_EQ(hv(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
}

/* A frame of the host's signals, made up, and the call that would load it. */
static void escape_kernel_sigreturn(void)
{
	static uint64_t frame[128];

	memset(frame, 0, sizeof(frame));
	for (unsigned i = 0; i < 3; i++) {
		__asm__ volatile("movq %%rsp, %%r12; movq %2, %%rsp; syscall; movq %%r12, %%rsp"
				 : "=a"(call_result)
				 : "a"(15), "r"(frame)
				 : "rcx", "r11", "r12", "memory");
		EXPECT_EQ(call_result, SEGUE_PV_ENOSYS);
	}
}

/* The host's vsyscall page would tell the host's time. */
static void escape_kernel_vsyscall(void)
{
	for (unsigned i = 0; i < 4; i++) {
		struct segue_pv_frame frame;

		call_result = SEGUE_PV_ENOSYS;
		try_jump(VSYSCALL + i * 0x400, &frame);
		try_read(VSYSCALL + i * 0x400, &frame);
	}
	EXPECT_EQ(hv(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
}

/* ---- from user mode ---- */

static void load_call(const char *code, uint64_t number, unsigned way)
{
	uint64_t args[6];

	user_load(code);
	escape_arguments(number & ~X32, way, USER_DATA, args);
	user->regs.rax = number;
	user->regs.rdi = user->regs.rbx = args[0];
	user->regs.rsi = user->regs.rcx = args[1];
	user->regs.rdx = args[2];
	user->regs.r10 = args[3];
	user->regs.r8 = args[4];
	user->regs.r9 = args[5];
}

static void expect_call(struct program *p, uint64_t number, unsigned way)
{
	uint64_t args[6];

	load_call(u_syscall, number, way);
	escape_arguments(number, way, USER_DATA, args);
	EXPECT(escape_run(p));
	if (unfiltered(number))
		return;
	EXPECT_EQ(escape_reason, SEGUE_PV_SYSCALL);
	EXPECT_EQ(user->number & 0xffffffff, number);
	EXPECT_EQ(user->rip, user_at(u_syscall_next));
	for (unsigned i = 0; i < 6; i++)
		EXPECT_EQ(user->arguments[i], args[i]);
}

/* What came of a call that is nobody's: the guest's business at most. */
static void expect_harmless(struct program *p)
{
	EXPECT(escape_run(p));
	EXPECT(escape_reason == SEGUE_PV_TRAP || escape_reason == SEGUE_PV_SYSCALL);
}

static void escape_user_calls(void)
{
	struct program p;

	RUN(escape_witness_new());
	EXPECT(program_new(&p, u_syscall));
	escape_strings(at(p.data));
	for (uint64_t number = 0; number <= HOST_CALLS; number++)
		for (unsigned way = 0; way < ESCAPE_WAYS; way++) {
			RUN(expect_call(&p, number, way));
			load_call(u_syscall, X32 | number, way);
			RUN(expect_harmless(&p));
			load_call(u_int80, number, way);
			RUN(expect_harmless(&p));
		}
	load_call(u_syscall, 0xffffffff, 0);
	RUN(expect_harmless(&p));
	load_call(u_sysenter, 4, 1);
	RUN(expect_harmless(&p));
	for (unsigned i = 0; i < 4; i++) {
		load_call(u_call, 0, 0);
		user->regs.rdx = VSYSCALL + i * 0x400;
		user->regs.rdi = USER_DATA + 512;
		RUN(expect_harmless(&p));
	}
	RUN(escape_witness_check());
}

/* 32-bit code: every Linux lets any program change into it. */
static void escape_compat(void)
{
	static const uint8_t codes[][4] = {
	    {0xcd, 0x80, 0x0f, 0x0b}, /* int 0x80; ud2 */
	    {0x0f, 0x05, 0x0f, 0x0b}, /* syscall */
	    {0x0f, 0x34, 0x0f, 0x0b}, /* sysenter */
	    {0xeb, 0xfe, 0x0f, 0x0b}, /* jmp . */
	    {0x0f, 0x0b, 0x0f, 0x0b}, /* ud2 */
	};
	struct program p;

	RUN(escape_witness_new());
	EXPECT(program_new(&p, u_lcall));
	map(p.root, USER_DATA, p.data, U_RWX);
	for (unsigned i = 0; i < sizeof(codes) / sizeof(*codes); i++)
		for (uint64_t number = 1; number < (codes[i][0] == 0xeb ? 3 : 20); number++) {
			uint32_t *far = at(p.data + 0x800);

			memcpy(at(p.data + 0x900), codes[i], 4);
			far[0] = (uint32_t)USER_DATA + 0x900;
			far[1] = CODE32;
			escape_strings(at(p.data));
			load_call(u_lcall, number, (unsigned)(number % ESCAPE_WAYS));
			user->regs.rdi = USER_DATA + 0x800;
			user->regs.rsp = USER_STACK + PAGE - 512;
			escape_patience = 50 * MS;
			EXPECT(escape_run(&p));
			escape_patience = 1000 * MS;
			/* Back in 64-bit code by the next LOAD. */
			RUN(expect_call(&p, number, 1));
		}
	RUN(escape_witness_check());
}

/* A stack pointer anywhere, and then a fault or an event. */
static void escape_stack(void)
{
	static const uint64_t places[] = {
	    0,
	    8,
	    1,
	    127,
	    PAGE,
	    SEGUE_PV_VA_END,
	    1ull << 46,
	    (1ull << 47) - 8,
	    (1ull << 47),
	    1ull << 63,
	    ~0ull,
	    ~0ull - 7,
	    0xffffffff80000000ull,
	    USER_CODE + 64,
	};
	struct program p;

	RUN(escape_witness_new());
	EXPECT(program_new(&p, u_undefined));
	for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
		user_load(u_undefined);
		user->regs.rsp = places[i];
		EXPECT(escape_run(&p));
		EXPECT_EQ(escape_reason, SEGUE_PV_TRAP);
		EXPECT_EQ(user->trap.vector, SEGUE_PV_VECTOR_UD);
		EXPECT_EQ(hv(SEGUE_PV_GET_USER, p.id, 0, 0), 0);
		EXPECT_EQ(user->regs.rsp, places[i]);
	}
	RUN(escape_witness_check());
}

const struct probe_case escape_cases[] = {
    {"escape-kernel-calls", escape_kernel_calls},
    {"escape-kernel-sigreturn", escape_kernel_sigreturn},
    {"escape-kernel-vsyscall", escape_kernel_vsyscall},
    {"escape-user-calls", escape_user_calls},
    {"escape-compat", escape_compat},
    {"escape-stack", escape_stack},
    {NULL, NULL},
};
