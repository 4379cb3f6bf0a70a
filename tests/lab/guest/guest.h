// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the files of the nested guest share. The guest is a program without an operating system:
// it lists the PCI functions it was given, proves that those it knows work, and says so on COM1.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// cpu.c: ports, interrupts, power.
#define MSI_VECTOR 0x40
#define LAPIC_BASE 0xfee00000

extern volatile u32 msi_count;

static inline void outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outw(u16 port, u16 value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outl(u16 port, u32 value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u16 inw(u16 port)
{
	u16 value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u32 inl(u16 port)
{
	u32 value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void pause(void)
{
	__asm__ volatile("pause");
}

void cpu_init(void);
void sleep_ticks(u32 ticks);
int wait_for_msi(void);
int wait_for_bits(volatile u32 *reg, u32 mask, u32 value);
void watch_power_button(void);
int is_power_button_pressed(void);
void power_off(void);
void triple_fault(void);

// print.c: the serial port, and the count of the checks.
void print_init(void);
void print(const char *text);
void print_hex(u32 value, int digits);
void print_decimal(u32 value);
void check(const char *name, int passed);
void print_result(void);

// pci.c: configuration space. A function is its bus, device and function number in 16 bits.
#define PCI_COMMAND_MEMORY 2
#define PCI_COMMAND_MASTER 4

u32 config_read(u32 function, u32 offset);
void config_write(u32 function, u32 offset, u32 value);
u32 config_class(u32 function);
u32 bar_address(u32 function, int bar);
void enable_function(u32 function, u32 command);
void enable_msi(u32 function);
void each_function(void (*visit)(u32 function));

static inline volatile u8 *reg8(u32 address) { return (volatile u8 *)address; }
static inline volatile u16 *reg16(u32 address) { return (volatile u16 *)address; }
static inline volatile u32 *reg32(u32 address) { return (volatile u32 *)address; }

// One file per device that the guest can test.
void test_edu(u32 function, u32 foreign_address);
void test_bochs(u32 function);
void test_hda(u32 function);
