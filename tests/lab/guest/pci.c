// SPDX-License-Identifier: MIT OR Apache-2.0
//
// PCI configuration space through the ports 0xcf8 and 0xcfc (PCI 3.0, 3.2.2.3.2).

#include "guest.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA 0xcfc
#define CONFIG_ENABLE 0x80000000

#define OFFSET_ID 0x00
#define OFFSET_COMMAND 0x04
#define OFFSET_CLASS 0x08
#define OFFSET_HEADER 0x0c
#define OFFSET_BARS 0x10
#define OFFSET_BUSES 0x18
#define OFFSET_CAPABILITIES 0x34

#define STATUS_CAPABILITIES 0x100000
#define HEADER_BRIDGE 1
#define CAPABILITY_MSI 5
#define MSI_ENABLE 0x10000
#define MSI_64_BIT 0x800000
#define MAX_CAPABILITIES 48
#define MAX_BUSES 32

u32 config_read(u32 function, u32 offset)
{
	outl(CONFIG_ADDRESS, CONFIG_ENABLE | function << 8 | (offset & 0xfc));
	return inl(CONFIG_DATA);
}

void config_write(u32 function, u32 offset, u32 value)
{
	outl(CONFIG_ADDRESS, CONFIG_ENABLE | function << 8 | (offset & 0xfc));
	outl(CONFIG_DATA, value);
}

u32 config_class(u32 function)
{
	return config_read(function, OFFSET_CLASS) >> 8;
}

// SeaBIOS has given every BAR an address below 4 GiB.
u32 bar_address(u32 function, int bar)
{
	return config_read(function, OFFSET_BARS + 4 * (u32)bar) & ~15u;
}

void enable_function(u32 function, u32 command)
{
	u32 old = config_read(function, OFFSET_COMMAND) & 0xffff;

	config_write(function, OFFSET_COMMAND, old | command);
}

static u32 find_capability(u32 function, u8 id)
{
	u32 offset, header;

	if (!(config_read(function, OFFSET_COMMAND) & STATUS_CAPABILITIES))
		return 0;
	offset = config_read(function, OFFSET_CAPABILITIES) & 0xfc;
	for (int i = 0; offset && i < MAX_CAPABILITIES; i++) {
		header = config_read(function, offset);
		if ((header & 0xff) == id)
			return offset;
		offset = header >> 8 & 0xfc;
	}
	return 0;
}

// Directs the function's MSI to MSI_VECTOR of the first processor (PCI 3.0, 6.8.1).
void enable_msi(u32 function)
{
	u32 msi = find_capability(function, CAPABILITY_MSI);
	u32 header = config_read(function, msi);
	int is_64_bit = (header & MSI_64_BIT) != 0;

	if (!msi) {
		print("no MSI capability\n");
		return;
	}
	config_write(function, msi + 4, LAPIC_BASE);
	if (is_64_bit)
		config_write(function, msi + 8, 0);
	config_write(function, msi + (is_64_bit ? 12 : 8), MSI_VECTOR);
	config_write(function, msi, header | MSI_ENABLE);
}

// Goes through the buses in the order of their numbers; a bridge's bus is above its own.
void each_function(void (*visit)(u32 function))
{
	u32 last_bus = 0;

	for (u32 function = 0; function <= (last_bus << 8 | 0xff); function++) {
		if ((config_read(function, OFFSET_ID) & 0xffff) == 0xffff) {
			// Without function 0 there are no others (PCI 3.0, 3.2.2.3.4).
			if (!(function & 7))
				function += 7;
			continue;
		}
		if ((config_read(function, OFFSET_HEADER) >> 16 & 0x7f) == HEADER_BRIDGE) {
			u32 below = config_read(function, OFFSET_BUSES) >> 8 & 0xff;

			if (below > last_bus && below < MAX_BUSES)
				last_bus = below;
		}
		visit(function);
	}
}
