// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The processor: flat segments, an interrupt table, the local APIC as target of MSIs and as
// clock, and the ACPI power management registers of q35, which SeaBIOS puts at 0x600.

#include "guest.h"

#define TIMER_VECTOR 0x41
#define SPURIOUS_VECTOR 0xff

#define LAPIC_TASK_PRIORITY (LAPIC_BASE + 0x80)
#define LAPIC_END_OF_INTERRUPT (LAPIC_BASE + 0xb0)
#define LAPIC_SPURIOUS (LAPIC_BASE + 0xf0)
#define LAPIC_TIMER (LAPIC_BASE + 0x320)
#define LAPIC_TIMER_INITIAL (LAPIC_BASE + 0x380)
#define LAPIC_TIMER_DIVIDE (LAPIC_BASE + 0x3e0)
#define LAPIC_ENABLE 0x100
#define LAPIC_TIMER_PERIODIC 0x20000
#define LAPIC_DIVIDE_BY_16 3

// ACPI 6.5, 4.8.3.1 and 4.8.3.2.
#define PM1_STATUS 0x600
#define PM1_ENABLE 0x602
#define PM1_CONTROL 0x604
#define PM1_POWER_BUTTON 0x100
#define PM1_SLEEP_ENABLE 0x2000 // with sleep type 0, which is S5 on q35

// About a second under emulation, far less on a processor; nothing waited for takes that long.
#define SPINS 20000000

struct gate {
	u16 low, selector;
	u8 zero, type;
	u16 high;
} __attribute__((packed));

struct table {
	u16 limit;
	u32 base;
} __attribute__((packed));

struct interrupt_frame;

volatile u32 msi_count;
static volatile u32 ticks;
static struct gate idt[256];
static const u64 gdt[] = { 0, 0x00cf9a000000ffff, 0x00cf92000000ffff };

__attribute__((interrupt)) static void on_msi(struct interrupt_frame *frame)
{
	(void)frame;
	msi_count++;
	*reg32(LAPIC_END_OF_INTERRUPT) = 0;
}

__attribute__((interrupt)) static void on_timer(struct interrupt_frame *frame)
{
	(void)frame;
	ticks++;
	*reg32(LAPIC_END_OF_INTERRUPT) = 0;
}

__attribute__((interrupt)) static void on_spurious(struct interrupt_frame *frame)
{
	(void)frame;
}

static void set_gate(int vector, void *handler)
{
	u32 address = (u32)handler;

	idt[vector] = (struct gate){
		.low = (u16)address,
		.selector = 8,
		.type = 0x8e, // present, 32-bit interrupt gate
		.high = (u16)(address >> 16),
	};
}

static void load_tables(void)
{
	struct table gdtr = { sizeof(gdt) - 1, (u32)gdt };
	struct table idtr = { sizeof(idt) - 1, (u32)idt };

	__asm__ volatile("lgdt %0\n"
			 "ljmp $8, $1f\n"
			 "1: mov $16, %%ax\n"
			 "mov %%ax, %%ds\n"
			 "mov %%ax, %%es\n"
			 "mov %%ax, %%ss\n"
			 "lidt %1"
			 : : "m"(gdtr), "m"(idtr) : "eax", "memory");
}

void cpu_init(void)
{
	for (int vector = 0; vector < 256; vector++)
		set_gate(vector, on_spurious);
	set_gate(MSI_VECTOR, on_msi);
	set_gate(TIMER_VECTOR, on_timer);
	load_tables();
	// Nothing may come through the old interrupt controllers.
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	*reg32(LAPIC_SPURIOUS) = LAPIC_ENABLE | SPURIOUS_VECTOR;
	*reg32(LAPIC_TASK_PRIORITY) = 0;
	__asm__ volatile("sti");
}

// Halts for that many tenths of a second, so that a waiting guest costs its host next to nothing.
void sleep_ticks(u32 count)
{
	u32 end = ticks + count;

	*reg32(LAPIC_TIMER_DIVIDE) = LAPIC_DIVIDE_BY_16;
	*reg32(LAPIC_TIMER) = LAPIC_TIMER_PERIODIC | TIMER_VECTOR;
	*reg32(LAPIC_TIMER_INITIAL) = 1000000000 / 16 / 10; // QEMU's and KVM's APIC run at 1 GHz
	while ((int)(end - ticks) > 0)
		__asm__ volatile("hlt");
	*reg32(LAPIC_TIMER_INITIAL) = 0;
}

int wait_for_msi(void)
{
	for (u32 i = 0; i < SPINS && !msi_count; i++)
		pause();
	return msi_count == 1;
}

int wait_for_bits(volatile u32 *reg, u32 mask, u32 value)
{
	for (u32 i = 0; i < SPINS / 20; i++) {
		if ((*reg & mask) == value)
			return 1;
		pause();
	}
	return 0;
}

// QEMU reports the button only to a guest that has enabled it.
void watch_power_button(void)
{
	outw(PM1_STATUS, PM1_POWER_BUTTON);
	outw(PM1_ENABLE, inw(PM1_ENABLE) | PM1_POWER_BUTTON);
}

int is_power_button_pressed(void)
{
	return inw(PM1_STATUS) & PM1_POWER_BUTTON;
}

void power_off(void)
{
	outw(PM1_CONTROL, PM1_SLEEP_ENABLE);
	for (;;)
		__asm__ volatile("hlt");
}

// An exception without a table to find its handler in, nor that of the exception this raises.
void triple_fault(void)
{
	struct table none = { 0, 0 };

	__asm__ volatile("lidt %0\n"
			 "int3"
			 : : "m"(none));
	for (;;)
		__asm__ volatile("hlt");
}
