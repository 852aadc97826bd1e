# Faults, the timer, and the gate to the services: every way from ring 3 into the nub.

.section .nub.text, "ax"
.code64
# One entry for each exception, 16 bytes apart. Those that do not push an error code get a zero, so that frames are alike.
.balign 16
fault_entries:
.irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    .balign 16
    .if !(\vector == 8 || \vector >= 10 && \vector <= 14 || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30)
        push 0
    .endif
    push \vector
    jmp fault
.endr

# Writes down what the core was doing, and lets the runtime report it, on a stack kept for that. A fault in the nub comes
# this way too. Never returns to where it came from.
fault:
    cld
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rbp
    push rdi
    push rsi
    push rdx
    push rcx
    push rbx
    push rax
    mov rbx, rsp
    and rbx, -CORE_BYTES
    mov rdx, [rbx + CORE_PAGE]
    # The way in which another core that reports a fault stops this one.
    cmp qword ptr [rsp + 15 * 8], 2
    jne 0f
    cmp qword ptr [rdx + PAGE_STOP], 0
    jne stop
0:  cmp qword ptr [rbx + CORE_IN_FAULT], 0
    jne fault_in_fault
    inc qword ptr [rbx + CORE_IN_FAULT]
    lea rdi, [rdx + PAGE_REPORT]
    mov rsi, rsp
    mov ecx, REPORT_WORDS
    rep movsq
    mov rax, cr2
    stosq
    mov rdi, rdx
    mov rdx, [rbx + CORE_FAULT_STACK]
    lea rcx, [rip + runtime_fault]
    jmp enter_runtime

fault_in_fault:
    lea rsi, [rip + fault_in_fault_text]
    lea rcx, [rip + fault_in_fault_text_end]
    sub ecx, esi
    mov edx, COM1
    rep outsb
    mov edx, 0xf4                               # QEMU's debug exit, where there is one
    mov eax, 0x7b
    out dx, eax
stop:
    cli
    hlt
    jmp stop

# A tick is counted, and served by the runtime when it next looks; except that the watchdog's tick is a fault.
timer:
    push rax
    push rcx
    push rdx
    push rbx
    mov rbx, rsp
    and rbx, -CORE_BYTES
    mov rbx, [rbx + CORE_PAGE]
    mov rdx, [rip + nub_eoi]
    test rdx, rdx
    jz 0f
    mov dword ptr [rdx], 0
    jmp 1f
0:  mov ecx, 0x80b                              # x2APIC: end of interrupt
    xor eax, eax
    wrmsr
1:  rdtsc
    shl rdx, 32
    or rax, rdx
    mov [rbx + PAGE_TICK_TSC], rax
    mov rax, [rbx + PAGE_TICKS]
    inc rax
    mov [rbx + PAGE_TICKS], rax
    mov rdx, [rbx + PAGE_WATCHDOG]
    dec rdx                                     # 0 is off
    cmp rax, rdx
    pop rbx
    pop rdx
    pop rcx
    pop rax
    ja watchdog
spurious:
    iretq
watchdog:
    push 0
    push 32
    jmp fault

# `int3`: the service in eax, with arguments in rdi, rsi, rdx and rcx. Answers in rax and rdx; rcx, rsi, rdi and r8 to r11
# are lost. Any other value is what it looks like: a breakpoint that nobody expects.
gate:
    cld
    cmp rax, N_SERVICE
    jae not_a_service
    lea r11, [rip + services]
    jmp [r11 + rax * 8]
not_a_service:
    push 0
    push 3
    jmp fault

fill_idt:
    xor ecx, ecx
    lea rsi, [rip + fault_entries]
0:  mov rax, rsi
    mov edx, 0x8e00                             # present, for ring 0, interrupts off
    mov edi, 1 << 2 | 1 << 8 | 1 << 18          # not to be trusted to any stack in use: NMI, double fault, machine check
    bt edi, ecx
    jnc 1f
    inc edx
1:  call set_gate
    add rsi, 16
    inc ecx
    cmp ecx, 32
    jne 0b
    mov edx, 0x8e00
    lea rax, [rip + timer]
    call set_gate
    mov ecx, 255
    lea rax, [rip + spurious]
    call set_gate
    mov ecx, 3
    mov edx, 0xee00                             # ring 3 may come in
    lea rax, [rip + gate]
set_gate:
    mov edi, ecx
    shl edi, 4
    lea r8, [rip + idt]
    add rdi, r8
    mov [rdi], ax
    mov word ptr [rdi + 2], CODE64
    mov [rdi + 4], dx
    shr rax, 16
    mov [rdi + 6], ax
    shr rax, 16
    mov [rdi + 8], rax
    ret

.section .nub.data, "aw"
.balign 16
gdt:
    .quad 0
    .quad 0x00af9b000000ffff                    # CODE64
    .quad 0x00cf93000000ffff                    # DATA0
    .quad 0x00affb000000ffff                    # CODE3
    .quad 0x00cff3000000ffff                    # DATA3
    .quad 0x00cf9b000000ffff                    # CODE32, for other cores on their way
gdt_tss:
    .fill 2 * N_CORE, 8, 0
gdt_end:
gdt_pointer:
    .short gdt_end - gdt - 1
    .quad gdt
idt_pointer:
    .short 4095
    .quad idt
.balign 8
nub_eoi: .quad 0
no_memory_text:
    .ascii "axiom: there is no memory where the kernel ends; give the machine 32 MiB or more\r\n"
no_memory_text_end:
no_long_mode_text:
    .ascii "axiom: this processor has no 64-bit mode with no-execute pages; use one made since 2005\r\n"
no_long_mode_text_end:
fault_in_fault_text:
    .ascii "axiom: a fault while a fault was reported; the machine stops\r\n"
fault_in_fault_text_end:

.section .nub.bss, "aw", @nobits
.balign 4096
idt: .skip 4096
.balign CORE_BYTES
nub_cores: .skip N_CORE * CORE_BYTES

# What the runtime may see and set of each core.
.section .bss.nub_core_pages, "aw", @nobits
.balign 4096
.globl nub_core_pages
nub_core_pages: .skip N_CORE << PAGE_SHIFT_OF_CORE
.section .data.nub_entry_tsc, "aw"
.balign 8
.globl nub_entry_tsc
nub_entry_tsc: .quad 0
