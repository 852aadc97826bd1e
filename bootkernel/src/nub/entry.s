# The way in: from whichever loader, in 32-bit mode with paging off, to the runtime in ring 3 with paging on.
#
# Two loaders know this image. QEMU's `-kernel` finds the PVH note; GRUB finds the Multiboot2 header. Both jump here in the
# same state, with the address of what they have to say in ebx; GRUB says who it is in eax, for QEMU `nub_pvh_entry` does.

.section .nub.header, "ax"
.balign 8
multiboot2_header:
    .long 0xe85250d6                            # magic
    .long 0                                     # architecture: i386
    .long multiboot2_header_end - multiboot2_header
    .long -(0xe85250d6 + (multiboot2_header_end - multiboot2_header))
    .short 6, 0                                 # modules begin on pages
    .long 8
    .short 0, 0                                 # end of tags
    .long 8
multiboot2_header_end:

.section .note.pvh, "a", @note
.balign 4
    .long 4, 8, 18                              # bytes of the name, bytes of the value, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad nub_pvh_entry

.section .nub.text, "ax"
.code32
nub_pvh_entry:
    mov eax, 0x336ec578                         # the magic of PVH's own start_info
.globl nub_multiboot_entry
nub_multiboot_entry:
    cli
    cld
    mov esp, offset nub_cores + CORE_BYTES
    mov edi, eax                                # kept for the runtime
    mov esi, ebx

    rdtsc
    mov [nub_entry_tsc], eax
    mov [nub_entry_tsc + 4], edx

    # A loader puts the image where it belongs, memory or not; its end is a stack that nobody uses yet.
    mov dword ptr [__image_end - 4], 0x58415842
    cmp dword ptr [__image_end - 4], 0x58415842
    jne no_memory

    # Long mode and no-execute are all that is asked of the processor here.
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb no_long_mode
    mov eax, 0x80000001
    cpuid
    and edx, 1 << 29 | 1 << 20
    cmp edx, 1 << 29 | 1 << 20
    jne no_long_mode

    call map_image
    call enter_long_mode
    .byte 0xea                                  # jmp CODE64:first_core
    .long first_core
    .short CODE64

no_memory:
    mov esi, offset no_memory_text
    mov ecx, offset no_memory_text_end
    mov eax, 0x12
    jmp refuse
no_long_mode:
    mov esi, offset no_long_mode_text
    mov ecx, offset no_long_mode_text_end
    mov eax, 0x17
refuse:
    sub ecx, esi
    mov edx, COM1
    rep outsb
    mov edx, 0xf4                               # QEMU's debug exit, where there is one
    out dx, eax
0:  hlt
    jmp 0b

# Turns paging on, with the nub's tables. Runs on every core: the others come here from 16-bit mode.
enter_long_mode:
    # Without MCE a machine check is no exception: it resets the machine, and nobody hears why.
    mov eax, CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT
    mov cr4, eax
    mov eax, offset nub_pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME | EFER_NXE
    wrmsr
    mov eax, cr0
    and eax, ~(CR0_EM | CR0_TS | CR0_NW | CR0_CD)
    or eax, CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_PE
    mov cr0, eax
    lgdt [gdt_pointer]
    ret

.code64
first_core:
    mov esp, esp                                # upper halves are undefined after the switch
    mov r12d, edi
    mov r13d, esi
    call fill_idt
    xor ebp, ebp
    lea rax, [rip + nub_cores]
    lea rcx, [rip + __fault_stack_top]
    mov [rax + CORE_FAULT_STACK], rcx
    call set_up_core
    mov edi, r12d
    mov esi, r13d
    lea rdx, [rip + __stack_top]
    lea rcx, [rip + runtime_main]
    jmp enter_runtime

# Descriptors, exceptions and vector registers of the core whose number is in ebp.
set_up_core:
    mov ebp, ebp
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov eax, DATA0
    mov ds, eax
    mov es, eax
    mov ss, eax

    # Its block, which holds its task state; and in that, the stack for faults from ring 3, and the one for those that
    # no other stack can be trusted for.
    mov ebx, ebp
    shl rbx, CORE_SHIFT
    lea rax, [rip + nub_cores]
    add rbx, rax
    mov [rbx + CORE_NUMBER], rbp
    mov rax, rbp
    shl rax, PAGE_SHIFT_OF_CORE
    lea rcx, [rip + nub_core_pages]
    add rax, rcx
    mov [rbx + CORE_PAGE], rax
    mov [rax + PAGE_CORE], rbp
    lea rax, [rbx + CORE_BYTES]
    mov [rbx + CORE_TSS + 4], rax               # rsp0
    lea rax, [rbx + CORE_BYTES / 2]
    mov [rbx + CORE_TSS + 36], rax              # ist1
    mov word ptr [rbx + CORE_TSS + 102], 104    # no bitmap of ports: ring 3 has none

    # The descriptor of that task state, in the two entries that the GDT has for it.
    lea rdi, [rbp + rbp]
    shl edi, 3
    lea rax, [rip + gdt_tss]
    add rdi, rax
    lea rax, [rbx + CORE_TSS]
    mov word ptr [rdi], 103
    mov [rdi + 2], ax
    shr rax, 16
    mov [rdi + 4], al
    mov byte ptr [rdi + 5], 0x89                # present, 64-bit TSS
    mov byte ptr [rdi + 6], 0
    mov [rdi + 7], ah
    shr rax, 16
    mov [rdi + 8], rax
    lea rax, [rip + gdt]
    sub rdi, rax
    ltr di
    lidt [rip + idt_pointer]

    # Vector registers: all of xmm, ymm, and zmm with its masks that the processor has.
    mov eax, 1
    push rbx
    cpuid
    pop rbx
    test ecx, 1 << 26                           # XSAVE
    jz 0f
    mov rax, cr4
    or rax, CR4_OSXSAVE
    mov cr4, rax
    mov eax, 0xd
    xor ecx, ecx
    push rbx
    cpuid
    pop rbx
    mov ecx, eax
    and eax, 0b111                              # x87, xmm, ymm
    and ecx, 0b11100000                         # masks, upper halves, upper sixteen: all or none
    cmp ecx, 0b11100000
    jne 1f
    or eax, ecx
1:  xor ecx, ecx
    xor edx, edx
    xsetbv
0:  ret

# Leaves ring 0 for good: to rcx, on the stack rdx, with the arguments in rdi and rsi. Interrupts stay off.
enter_runtime:
    sub rdx, 8                                  # as a call would leave it
    push DATA3
    push rdx
    push 2
    push CODE3
    push rcx
    xor ebp, ebp                                # where backtraces end
    iretq
