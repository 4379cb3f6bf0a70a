// SPDX-License-Identifier: MIT OR Apache-2.0
//
// QEMU's teaching device (docs/specs/edu.txt in QEMU): registers, MSI, and DMA between memory and
// a buffer of its own. It proves the three things that passthrough is about: BARs reach the guest,
// interrupts reach the guest, and DMA reaches the guest's memory and no other.

#include "guest.h"

#define IDENT 0x00
#define LIVENESS 0x04
#define INTERRUPT_STATUS 0x24
#define INTERRUPT_RAISE 0x60
#define INTERRUPT_ACKNOWLEDGE 0x64
#define DMA_SOURCE 0x80
#define DMA_DESTINATION 0x88
#define DMA_COUNT 0x90
#define DMA_COMMAND 0x98

#define DMA_START 1
#define DMA_TO_MEMORY 2
#define DMA_INTERRUPT 4
#define DMA_DONE 0x100

#define DEVICE_BUFFER 0x40000
#define LENGTH 2048

static u8 sent[4096] __attribute__((aligned(4096)));
static u8 received[4096] __attribute__((aligned(4096)));

// Moves bytes one way or the other and returns whether the device's interrupt told the end.
static int run_dma(u32 bar, u32 source, u32 destination, u32 length, u32 direction)
{
	int done;

	msi_count = 0;
	*reg32(bar + DMA_SOURCE) = source;
	*reg32(bar + DMA_SOURCE + 4) = 0;
	*reg32(bar + DMA_DESTINATION) = destination;
	*reg32(bar + DMA_DESTINATION + 4) = 0;
	*reg32(bar + DMA_COUNT) = length;
	*reg32(bar + DMA_COUNT + 4) = 0;
	*reg32(bar + DMA_COMMAND) = DMA_START | DMA_INTERRUPT | direction;
	done = wait_for_msi();
	*reg32(bar + INTERRUPT_ACKNOWLEDGE) = DMA_DONE;
	wait_for_bits(reg32(bar + DMA_COMMAND), DMA_START, 0);
	return done;
}

static int count_differences(void)
{
	int differences = 0;

	for (int i = 0; i < LENGTH; i++)
		differences += sent[i] != received[i];
	return differences;
}

static void test_interrupt(u32 function, u32 bar)
{
	msi_count = 0;
	enable_msi(function);
	*reg32(bar + INTERRUPT_RAISE) = 0x55;
	check("edu.msi", wait_for_msi() && *reg32(bar + INTERRUPT_STATUS) == 0x55);
	*reg32(bar + INTERRUPT_ACKNOWLEDGE) = 0x55;
}

static void test_dma(u32 bar)
{
	for (int i = 0; i < LENGTH; i++) {
		sent[i] = (u8)(i * 7 + (i >> 8));
		received[i] = 0;
	}
	check("edu.dma_from_memory", run_dma(bar, (u32)sent, DEVICE_BUFFER, LENGTH, 0));
	check("edu.dma_to_memory",
	      run_dma(bar, DEVICE_BUFFER, (u32)received, LENGTH, DMA_TO_MEMORY));
	check("edu.dma_compare", count_differences() == 0);
}

// The write must fault in the IOMMU. The device cannot tell, so the host's log has to.
static void send_foreign_dma(u32 bar, u32 address)
{
	run_dma(bar, DEVICE_BUFFER, address, 64, DMA_TO_MEMORY);
	print("edu.dma_foreign sent to ");
	print_hex(address, 8);
	print("\n");
}

void test_edu(u32 function, u32 foreign_address)
{
	u32 bar = bar_address(function, 0);

	enable_function(function, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	check("edu.ident", (*reg32(bar + IDENT) & 0xff) == 0xed);
	*reg32(bar + LIVENESS) = 0x12345678;
	check("edu.liveness", *reg32(bar + LIVENESS) == ~0x12345678u);
	test_interrupt(function, bar);
	test_dma(bar);
	send_foreign_dma(bar, foreign_address);
}
