/*
 * First sector of a disk with the guest on it, for machines that are started from an image and not
 * by QEMU's -kernel. It reads the rest of the disk, does what QEMU would have done as a multiboot
 * loader (Multiboot 0.6.96, 3.2 and 3.3), and enters the guest with ARGUMENTS as its command line.
 */
#define DISK_BUFFER 0x10000
#define MULTIBOOT_LOADED 0x2badb002
#define MULTIBOOT_HAS_MEMORY 1
#define MULTIBOOT_HAS_COMMAND_LINE 4

	.section .boot, "ax"
	.code16
	.globl boot
boot:
	cli
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $boot, %sp
	mov %dl, drive

	/* Memory below 16 MiB in KiB, and above in units of 64 KiB. */
	mov $0xe801, %ax
	xor %cx, %cx
	xor %dx, %dx
	int $0x15
	movzwl %cx, %ecx
	movzwl %dx, %edx
	shl $6, %edx
	add %ecx, %edx
	mov %edx, upper_kib

	mov $0x42, %ah
	mov drive, %dl
	mov $packet, %si
	int $0x13
	jc failed

	in $0x92, %al
	or $2, %al /* address line 20 */
	out %al, $0x92
	lgdt gdt_register
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmp $8, $protected

failed:
	mov $failure, %si
1:	mov $0x3f8, %dx
	lodsb
	out %al, %dx
	test %al, %al
	jnz 1b
2:	hlt
	jmp 2b

	.code32
protected:
	mov $16, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	cld
	mov $DISK_BUFFER, %esi
	mov $guest_start, %edi
	mov $guest_bytes, %ecx
	rep movsb
	/* A machine that was reset has its memory as it was. */
	mov $guest_end, %ecx
	sub %edi, %ecx
	xor %eax, %eax
	rep stosb
	mov $information, %ebx
	mov $MULTIBOOT_LOADED, %eax
	jmp _start

	.align 8
gdt:	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_register:
	.word gdt_register - gdt - 1
	.long gdt
packet: /* of int 0x13, function 0x42: size, sectors, where to (segment:offset), where from */
	.word 16, guest_sectors, 0, DISK_BUFFER >> 4
	.quad 1
information:
	.long MULTIBOOT_HAS_MEMORY | MULTIBOOT_HAS_COMMAND_LINE
	.long 640
upper_kib:
	.long 0
	.long 0
	.long arguments
drive:	.byte 0
failure:
	.asciz "the disk cannot be read\n"
arguments:
	.asciz ARGUMENTS
	.org 510
	.word 0xaa55
	.section .note.GNU-stack, "", @progbits
