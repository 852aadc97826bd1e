# The other cores. Each wakes in 16-bit mode on a page below 1 MiB, and comes from there by the first core's way.

.section .nub.text, "ax"
.code64
# Service: core rdi, woken next, starts on the stack whose top is rsi, and reports faults on the one whose top is rdx.
# Answers the number of the page to wake it on. The runtime sees that the page is free before it asks the first time.
service_start_core:
    lea rax, [rdi - 1]
    cmp rax, N_CORE - 1
    jae not_a_service
    mov [rip + next_core], edi
    shl rdi, CORE_SHIFT
    lea rax, [rip + nub_cores]
    mov [rax + rdi + CORE_STACK], rsi
    mov [rax + rdi + CORE_FAULT_STACK], rdx

    # The page is the nub's from now on; it is written before it can be executed.
    lea rax, [rip + nub_low_table + (TRAMPOLINE >> 12) * 8]
    mov dword ptr [rax], TRAMPOLINE | PRESENT | WRITE
    invlpg [TRAMPOLINE]
    lea rsi, [rip + trampoline]
    mov edi, TRAMPOLINE
    lea rcx, [rip + trampoline_end]
    sub ecx, esi
    rep movsb
    mov qword ptr [rax], TRAMPOLINE | PRESENT
    invlpg [TRAMPOLINE]
    mov eax, TRAMPOLINE >> 12
    iretq

.code16
.balign 8
trampoline:
    cli
    jmp 0f
.balign 8
    .short gdt_end - gdt - 1                    # at TRAMPOLINE + 8
    .long gdt
0:  cld
    xor ax, ax
    mov ds, ax
    .byte 0x66                                  # the whole 32-bit address
    lgdt [TRAMPOLINE + 8]
    mov eax, cr0
    or al, CR0_PE
    mov cr0, eax
    .byte 0x66, 0xea                            # jmp CODE32:other_core
    .long other_core
    .short CODE32
trampoline_end:

.code32
other_core:
    mov eax, DATA0
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov ebp, [next_core]
    lea esp, [ebp + 1]
    shl esp, CORE_SHIFT
    add esp, offset nub_cores
    call enter_long_mode
    .byte 0xea                                  # jmp CODE64:other_core_64
    .long other_core_64
    .short CODE64
.code64
other_core_64:
    mov esp, esp
    call set_up_core
    mov edi, ebp
    mov rdx, [rbx + CORE_STACK]
    lea rcx, [rip + runtime_core]
    jmp enter_runtime

.section .nub.data, "aw"
.balign 4
next_core: .long 0
