// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Output on COM1 and the verdict.

#include "guest.h"

#define COM1 0x3f8
#define COM1_INTERRUPTS (COM1 + 1)
#define COM1_LINE_CONTROL (COM1 + 3)
#define COM1_LINE_STATUS (COM1 + 5)
#define EIGHT_BITS 3
#define READY_TO_SEND 0x20

static u32 tests, fails;

void print_init(void)
{
	outb(COM1_INTERRUPTS, 0);
	outb(COM1_LINE_CONTROL, EIGHT_BITS);
}

static void print_char(char c)
{
	while (!(inb(COM1_LINE_STATUS) & READY_TO_SEND))
		pause();
	outb(COM1, (u8)c);
}

void print(const char *text)
{
	while (*text)
		print_char(*text++);
}

void print_hex(u32 value, int digits)
{
	while (digits--)
		print_char("0123456789abcdef"[value >> (4 * digits) & 15]);
}

void print_decimal(u32 value)
{
	if (value >= 10)
		print_decimal(value / 10);
	print_char((char)('0' + value % 10));
}

void check(const char *name, int passed)
{
	tests++;
	if (!passed)
		fails++;
	print(passed ? "ok " : "FAIL ");
	print(name);
	print("\n");
}

void print_result(void)
{
	print("RESULT tests=");
	print_decimal(tests);
	print(" fails=");
	print_decimal(fails);
	print("\n");
}
