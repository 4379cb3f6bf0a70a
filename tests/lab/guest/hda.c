// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The audio function of a card: asks its codec for its name. Question and answer travel by DMA
// (High Definition Audio 1.0a, 4.4: CORB and RIRB), so the answer proves bus mastering.

#include "guest.h"

#define GLOBAL_CONTROL 0x08
#define STATE_STATUS 0x0e
#define CORB_ADDRESS 0x40
#define CORB_WRITE_POINTER 0x48
#define CORB_READ_POINTER 0x4a
#define CORB_CONTROL 0x4c
#define CORB_SIZE 0x4e
#define RIRB_ADDRESS 0x50
#define RIRB_WRITE_POINTER 0x58
#define RIRB_INTERRUPT_COUNT 0x5a
#define RIRB_CONTROL 0x5c
#define RIRB_STATUS 0x5d
#define RIRB_SIZE 0x5e

#define RESET_DONE 1
#define POINTER_RESET 0x8000
#define RING_RUN 2
#define RING_OF_256 2
#define RIRB_OFFSET 2048
#define GET_VENDOR_ID 0x000f0000 // codec 0, node 0, parameter 0

static u32 rings[1024] __attribute__((aligned(4096)));

static int reset_controller(u32 bar)
{
	*reg32(bar + GLOBAL_CONTROL) = 0;
	wait_for_bits(reg32(bar + GLOBAL_CONTROL), RESET_DONE, 0);
	*reg32(bar + GLOBAL_CONTROL) = RESET_DONE;
	return wait_for_bits(reg32(bar + GLOBAL_CONTROL), RESET_DONE, RESET_DONE);
}

static void start_rings(u32 bar)
{
	for (int i = 0; i < 1024; i++)
		rings[i] = 0;
	*reg8(bar + CORB_CONTROL) = 0;
	*reg8(bar + RIRB_CONTROL) = 0;
	*reg32(bar + CORB_ADDRESS) = (u32)rings;
	*reg32(bar + CORB_ADDRESS + 4) = 0;
	*reg32(bar + RIRB_ADDRESS) = (u32)rings + RIRB_OFFSET;
	*reg32(bar + RIRB_ADDRESS + 4) = 0;
	*reg8(bar + CORB_SIZE) = RING_OF_256;
	*reg8(bar + RIRB_SIZE) = RING_OF_256;
	*reg16(bar + CORB_READ_POINTER) = POINTER_RESET;
	*reg16(bar + CORB_READ_POINTER) = 0;
	*reg16(bar + CORB_WRITE_POINTER) = 0;
	*reg16(bar + RIRB_WRITE_POINTER) = POINTER_RESET;
	// More than one: QEMU keeps its count of answers over a reset and would stop at once.
	*reg16(bar + RIRB_INTERRUPT_COUNT) = 8;
	*reg8(bar + CORB_CONTROL) = RING_RUN;
	*reg8(bar + RIRB_CONTROL) = RING_RUN;
}

static void stop_rings(u32 bar)
{
	*reg8(bar + RIRB_STATUS) = 5; // both bits are cleared by writing one
	*reg8(bar + CORB_CONTROL) = 0;
	*reg8(bar + RIRB_CONTROL) = 0;
}

static u32 ask_codec(u32 bar, u32 question)
{
	volatile u32 *answers = (volatile u32 *)((u8 *)rings + RIRB_OFFSET);

	rings[1] = question;
	*reg16(bar + CORB_WRITE_POINTER) = 1;
	for (u32 i = 0; i < 4000000 && !(*reg16(bar + RIRB_WRITE_POINTER) & 0xff); i++)
		pause();
	return answers[2];
}

void test_hda(u32 function)
{
	u32 bar = bar_address(function, 0);
	u32 codec;

	enable_function(function, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	check("hda.reset", reset_controller(bar));
	for (int i = 0; i < 100000 && !(*reg16(bar + STATE_STATUS) & 1); i++)
		pause();
	if (!(*reg16(bar + STATE_STATUS) & 1)) {
		print("hda: no codec\n");
		return;
	}
	start_rings(bar);
	codec = ask_codec(bar, GET_VENDOR_ID);
	stop_rings(bar);
	print("hda codec ");
	print_hex(codec, 8);
	print("\n");
	check("hda.codec_dma", codec != 0 && codec != ~0u);
}
