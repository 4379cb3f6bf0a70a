// SPDX-License-Identifier: MIT OR Apache-2.0
//
// QEMU's bochs-display, the lab's graphics card: its identity register and its frame buffer.

#include "guest.h"

#define FRAME_BUFFER_BAR 0
#define REGISTER_BAR 2
#define VBE_ID 0x500

void test_bochs(u32 function)
{
	u32 frame_buffer = bar_address(function, FRAME_BUFFER_BAR);
	u32 registers = bar_address(function, REGISTER_BAR);

	enable_function(function, PCI_COMMAND_MEMORY);
	check("bochs.vbe_id", (*reg16(registers + VBE_ID) & 0xfff0) == 0xb0c0);
	*reg32(frame_buffer) = 0xdeadbeef;
	*reg32(frame_buffer + 0x1000) = 0xcafef00d;
	check("bochs.frame_buffer",
	      *reg32(frame_buffer) == 0xdeadbeef && *reg32(frame_buffer + 0x1000) == 0xcafef00d);
}
