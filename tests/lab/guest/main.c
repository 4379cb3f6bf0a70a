// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the guest does, told by its command line (QEMU's -append):
//
//   (nothing)  test, then power off
//   wait       test, then wait for the power button and power off
//   stubborn   test, then ignore the power button for ever
//   crash      test, then crash (triple fault, which resets the machine)
//   look       with any of these: no test. The tests write to what QEMU's emulated devices have
//              there; a real card of the same class has other registers in that place.

#include "guest.h"

#define EDU_ID 0x11e81234
#define CLASS_DISPLAY 0x03
#define CLASS_AUDIO 0x0403

#define MULTIBOOT_HAS_MEMORY 1
#define MULTIBOOT_HAS_COMMAND_LINE 4

// The start of the multiboot information (Multiboot 0.6.96, 3.3).
struct multiboot {
	u32 flags;
	u32 lower_kib, upper_kib;
	u32 boot_device;
	const char *command_line;
};

static u32 foreign_address;

static void print_function(u32 function)
{
	u32 id = config_read(function, 0);
	u32 subsystem = config_read(function, 0x2c);

	print("pci ");
	print_hex(function >> 8, 2);
	print(":");
	print_hex(function >> 3 & 31, 2);
	print(".");
	print_hex(function & 7, 1);
	print(" ");
	print_hex(id & 0xffff, 4);
	print(":");
	print_hex(id >> 16, 4);
	print(" class ");
	print_hex(config_class(function), 6);
	print(" rev ");
	print_hex(config_read(function, 8) & 0xff, 2);
	print(" subsystem ");
	print_hex(subsystem & 0xffff, 4);
	print(":");
	print_hex(subsystem >> 16, 4);
	print("\n");
}

static void test_function(u32 function)
{
	if (config_read(function, 0) == EDU_ID)
		test_edu(function, foreign_address);
	else if (config_class(function) >> 16 == CLASS_DISPLAY)
		test_bochs(function);
	else if (config_class(function) >> 8 == CLASS_AUDIO)
		test_hda(function);
}

static int has_word(const struct multiboot *info, const char *word)
{
	const char *text = info->flags & MULTIBOOT_HAS_COMMAND_LINE ? info->command_line : "";

	while (*text) {
		const char *w = word;

		while (*w && *text == *w)
			text++, w++;
		if (!*w && (!*text || *text == ' '))
			return 1;
		while (*text && *text != ' ')
			text++;
		while (*text == ' ')
			text++;
	}
	return 0;
}

// An address that is no memory of this guest, and below what it could take for a BAR.
static u32 find_foreign_address(const struct multiboot *info)
{
	u32 upper_kib = info->flags & MULTIBOOT_HAS_MEMORY ? info->upper_kib : 0;

	return (1024 + upper_kib + 16 * 1024) * 1024 & ~0xfffu;
}

static void wait_for_power_button(void)
{
	watch_power_button();
	print("WAITING\n");
	while (!is_power_button_pressed())
		sleep_ticks(2);
	print("POWER BUTTON\n");
}

static void wait_for_ever(void)
{
	watch_power_button();
	print("WAITING\n");
	for (;;)
		sleep_ticks(10);
}

void guest_main(const struct multiboot *info)
{
	cpu_init();
	print_init();
	print("GUEST up\n");
	foreign_address = find_foreign_address(info);
	each_function(print_function);
	if (!has_word(info, "look"))
		each_function(test_function);
	print_result();
	if (has_word(info, "crash"))
		triple_fault();
	if (has_word(info, "stubborn"))
		wait_for_ever();
	if (has_word(info, "wait"))
		wait_for_power_button();
	power_off();
}
